"""`RedisStore`: deny list, intents and records in Redis, for guards on several machines."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Self

from blockusers.guard.entries import Entry
from blockusers.guard.intents import Counts, Intent
from blockusers.guard.stores.protocol import Filter, Found
from blockusers.guard.stores.redis_entries import entry_of, is_chosen, key_of, name, row_of
from blockusers.guard.stores.times import compact

try:
    from blockusers.guard.stores import redis_intents
    from blockusers.guard.stores.redis_connection import Connection
    from blockusers.guard.stores.redis_queue import RedisQueue
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'RedisStore needs {error.name}: pip install "blockusers[redis]", or in a clone'
        ' pip install ".[redis]"',
        name=error.name,
    ) from None

_PAGE: Final = 1000
"""Entries that are read or removed before others get a turn."""
_BEATS: Final = 4
"""Attempts to renew a lease before it runs out."""


class RedisStore:
    """Keeps the deny list, the intents and the records in one Redis.

    Use it as an async context manager, or let a `Guard` open it.  Processes on any number of
    machines may have it open at the same time; each `RedisStore` serves one event loop at a time.
    The extra `redis` installs what it needs: ``pip install "blockusers[redis]"``.

    Every call is one Lua script, or one that reads and one that writes if nothing has changed
    in between; so what it writes is written whole or not at all.  All keys have the same hash tag:
    in a cluster they are on one node, and the URL is that of the node.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with the password if there is one.
        prefix: What the names of all keys begin with; stores with another one are other stores.
        clock: Returns the time in seconds since 1970; None is the clock of Redis, so that machines
            whose clocks differ agree.
        timeout: Seconds to wait for an answer of Redis, before `StoreUnavailable`.
        lease: Seconds after which another process takes over the numbers of one that has died.

    Raises:
        ValueError: An argument is wrong; the message begins with its name.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "blockusers",
        clock: Callable[[], float] | None = None,
        timeout: float = 3.0,
        lease: float = 4.0,
    ) -> None:
        if not prefix or set(prefix) & set("{}\0"):
            raise ValueError("prefix: must be some text without braces")
        self._lease = lease
        self._prefix = prefix
        self._connection = Connection(url, prefix, clock, timeout, beat=lease / _BEATS)

    def __repr__(self) -> str:
        return f"<RedisStore {self._connection.place} {self._prefix}>"

    def clock(self) -> float:
        """Return the time, in seconds since 1970, that the store and its users go by."""
        return self._connection.clock()

    async def __aenter__(self) -> Self:
        """Open it; to open it several times is to close it as often.

        Raises:
            StoreUnavailable: Redis cannot be used, or the keys hold something else.
        """
        await self._connection.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        await self._connection.close()

    # ------------------------------------------------------------------ the deny list

    async def add(
        self, entries: Sequence[Entry], spellings: Mapping[str, Sequence[str]] | None = None
    ) -> tuple[int, int]:
        """Add entries; see `Store.add`."""
        rows = {row[0]: row for row in map(row_of, entries)}
        new, changed = await self._connection.change(
            "add", entries=list(rows.values()), spellings=dict(spellings or {})
        )
        return new, changed

    async def remove(self, chosen: Filter) -> int:
        """Remove entries; return how many. A long removal takes several transactions."""
        count = 0
        async with aclosing(self._pages(chosen, None)) as pages:
            async for page in pages:
                keys = [key_of(entry) for entry in page]
                count += await self._connection.change("remove", keys=keys)
        return count

    async def find(self, ids: Sequence[str]) -> Sequence[Found]:
        """Return the entries that have not expired of these ids; see `Store.find`."""
        found = await self._connection.call("find", ids=list(ids), now=self.clock())
        return [Found(id_, entry_of(text)) for id_, text in found]

    async def entries(self, chosen: Filter, after: Entry | None, limit: int) -> Sequence[Entry]:
        """Return a page of the entries in the order of their keys, from behind *after* on."""
        found: list[Entry] = []
        async with aclosing(self._pages(chosen, after)) as pages:
            async for page in pages:
                found += page
                if len(found) >= limit:
                    break
        return found[:limit]

    async def count(self, chosen: Filter) -> int:
        """Return how many entries there are."""
        if chosen == Filter():
            return int(await self._connection.call("total"))
        async with aclosing(self._pages(chosen, None)) as pages:
            return sum([len(page) async for page in pages])

    async def _pages(self, chosen: Filter, after: Entry | None) -> AsyncGenerator[list[Entry]]:
        """Yield the entries that are chosen, in the order of their keys."""
        start = "" if after is None else key_of(after)
        texts = self._all_texts(start) if chosen.users is None else self._texts(chosen.users, start)
        async with aclosing(texts):
            async for page in texts:
                entries = [entry_of(text) for text in page]
                yield [entry for entry in entries if is_chosen(entry, chosen)]

    async def _all_texts(self, start: str) -> AsyncGenerator[list[str]]:
        """Yield all entries behind a key."""
        page: list[str] = await self._connection.call("page", after=start, limit=_PAGE)
        while page:
            yield page
            start = key_of(entry_of(page[-1]))
            page = await self._connection.call("page", after=start, limit=_PAGE)

    async def _texts(self, users: Iterable[str], start: str) -> AsyncGenerator[list[str]]:
        """Yield the entries of *users* behind a key."""
        first = start.partition("\0")[0]
        named = sorted({user for user in map(name, users) if user >= first})
        for index in range(0, len(named), _PAGE):
            page = await self._connection.call("of_users", users=named[index : index + _PAGE])
            yield [text for text in page if key_of(entry_of(text)) > start]

    async def expire(self) -> int:
        """Remove the entries that have expired."""
        count = 0
        while removed := await self._connection.change("expire", limit=_PAGE):
            count += removed
        return count

    async def move(self, old: Sequence[str], new: str, at: float, message: str) -> bool:
        """Move the entries of *old* that were added before *at* to *new*; see `Store.move`."""
        moved = await self._connection.change(
            "move",
            old=[id_ for id_ in old if id_ != new],
            new=new,
            at=at,
            at_text=str(compact(at)),
            message=message,
        )
        return bool(moved)

    async def erase(self, ids: Sequence[str], persons: Sequence[str]) -> int:
        """Delete whatever is known of a user; return how many entries there were."""
        erased = await self._connection.change("erase", ids=list(ids), persons=list(persons))
        return int(erased)

    async def setting(self, name: str, value: str | None = None) -> str | None:
        """Return what is stored under *name*; if there is nothing, store *value*, if given."""
        given = {} if value is None else {"value": value}
        stored = await self._connection.call("setting", name=name, **given)
        return None if stored is None else str(stored)

    # ------------------------------------------------------------------ intents and records

    async def want(self, intents: Iterable[Intent], aliases: Mapping[str, str]) -> Sequence[Intent]:
        """Write intents, each in place of the older one of its user; see `Store.want`."""
        return await redis_intents.want(self._connection, list(intents), dict(aliases))

    async def counts(self, phone_number_id: str) -> Counts:
        """Return how many intents and records there are of one number."""
        found = await self._connection.call("counts", number=phone_number_id)
        blocks, unblocks, blocked, oldest = found
        return Counts(blocks, unblocks, blocked, min(map(float, oldest), default=None))

    async def forget(self, before: float) -> None:
        """Delete what is needed no more since this moment; it may take several transactions.

        Redis keeps a copy in its append-only file until it rewrites that; see "Several replicas".
        """
        while await self._connection.call("forget", before=str(before), limit=_PAGE):
            pass

    @contextlib.asynccontextmanager
    async def queue(self, phone_number_id: str) -> AsyncGenerator[RedisQueue]:
        """Wait until nobody else drains this number, then hold it; see `Store.queue`."""
        self._connection.follow()
        queue = RedisQueue(phone_number_id, self._connection)
        async with queue.held(self._lease):
            yield queue
