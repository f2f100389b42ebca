"""`SqliteStore`: the deny list, the intents and the records in one SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Final, Self

from blockusers.guard.entries import Entry
from blockusers.guard.intents import Counts, Intent, Rank, Record, Result
from blockusers.guard.stores import sqlite_entries as entry_sql
from blockusers.guard.stores import sqlite_intents as intent_sql
from blockusers.guard.stores.protocol import Filter, Found
from blockusers.guard.stores.sqlite_file import DatabaseFile
from blockusers.guard.stores.sqlite_threads import Connections

_TRIED_EVERY: Final = 0.2
"""Seconds between two attempts to get the lock of a number."""
_START: Final[entry_sql.Key] = ("", "", "allow", "")


class SqliteStore:
    """Keeps the deny list, the intents and the records in one SQLite file.

    Use it as an async context manager, or let a `Guard` open it.  Several processes of one machine
    may have the file open at the same time.  Only its owner may read the file.

    Args:
        path: The file; it is created if there is none. Files beside it begin with its name.
        clock: Returns the time in seconds since 1970.
        busy_timeout: Seconds to wait while another process writes, before `StoreUnavailable`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = 2.0,
    ) -> None:
        self._file = DatabaseFile(Path(path).resolve(), busy_timeout)
        self._clock = clock
        self._connections = Connections(self._file)
        self._read = self._connections.read
        self._write = self._connections.write

    def __repr__(self) -> str:
        return f"<SqliteStore {self._file.path}>"

    def clock(self) -> float:
        """Return the time, in seconds since 1970, that the store and its users go by."""
        return self._clock()

    async def __aenter__(self) -> Self:
        """Open it; to open it several times is to close it as often.

        Raises:
            StoreUnavailable: It cannot be opened, or holds something else.
        """
        await self._connections.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        await self._connections.close()

    # ------------------------------------------------------------------ the deny list

    async def add(
        self, entries: Sequence[Entry], spellings: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[int, int]:
        """Add entries; see `Store.add`."""
        return await self._write(
            lambda connection: entry_sql.add(connection, entries, spellings or {}), wakes=True
        )

    async def remove(self, chosen: Filter) -> int:
        """Remove entries; return how many. A long removal takes several transactions."""
        count = 0
        place: entry_sql.Key | None = _START
        while place is not None:
            work = partial(entry_sql.remove, chosen=chosen, after=place, now=self._clock())
            removed, place = await self._write(work, wakes=True)
            count += removed
        return count

    async def find(self, ids: Sequence[str]) -> Sequence[Found]:
        """Return the entries that have not expired of these ids; see `Store.find`."""
        now = self._clock()
        return await self._read(lambda connection: entry_sql.find(connection, ids, now))

    async def entries(self, chosen: Filter, after: Entry | None, limit: int) -> Sequence[Entry]:
        """Return a page of the entries in the order of their keys, from behind *after* on."""
        found: list[Entry] = []
        place: entry_sql.Key | None = _START if after is None else entry_sql.key_of(after)
        while place is not None and len(found) < limit:
            page, place = await self._read(partial(entry_sql.page, chosen=chosen, after=place))
            found += page
        return found[:limit]

    async def count(self, chosen: Filter) -> int:
        """Return how many entries there are."""
        if chosen == Filter():
            return await self._read(entry_sql.total)
        count = 0
        place: entry_sql.Key | None = _START
        while place is not None:
            page, place = await self._read(partial(entry_sql.page, chosen=chosen, after=place))
            count += len(page)
        return count

    async def expire(self) -> int:
        """Remove the entries that have expired."""
        work = partial(entry_sql.expire, now=self._clock())
        count = 0
        while removed := await self._write(work, wakes=True):
            count += removed
        return count

    async def move(
        self,
        old: Sequence[str],
        new: str,
        at: float,
        message: str,
        scopes: Collection[str] | None = None,
    ) -> bool:
        """Move the entries of *old* that were added before *at* to *new*; see `Store.move`."""
        work = partial(
            entry_sql.move,
            old=old,
            new=new,
            at=at,
            message=message,
            scopes=scopes,
            now=self._clock(),
        )
        return await self._write(work, wakes=True)

    async def erase(self, ids: Sequence[str], persons: Sequence[str]) -> int:
        """Delete whatever is known of a user; return how many entries there were."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> int:
            keys = entry_sql.related(connection, ids)
            intent_sql.erase(connection, {*keys, *persons})
            return entry_sql.erase(connection, keys, now)

        erased = await self._write(work, wakes=True, cleans=True)
        await self._scrub()
        return erased

    async def setting(self, name: str, value: str | None = None) -> str | None:
        """Return what is stored under *name*; if there is nothing, store *value*, if given."""
        work = partial(entry_sql.setting, name=name, value=value)
        return await (self._read if value is None else self._write)(work)

    # ------------------------------------------------------------------ intents and records

    async def want(self, intents: Iterable[Intent], aliases: Mapping[str, str]) -> Sequence[Intent]:
        """Write intents, each in place of the older one of its user; see `Store.want`."""
        wanted, now = list(intents), self._clock()

        def work(connection: sqlite3.Connection) -> Sequence[Intent]:
            entry_sql.learn(connection, aliases, now)
            return intent_sql.want(connection, wanted, now)

        return await self._write(work, wakes=True)

    async def counts(self, phone_number_id: str) -> Counts:
        """Return how many intents and records there are of one number."""
        return await self._read(partial(intent_sql.counts, number=phone_number_id))

    async def forget(self, before: float) -> None:
        """Delete the intents that were settled, and notes of messages, before this moment."""
        now = self._clock()

        def work(connection: sqlite3.Connection) -> bool:
            entry_sql.forget(connection, before)
            return intent_sql.forget(connection, before, now)

        if await self._write(work, cleans=True):
            await self._scrub()

    async def _scrub(self) -> None:
        """Leave no copy of what was deleted, in parts, so that nobody waits for long."""
        for table in ("intents", "records"):
            place: tuple[str, str] | None = ("", "")
            while place is not None:
                work = partial(intent_sql.scrub, table=table, after=place)
                place = await self._write(work, cleans=True)

    @contextlib.asynccontextmanager
    async def queue(self, phone_number_id: str) -> AsyncGenerator[SqliteQueue]:
        """Wait until nobody else drains this number, then hold it; see `Store.queue`."""
        with contextlib.ExitStack() as held:
            file = self._file.lock_file(phone_number_id)
            while not held.enter_context(file.try_lock()):
                held.close()
                await asyncio.sleep(_TRIED_EVERY)
                _ = self._connections.threads  # raises if it was closed meanwhile
            queue = SqliteQueue(phone_number_id, self._connections, self._clock)
            await queue.take_over()
            yield queue


class SqliteQueue:
    """The intents of one business number, in the hands of the only drain of it."""

    def __init__(self, number: str, connections: Connections, clock: Callable[[], float]) -> None:
        self._number = number
        self._read = connections.read
        self._write = connections.write
        self._changes = connections.changes
        self._seen = self._changes.count
        self._clock = clock
        self._rechecking: dict[str, int] = {}
        """Of the people whose records are checked, which change was the last that was seen."""

    async def take_over(self) -> None:
        """Open what an earlier drain had taken."""
        now = self._clock()
        await self._write(partial(intent_sql.take_over, number=self._number, now=now))

    async def take(
        self, limit: int, late: float, ranks: Collection[Rank] = tuple(Rank)
    ) -> Sequence[Intent]:
        """Return the oldest open intents that are due; see `Queue.take`."""
        work = partial(
            intent_sql.take,
            number=self._number,
            limit=limit,
            late=late,
            ranks=ranks,
            now=self._clock(),
        )
        return await self._write(work)

    async def settle(self, results: Iterable[Result]) -> None:
        """Note what became of intents that were taken; see `Queue.settle`."""
        settled, now = list(results), self._clock()
        await self._write(lambda connection: intent_sql.settle(connection, settled, now))

    async def make_room(self, count: int, keep: Iterable[str]) -> int:
        """Want to unblock *count* people more; see `Queue.make_room`."""
        kept, now = set(keep), self._clock()
        return await self._write(
            lambda connection: intent_sql.make_room(connection, self._number, count, kept, now)
        )

    async def due_at(self, ranks: Collection[Rank] = tuple(Rank)) -> float | None:
        """Return when the next open intent is due; None if there is none."""
        return await self._read(partial(intent_sql.due_at, number=self._number, ranks=ranks))

    async def rechecks(self, limit: int) -> Sequence[Record]:
        """Return records whose people may not be denied any more."""
        work = partial(intent_sql.rechecks, number=self._number, limit=limit)
        found = await self._read(work)
        self._rechecking = {record.person: change for record, change in found}
        return [record for record, _ in found]

    async def rechecked(self, denied: Mapping[str, str], unblock: Iterable[Intent]) -> None:
        """Note the verdicts about records; see `Queue.rechecked`."""
        work = partial(
            intent_sql.rechecked,
            number=self._number,
            denied=dict(denied),
            unblock=list(unblock),
            changes=dict(self._rechecking),
            now=self._clock(),
        )
        await self._write(work)

    async def wait(self, seconds: float) -> None:
        """Return when somebody may have changed the store, in any process; at the latest then."""
        await self._changes.wait(self._seen, seconds)
        self._seen = self._changes.count
