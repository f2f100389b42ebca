"""Makes the blocklist equal to a list of users.

That is dangerous: whoever is removed by mistake cannot be blocked again until they write.  So
nobody is removed who may be wanted, at most a tenth of the list is removed unless more is
permitted, and nobody at all while some input is rejected: it may mean anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import attrs

from blockusers.lists.find import Wanted
from blockusers.values.blocklist import BlockedUser
from blockusers.values.errors import BlockUsersError
from blockusers.values.masking import mask_all
from blockusers.values.outcome import Operation, Outcome, Status, User, why
from blockusers.values.report import Incomplete, PartialFailure, Report


@attrs.define(slots=False)
class TooManyRemovals(BlockUsersError):
    """To make the lists equal, more users would be unblocked than permitted. Nothing was done."""

    removals: int
    """How many would be unblocked."""
    listed: int
    """How many are blocked."""
    permitted: int
    """How many may be unblocked."""

    def __str__(self) -> str:
        return self.advising(f"max_removals={self.removals}")

    def advising(self, argument: str) -> str:
        """Return what happened, and to pass *argument* if it shall be done."""
        return (
            f"{self.removals:,} of {self.listed:,} blocked users would be unblocked, and at most"
            f" {self.permitted:,} may be; nothing was changed. If the list of those to block is"
            f" right, pass {argument}"
        )


@attrs.frozen(repr=False)
class SyncReport:
    """What it took, or would take, to make the blocklist equal to the users wanted."""

    to_remove: tuple[BlockedUser, ...]
    """Who is blocked and not wanted; nobody if some input was rejected."""
    to_add: tuple[User, ...]
    """Who is wanted, as given, and not blocked."""
    kept: tuple[BlockedUser, ...]
    """Who is blocked and stays so."""
    rejected: tuple[Outcome, ...]
    """What was given and names nobody, and why. While there are any, nobody is removed."""
    max_removals: int = 0
    """How many were permitted to be removed; 0 if some input was rejected."""
    removed: Report | None = None
    """What became of those to remove; None if that was not begun."""
    added: Report | None = None
    """What became of those to add; None if that was not begun."""

    def raise_for_failures(self) -> None:
        """Raise `PartialFailure` unless the lists are equal now."""
        for report in (self.removed, self.added):
            if report is not None:
                report.raise_for_failures()
        if self.rejected:
            raise PartialFailure(Report(Operation.BLOCK, self.rejected))

    def summary(self) -> str:
        """Return the counts in a few words, such as `1 added, 2 removed, 19 already right`."""
        begun = not (self.removed is None and self.added is None)
        words = self._done() if begun else self._to_do()
        if self.rejected:
            words += [f"{len(self.kept):,} kept", f"{len(self.rejected):,} rejected"]
            return ", ".join(words) + ": nobody is removed until all inputs are valid"
        return ", ".join([*words[:2], f"{len(self.kept):,} already right", *words[2:]])

    def _to_do(self) -> list[str]:
        return [f"{len(self.to_add):,} to add", f"{len(self.to_remove):,} to remove"]

    def _done(self) -> list[str]:
        removed, added = _counts(self.removed, self.to_remove), _counts(self.added, self.to_add)
        words = [f"{added[Status.DONE]:,} added", f"{removed[Status.DONE]:,} removed"]
        both = removed + added
        others = (status for status in Status if status is not Status.DONE)
        return words + [f"{both[status]:,} {status.value}" for status in others if both[status]]

    def __repr__(self) -> str:
        # The fields hold people's phone numbers; a repr ends up in logs.
        return f"<SyncReport: {self.summary()}>"


def _counts(report: Report | None, users: Sequence[object]) -> Counter[Status]:
    return Counter({Status.REMAINING: len(users)}) if report is None else report.counts


@attrs.define(slots=False)
class SyncIncomplete(BlockUsersError):
    """A sync ended early. What was done before is in its *report*."""

    report: SyncReport
    """Who is removed and added by now; those removed can be blocked again only after writing."""
    error: Exception = attrs.field(repr=lambda error: mask_all(repr(error)))
    """What ended it; also the `__cause__`."""

    def __str__(self) -> str:
        how = f"the sync ended early ({self.report.summary()}): {why(self.error)}"
        return f"{how}; to go on, sync again"


Job: TypeAlias = Callable[[Sequence[User]], Awaitable[Report]]


async def sync(
    wanted: Wanted,
    *,
    snapshot: Callable[[], Awaitable[tuple[BlockedUser, ...]]],
    block: Job,
    unblock: Job,
    dry_run: bool,
    max_removals: int | None,
) -> SyncReport:
    """Make the blocklist equal to the users wanted; see `Client.sync`."""
    if not wanted.distinct:
        raise ValueError(
            "users: names nobody, and an empty list would unblock everybody; if that is meant,"
            " use unblock(await client.snapshot())"
        )
    plan = _compare(wanted, await snapshot(), max_removals)
    if dry_run:
        return plan
    check_removals(plan)
    return await carry_out(plan, block=block, unblock=unblock)


def check_removals(plan: SyncReport) -> None:
    """Raise `TooManyRemovals` if *plan* would remove more than it permits."""
    removals = len(plan.to_remove)
    if removals > plan.max_removals:
        raise TooManyRemovals(removals, removals + len(plan.kept), plan.max_removals)


async def carry_out(plan: SyncReport, *, block: Job, unblock: Job) -> SyncReport:
    """Do what *plan* says; first remove, for the list may be full.

    Raises:
        SyncIncomplete: It ended early; what was done before is in the error's report.
        BlockUsersError: Nothing was done.
    """
    try:
        plan = attrs.evolve(plan, removed=await unblock(plan.to_remove))
    except Incomplete as early:
        raise SyncIncomplete(attrs.evolve(plan, removed=early.report), early.error) from early.error
    try:
        return attrs.evolve(plan, added=await block(plan.to_add))
    except Incomplete as early:
        raise SyncIncomplete(attrs.evolve(plan, added=early.report), early.error) from early.error
    except BlockUsersError as error:
        # Such as `ClientClosed`: nobody was added, but who was removed must not be forgotten.
        raise SyncIncomplete(plan, error) from error


def _compare(
    wanted: Wanted, listed: tuple[BlockedUser, ...], max_removals: int | None
) -> SyncReport:
    """Return what it takes to make *listed* what is wanted."""
    found: set[int] = set()
    kept: list[BlockedUser] = []
    to_remove: list[BlockedUser] = []
    for entry in listed:
        indexes = wanted.match(entry)
        found |= indexes
        (kept if indexes else to_remove).append(entry)
    to_add = tuple(user for index, user in enumerate(wanted.distinct) if index not in found)
    if wanted.rejected:
        return SyncReport((), to_add, listed, tuple(wanted.rejected))
    permitted = len(listed) // 10 if max_removals is None else max_removals
    return SyncReport(tuple(to_remove), to_add, tuple(kept), (), permitted)
