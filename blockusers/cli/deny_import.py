"""Imports files into the deny list, in pieces, and says which lines it rejects.

What is there already is not changed, so an import that was interrupted is simply run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from blockusers.cli.deny_file import Fields, is_export, read_export
from blockusers.cli.deny_list import ListPlace
from blockusers.cli.input_files import Entry as Input
from blockusers.cli.input_files import Reading, load_text, name_of, read_text
from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.screen import Meter, Screen
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import Change
from blockusers.values.errors import BlockUsersError
from blockusers.values.masking import mask
from blockusers.values.outcome import written

_AT_ONCE: Final = 32_000


@attrs.define
class Plan:
    """What is to be imported."""

    batches: list[tuple[Fields, Sequence[Input]]] = attrs.field(factory=list)
    """Users whose entries have the same fields."""
    complaints: list[str] = attrs.field(factory=list[str])
    """The lines that cannot be read, and why."""
    notes: list[str] = attrs.field(factory=list[str])
    """Which lines were taken for headers, and which files name nobody."""
    empty: int = 0
    """Cells without anything in them."""
    expired: int = 0
    """Rows of an export whose time has passed since."""

    @property
    def users(self) -> int:
        """How many users there are to import."""
        return sum(len(users) for _, users in self.batches)

    def take(self, reading: Reading) -> None:
        """Take over what else was found in a file."""
        self.complaints += reading.complaints
        self.notes += reading.notes
        self.empty += reading.empty


@attrs.define
class Result:
    """What became of an import."""

    given: int = 0
    """Users that the store was given so far."""
    added: int = 0
    updated: int = 0
    rejections: list[tuple[int, int, str]] = attrs.field(factory=list[tuple[int, int, str]])
    """Of users who were rejected: which batch, which user of it, and why."""
    error: Exception | None = None
    """What ended it early; an `Interrupted` too."""
    seconds: float = 0.0

    @property
    def unchanged(self) -> int:
        """Users who were there already, repeats in the files among them."""
        return self.given - len(self.rejections) - self.added - self.updated

    def note(
        self, batch: int, given: int, change: Change, rejections: Iterable[tuple[int, str]]
    ) -> None:
        """Count what the store did with some users of a batch."""
        self.given += given
        self.added += change.added
        self.updated += change.updated
        self.rejections += [(batch, index, why) for index, why in rejections]


def read_files(
    files: Sequence[Path], column: str | None, fields: Fields, *, origin: str | None
) -> Plan:
    """Read the files to import.

    Args:
        files: Lists of users, or what `deny export` has written.
        column: The column with the users.
        fields: What their entries say.
        origin: Their origin; by default the name of each file.

    Raises:
        UsageError: A file cannot be read, or an option contradicts it.
    """
    plan = Plan()
    for path in files:
        name, text = name_of(path), load_text(path)
        try:
            exported = is_export(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        if not exported:
            reading = read_text(path, text, column)
            own = path.name if name != "stdin" else name
            origin_of_file = own if origin is None else origin
            plan.batches.append((attrs.evolve(fields, origin=origin_of_file), reading.entries))
            plan.take(reading)
        elif (fields, column, origin) != (Fields(), None, None):
            raise UsageError(
                f"{name}: was written by `deny export`, and its rows have their own scope, action,"
                " reason, origin and expiry; leave out the options that set them, and --column"
            )
        else:
            _take_export(plan, name, text)
    return plan


def _take_export(plan: Plan, name: str, text: str) -> None:
    batches, other = read_export(name, text)
    plan.take(other)
    now = time.time()
    for fields, users in batches.items():
        if fields.expires_at is not None and fields.expires_at <= now:
            plan.expired += len(users)
        else:
            plan.batches.append((fields, users))


def import_into(deny_list: ListPlace, plan: Plan, screen: Screen) -> Result:
    """Import users, and say how that ended, however it does.

    Args:
        deny_list: Where they go.
        plan: Who they are.
        screen: Where rejected lines are printed, and how far it is.
    """
    result = Result()
    began = time.monotonic()
    try:
        with screen.meter(plan.users) as meter:
            deny_list.run(partial(_import, plan, result, meter))
    except (BlockUsersError, Interrupted) as error:
        result.error = error
    for _, _, why in sorted(result.rejections):
        screen.tell(why, "yellow")
    result.seconds = time.monotonic() - began
    return result


async def _import(plan: Plan, result: Result, meter: Meter, deny_list: DenyList) -> None:
    for number, (fields, users) in enumerate(plan.batches):
        # Neighbours are stored beside each other: this order takes half the time.
        order = sorted(range(len(users)), key=lambda index: _sorted_by(users[index]))
        for start in range(0, len(order), _AT_ONCE):
            piece = order[start : start + _AT_ONCE]
            change = await deny_list.add(
                [users[index].value for index in piece], **attrs.asdict(fields)
            )
            result.note(number, len(piece), change, _rejections(piece, users, change))
            meter.advance(len(piece), len(change.refused))


def _sorted_by(user: Input) -> str:
    return written(user.value).lstrip("+")


def _rejections(
    piece: Sequence[int], users: Sequence[Input], change: Change
) -> Iterator[tuple[int, str]]:
    """Yield the index of each user who was rejected, and why."""
    left = iter(piece)
    for outcome in change.refused:  # in the order of the piece
        index = next(each for each in left if users[each].value == outcome.input)
        yield index, f"{users[index].where}: {mask(written(outcome.input))} {outcome.fault}"
