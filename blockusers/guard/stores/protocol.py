"""`Store`: what a store of deny list, intents and records has to do, and when it is atomic.

Every method is one transaction: when it returns, all of it is on disk, and when it raises, none of
it.  Several processes may use one store at the same time.  All times are seconds since 1970, and
all keys are text: the store neither parses nor hashes what names a user.

An entry that changes the verdict about somebody whom the guard has blocked (one that is removed,
expired or moved away, one that allows, one that denies again) marks the records of that person for
a *recheck* in the same transaction: those whose `entry` is the entry's user, or who are known by an
alias of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple, Protocol, Self

import attrs

from blockusers.guard.entries import Action, Entry
from blockusers.guard.intents import Counts, Intent, Rank, Record, Result
from blockusers.values.errors import BlockUsersError

CHANGES_KEPT: Final = 30 * 24 * 3600.0
"""Seconds for which changes of numbers are remembered, so that none is applied twice."""


class StoreUnavailable(BlockUsersError):
    """The store cannot be read or written now; what was being done has not been done."""


class Found(NamedTuple):
    """An entry, and the id by which it was found: the entry's own user, or an alias of it."""

    id: str
    entry: Entry

    @property
    def is_alias(self) -> bool:
        """Whether the id is an alias of the entry's user."""
        return self.id != self.entry.user


@attrs.frozen
class Filter:
    """Which entries are meant; None does not choose."""

    users: Sequence[str] | None = attrs.field(default=None, repr=False)
    scope: str | None = None
    action: Action | None = None
    origin: str | None = None


class Queue(Protocol):
    """The intents of one business number, in the hands of the only drain of it."""

    async def take(
        self, limit: int, late: float, ranks: Collection[Rank] = tuple(Rank)
    ) -> Sequence[Intent]:
        """Return the oldest open intents that are due, at most *limit*, and note them as sent.

        All are of one operation and of one rank, the first of *ranks* that has any.  What is taken
        is not taken again before it is settled, whatever is wanted meanwhile; or before another
        drain takes over.  The note says that a request with this operation may take effect for
        *late* seconds after its end; see `settle` and `Store.queue`.
        """
        ...

    async def settle(self, results: Iterable[Result]) -> None:
        """Note what became of intents that were taken.

        Of a result that is `done` the record is written (a block) or deleted (an unblock),
        whatever the version; it is marked for a recheck if the entry is gone, or an exception was
        made, while it was sent.  The intent is settled, or put off to `retry_at`, only if its
        version is still the newest of that user.  If the result is `lost`, the opposite operation
        is not due before *late* seconds from now on, as they were given to `take`.  What is settled
        keeps neither `user` nor `ids`.  An unblock that failed for good makes its record the last
        one to make room.
        """
        ...

    async def make_room(self, count: int, keep: Iterable[str]) -> int:
        """Want to unblock *count* people more, those blocked longest ago, but none of *keep*.

        The intents have rank `MAKE_ROOM`; those of this rank that are open count as made already,
        and who has any open intent is left alone.

        Returns:
            How many intents of this rank are open now.
        """
        ...

    async def due_at(self, ranks: Collection[Rank] = tuple(Rank)) -> float | None:
        """Return when the next open intent of these ranks is due; None if there is none."""
        ...

    async def rechecks(self, limit: int) -> Sequence[Record]:
        """Return records whose people may not be denied any more."""
        ...

    async def rechecked(self, denied: Mapping[str, str], unblock: Iterable[Intent]) -> None:
        """Note the verdicts about records.

        Args:
            denied: Of the people who are still denied, the key of the entry; an open intent to
                unblock one of them is dropped, unless it was sent and may have taken effect, or
                makes room.
            unblock: The intents for those who are not.

        A record that was marked again since `rechecks` stays marked.
        """
        ...

    async def wait(self, seconds: float) -> None:
        """Return when somebody, in any process, may have changed the store; at the latest then."""
        ...


class Store(Protocol):
    """Keeps the deny list, the intents and the records of the guard."""

    def clock(self) -> float:
        """Return the time, in seconds since 1970, that the store and its users go by."""
        ...

    async def __aenter__(self) -> Self:
        """Open it; to open it several times is to close it as often.

        Raises:
            StoreUnavailable: It cannot be opened, or holds something else.
        """
        ...

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        ...

    # ------------------------------------------------------------------ the deny list

    async def add(
        self, entries: Sequence[Entry], spellings: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[int, int]:
        """Add entries.

        Args:
            entries: Of two with one key the last counts. What is there already keeps `added_at`.
            spellings: Of users with other keys, those; records of them are rechecked, too.

        Returns:
            How many are new, and how many have another reason or expiry now.
        """
        ...

    async def remove(self, chosen: Filter) -> int:
        """Remove entries; return how many.

        A long removal may take several transactions.
        """
        ...

    async def find(self, ids: Sequence[str]) -> Sequence[Found]:
        """Return the entries that have not expired of these ids, and of what they are aliases."""
        ...

    async def entries(self, chosen: Filter, after: Entry | None, limit: int) -> Sequence[Entry]:
        """Return a page of the entries in the order of their keys, from behind *after* on.

        That is the order of user, scope, action and origin.  What has expired is among them until
        `expire` removes it.
        """
        ...

    async def count(self, chosen: Filter) -> int:
        """Return how many entries there are."""
        ...

    async def expire(self) -> int:
        """Remove the entries that have expired."""
        ...

    async def move(
        self,
        old: Sequence[str],
        new: str,
        at: float,
        message: str,
        scopes: Collection[str] | None = None,
    ) -> bool:
        """Move the entries of the ids *old* that were added before *at* to *new*.

        Each message is applied once, and none that is older than the last move to one of *old*.
        With *scopes* only entries with one of these are moved, and no aliases.

        Returns:
            Whether something was moved.
        """
        ...

    async def erase(self, ids: Sequence[str], persons: Sequence[str]) -> int:
        """Delete whatever is known of a user; return how many entries there were.

        That is the entries and aliases of *ids* and of their aliases, and the intents and records
        of *persons*, or which have one of those entries.
        """
        ...

    async def setting(self, name: str, value: str | None = None) -> str | None:
        """Return what is stored under *name*; if there is nothing, store *value*, if given."""
        ...

    # ------------------------------------------------------------------ intents and records

    async def want(self, intents: Iterable[Intent], aliases: Mapping[str, str]) -> Sequence[Intent]:
        """Write intents, each in place of the older one of its user, and learn aliases.

        What is left out, because it was already taken care of: a block whose message is not newer
        than that of a settled block (an earlier `wrote_at`, or the same one and a message that is
        known).  An open intent of the same operation keeps its place in the queue, its `tries` and
        its later `wrote_at`; it gets the later `not_after`, and is due now.

        Args:
            intents: What is wanted; their versions do not count.
            aliases: Of ids, the user of the entry that they stand for.

        Returns:
            Those that are open now, with their versions.
        """
        ...

    async def counts(self, phone_number_id: str) -> Counts:
        """Return how many intents and records there are of one number."""
        ...

    async def forget(self, before: float) -> None:
        """Delete what is needed no more since this moment.

        That is the intents that were settled, notes of messages, and the aliases of users who have
        no entry.  What was deleted is in no file any more a day later.
        """
        ...

    def queue(self, phone_number_id: str) -> AbstractAsyncContextManager[Queue]:
        """Wait until nobody else drains this number, then hold it.

        It is free again when its holder leaves the block, or dies.  What an earlier holder had
        taken can be taken again at once; for the opposite operation not before the time has passed,
        from now on, that was noted with it.
        """
        ...
