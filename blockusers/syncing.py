"""Makes the blocklist equal to a list of users.

That is dangerous: whoever is removed by mistake cannot be blocked again until they write.  So
nothing is removed that may be wanted, hardly anything is removed at once, and nothing at all where
the list that is wanted looks wrong.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

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
    identify,
    named_by,
    written,
)
from blockusers.sources import Source, Users

_TAIL = 7
"""So many last digits make it possible that a number that was refused is a listed one."""


@attrs.define(slots=False)
class TooManyRemovals(BlockUsersError):
    """To make the lists equal, more users would be unblocked than permitted. Nothing was done."""

    removals: int
    """How many would be unblocked."""
    listed: int
    """How many are blocked."""
    permitted: int

    def __str__(self) -> str:
        return (
            f"{self.removals:,} of {self.listed:,} blocked users would be unblocked, and at most"
            f" {self.permitted:,} may be; nothing was changed. If the list of those to block is"
            f" right, pass max_removals={self.removals}"
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
    if dry_run:
        return plan
    # The list may be full.
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
    if not wanted.by_key:
        raise ValueError(
            "users: names nobody, and an empty list would unblock everybody; if that is meant,"
            " use unblock(await client.snapshot())"
        )
    return wanted


class _Wanted:
    """The users that shall be blocked."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.by_key: dict[str, User] = {}
        self._refused: list[Outcome] = []
        self._tails: set[str] = set()

    def add(self, users: Sequence[User]) -> None:
        """Want *users*, too."""
        for user in users:
            name = named_by(user)
            try:
                self.by_key.setdefault(identify(user, self._reader).key, user)
            except ValueError as error:
                fault = Fault(None, str(error))
                self._refused.append(Outcome(name, Status.FAILED, faults=(fault,)))
                digits = "".join(filter(str.isdecimal, written(name)))
                self._tails |= {digits[-_TAIL:]} if len(digits) >= _TAIL else set()

    def compare(self, listed: Sequence[BlockedUser]) -> SyncReport:
        """Return what it takes to make *listed* what is wanted."""
        missing = dict(self.by_key)
        kept: list[BlockedUser] = []
        to_remove: list[BlockedUser] = []
        for entry in listed:
            names = {name for name in (entry.wa_id, entry.user_id) if name}
            keys = set().union(*map(identifiers.same_person, names)) & self.by_key.keys()
            for key in keys:
                missing.pop(key, None)
            may_be_wanted = keys or any(name[-_TAIL:] in self._tails for name in names)
            (kept if may_be_wanted else to_remove).append(entry)
        return SyncReport(
            tuple(to_remove), tuple(missing.values()), tuple(kept), tuple(self._refused)
        )
