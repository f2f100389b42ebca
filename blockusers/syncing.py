"""Makes the blocklist equal to a list of users.

That is dangerous: whoever is removed by mistake cannot be blocked again until they write.  So
nothing is removed that may be wanted, hardly anything is removed at once, and nothing at all where
the list that is wanted looks wrong.
"""

from __future__ import annotations

import asyncio
import math
import re
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

import attrs

from blockusers import identifiers
from blockusers.errors import BlockUsersError
from blockusers.identifiers import INTERNATIONAL, Reader
from blockusers.models import BlockedUser, Fault, Operation, Status
from blockusers.report import (
    Outcome,
    PartialFailure,
    Report,
    User,
    named_by,
    names_of,
    written,
)
from blockusers.sources import Source, Users

_TAIL: Final = 7
"""So many digits in an input that was refused make it possible that it is the number which ends so;
of a shorter one, all of its digits do."""


@attrs.define(slots=False)
class TooManyRemovals(BlockUsersError):
    """To make the lists equal, more users would be unblocked than permitted. Nothing was done."""

    removals: int
    """How many would be unblocked."""
    listed: int
    """How many are blocked."""
    permitted: int

    def __str__(self) -> str:
        return self.advising(f"max_removals={self.removals}")

    def advising(self, argument: str) -> str:
        """Return what happened, and to pass *argument* if it shall be done."""
        return (
            f"{self.removals:,} of {self.listed:,} blocked users would be unblocked, and at most"
            f" {self.permitted:,} may be; nothing was changed. If the list of those to block is"
            f" right, pass {argument}"
        )


@attrs.frozen
class SyncReport:
    """What it took, or would take, to make the blocklist equal to the users wanted."""

    to_remove: tuple[BlockedUser, ...]
    """Who is blocked and not wanted."""
    to_add: tuple[User, ...]
    """Who is wanted, as given, and not blocked."""
    kept: tuple[BlockedUser, ...]
    """Who is blocked and wanted, or may be."""
    refused: tuple[Outcome, ...]
    """What was given and names nobody, and why. Whoever it may mean was kept."""
    removed: Report | None = None
    """What became of those to remove; None if it was a dry run."""
    added: Report | None = None
    """What became of those to add; None if it was a dry run."""

    def raise_for_failures(self) -> None:
        """Raise `PartialFailure` unless the lists are equal now."""
        for report in (self.removed, self.added):
            if report is not None:
                report.raise_for_failures()
        if self.refused:
            raise PartialFailure(Report(Operation.BLOCK, self.refused))

    def summary(self) -> str:
        """Return the counts in a few words."""
        done = self.added is not None and self.removed is not None
        added = len(self.added.succeeded) if self.added else len(self.to_add)
        removed = len(self.removed.succeeded) if self.removed else len(self.to_remove)
        missed = len(self.to_add) + len(self.to_remove) - added - removed
        words = [
            f"{added:,} {'added' if done else 'to add'}",
            f"{removed:,} {'removed' if done else 'to remove'}",
            f"{len(self.kept):,} already right",
        ]
        words += [f"{missed:,} failed"] if missed else []
        words += [f"{len(self.refused):,} refused"] if self.refused else []
        return ", ".join(words)


Job: TypeAlias = Callable[[Sequence[User]], Awaitable[Report]]


async def sync(
    users: Users,
    *,
    snapshot: Callable[[], Awaitable[tuple[BlockedUser, ...]]],
    block: Job,
    unblock: Job,
    dry_run: bool,
    max_removals: int | None,
    reader: Reader = INTERNATIONAL,
) -> SyncReport:
    """Make the blocklist equal to *users*; see `Client.sync`."""
    wanted = await _read(users, reader)
    listed = await snapshot()
    plan = wanted.compare(listed)
    permitted = math.ceil(len(listed) / 10) if max_removals is None else max_removals
    if len(plan.to_remove) > permitted:
        raise TooManyRemovals(len(plan.to_remove), len(listed), permitted)
    return plan if dry_run else await carry_out(plan, block=block, unblock=unblock)


async def carry_out(plan: SyncReport, *, block: Job, unblock: Job) -> SyncReport:
    """Do what *plan* says; first remove, for the list may be full."""
    removed = await unblock(plan.to_remove)
    return attrs.evolve(plan, removed=removed, added=await block(plan.to_add))


async def _read(users: Users, reader: Reader) -> _Wanted:
    source, wanted = Source(users), _Wanted(reader)
    try:
        while not source.at_end:
            await source.read(reader.at_once, wanted.add)
            await asyncio.sleep(0)
    finally:
        await source.close()
    if source.error is not None:
        raise source.error
    if not wanted.users:
        raise ValueError(
            "users: names nobody, and an empty list would unblock everybody; if that is meant,"
            " use unblock(await client.snapshot())"
        )
    return wanted


class _Wanted:
    """The users that shall be blocked."""

    def __init__(self, reader: Reader) -> None:
        self.users: list[User] = []
        self._reader = reader
        self._place_of: dict[str, int] = {}
        self._refused: list[Outcome] = []
        self._doubts = _Doubts()

    def add(self, users: Sequence[User]) -> None:
        """Want *users*, too."""
        for user in users:
            try:
                names = names_of(user, self._reader)
            except ValueError as error:
                fault = Fault(None, str(error))
                self._refused.append(Outcome(named_by(user), Status.FAILED, faults=(fault,)))
                self._doubts.add(written(named_by(user)))
            else:
                place = self._place_of.get(names[0], len(self.users))
                self.users += [user] if place == len(self.users) else []
                for name in names:
                    self._place_of.setdefault(name, place)

    def compare(self, listed: Sequence[BlockedUser]) -> SyncReport:
        """Return what it takes to make *listed* what is wanted."""
        found: set[int] = set()
        kept: list[BlockedUser] = []
        to_remove: list[BlockedUser] = []
        for entry in listed:
            names = names_of(entry)
            keys = set().union(*map(identifiers.same_person, names)) & self._place_of.keys()
            found |= {self._place_of[key] for key in keys}
            may_be_wanted = keys or any(map(self._doubts.may_mean, names))
            (kept if may_be_wanted else to_remove).append(entry)
        missing = (user for place, user in enumerate(self.users) if place not in found)
        return SyncReport(tuple(to_remove), tuple(missing), tuple(kept), tuple(self._refused))


class _Doubts:
    """Whom the inputs that were refused may mean: rather one too many."""

    def __init__(self) -> None:
        self._ends: set[str] = set()
        self._starts: set[str] = set()
        self._words: list[str] = []

    def add(self, text: str) -> None:
        """Note an input that was refused."""
        digits = _digits(text)
        windows = range(max(1, len(digits) - _TAIL + 1))
        self._ends |= {digits[at : at + _TAIL] for at in windows if digits}
        if exponent := _EXPONENT.search(text):
            self._starts.add(_digits(exponent[1]).rstrip("0"))
        if not text.isdecimal():
            self._words.append(_letters(text))

    def may_mean(self, name: str) -> bool:
        """Say whether one of the inputs may mean whom the list calls so."""
        if "." in name:
            return any(_letters(name) in word for word in self._words)
        ends = (name[-length:] for length in range(1, _TAIL + 1))
        return not self._ends.isdisjoint(ends) or name.startswith(tuple(self._starts))


_EXPONENT: Final = re.compile(r"([0-9][0-9.]*)[eE]\+?[0-9]+")


def _digits(text: str) -> str:
    """Return the digits of whatever script, in ASCII, without the noughts before them."""
    return "".join(str(unicodedata.decimal(char)) for char in text if char.isdecimal()).lstrip("0")


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))
