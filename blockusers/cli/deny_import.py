"""Imports files into the deny list, in pieces, and says which lines it rejects.

What is there already is not changed, so an import that was interrupted is simply run again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from blockusers.cli.deny_adding import Added, Fields, add
from blockusers.cli.deny_file import Export, find_export, read_export
from blockusers.cli.deny_list import ListPlace
from blockusers.cli.input_files import Entry as Input
from blockusers.cli.input_files import Reading, load_text, name_of, read_text
from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.screen import MOST_COMPLAINTS, Meter, Screen
from blockusers.guard.deny_list import DenyList
from blockusers.values.errors import BlockUsersError
from blockusers.values.masking import mask
from blockusers.values.outcome import Outcome, written

_AT_ONCE: Final = 32_000
_KINDS: Final = 12


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
    ending: int = 0
    """Entries that were there and end, because no other end was given."""
    rejections: list[tuple[str, Outcome]] = attrs.field(factory=list[tuple[str, Outcome]])
    """The users who were rejected, and where they are."""
    error: Exception | None = None
    """What ended it early; an `Interrupted` too."""
    seconds: float = 0.0

    @property
    def unchanged(self) -> int:
        """Users who were there already, repeats in the files among them."""
        return self.given - len(self.rejections) - self.added - self.updated

    def note(self, users: Sequence[Input], added: Added) -> None:
        """Count what the store did with some users."""
        self.given += len(users)
        self.added += added.change.added
        self.updated += added.change.updated
        self.ending += added.ending
        self.rejections += _rejected(users, added.change.refused)


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
            export = find_export(text)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        if export is None:
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
            _take_export(plan, name, export)
    return plan


def _take_export(plan: Plan, name: str, export: Export) -> None:
    batches, other = read_export(name, export)
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
    result.seconds = time.monotonic() - began
    _show_rejections(screen, result.rejections)
    return result


async def _import(plan: Plan, result: Result, meter: Meter, deny_list: DenyList) -> None:
    for fields, users in plan.batches:
        for start in range(0, len(users), _AT_ONCE):
            piece = users[start : start + _AT_ONCE]
            added = await add(deny_list, [user.value for user in piece], fields)
            result.note(piece, added)
            meter.advance(len(piece), len(added.change.refused))


def _rejected(users: Sequence[Input], refused: Iterable[Outcome]) -> Iterator[tuple[str, Outcome]]:
    """Yield where each user was who was rejected; both are in the same order."""
    left = iter(users)
    for outcome in refused:
        yield next(user.where for user in left if user.value == outcome.input), outcome


def _show_rejections(screen: Screen, rejections: Sequence[tuple[str, Outcome]]) -> None:
    screen.complain(
        [f"{where}: {mask(written(each.input))} {each.fault}" for where, each in rejections],
        always=True,
    )
    if len(rejections) > MOST_COMPLAINTS:
        kinds = Counter(str(each.fault) for _, each in rejections)
        screen.table(
            ("users", "why", "what to do"),
            [(f"{number:,}", *_why_and_advice(text)) for text, number in kinds.most_common(_KINDS)],
        )


def _why_and_advice(fault: str) -> tuple[str, str]:
    why, _, advice = fault.partition("; ")
    return why, advice
