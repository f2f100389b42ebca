"""`RedisQueue`: the intents of one number in the hands of whoever holds its lease."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from blockusers.guard.intents import Intent, Record, Result
from blockusers.guard.stores import redis_intents
from blockusers.guard.stores.protocol import LeaseLost, StoreUnavailable
from blockusers.guard.stores.redis_connection import Connection

_TRIED_EVERY: Final = 0.2
"""Seconds between two attempts to get the lease of a number."""


class RedisQueue:
    """The intents of one business number, in the hands of the only drain of it.

    Each method that writes raises `LeaseLost`, and writes nothing, when the lease has passed to
    another process: because this one was stopped, or was cut off from Redis, for longer than it
    lasts.
    """

    def __init__(self, number: str, connection: Connection) -> None:
        self._connection = connection
        self._lease = {"number": number, "token": secrets.token_hex(16)}
        self._seen = connection.changes.count
        self._rechecking: dict[str, int] = {}
        """Of the people whose records are checked, which change was the last that was seen."""

    @contextlib.asynccontextmanager
    async def held(self, seconds: float) -> AsyncGenerator[None]:
        """Wait for the lease, then renew it until the end; it lasts *seconds* without that."""
        milliseconds = int(seconds * 1000)
        acquire = partial(
            self._connection.call, "acquire", **self._lease, milliseconds=milliseconds
        )
        while not await acquire():  # noqa: ASYNC110  # nobody tells of a lease that runs out
            await asyncio.sleep(_TRIED_EVERY)
        renewing = asyncio.create_task(self._renew(milliseconds))
        try:
            await redis_intents.take_over(self._connection, self._lease)
            yield
        finally:
            renewing.cancel()
            with contextlib.suppress(StoreUnavailable):  # it runs out by itself, then
                await self._connection.call("release", **self._lease)

    async def _renew(self, milliseconds: int) -> None:
        while True:
            await asyncio.sleep(self._connection.beat)
            try:
                await self._connection.call("renew", **self._lease, milliseconds=milliseconds)
            except LeaseLost:
                self._connection.changes.note()  # who waits for a change is to learn of it
                return
            except StoreUnavailable:
                pass  # there may be time for another attempt

    async def take(self, limit: int, late: float) -> Sequence[Intent]:
        """Return the oldest open intents that are due; see `Queue.take`."""
        return await redis_intents.take(self._connection, self._lease, limit, late)

    async def settle(self, results: Iterable[Result]) -> None:
        """Note what became of intents that were taken; see `Queue.settle`."""
        await redis_intents.settle(self._connection, self._lease, list(results))

    async def make_room(self, count: int, keep: Iterable[str]) -> int:
        """Want to unblock *count* people more; see `Queue.make_room`."""
        return await redis_intents.make_room(self._connection, self._lease, count, keep)

    async def due_at(self) -> float | None:
        """Return when the next open intent is due; None if there is none."""
        found = await self._connection.call("due_at", **self._lease)
        return min(map(float, found), default=None)

    async def rechecks(self, limit: int) -> Sequence[Record]:
        """Return records whose people may not be denied any more."""
        found = await self._connection.call("rechecks", **self._lease, limit=limit)
        self._rechecking = {person: int(change) for person, change, _, _ in found}
        number = self._lease["number"]
        return [
            redis_intents.record_of(number, person, entry, raw) for person, _, entry, raw in found
        ]

    async def rechecked(self, denied: Mapping[str, str], unblock: Iterable[Intent]) -> None:
        """Note the verdicts about records; see `Queue.rechecked`."""
        unblocks, changes = list(unblock), dict(self._rechecking)
        await redis_intents.rechecked(self._connection, self._lease, denied, unblocks, changes)

    async def wait(self, seconds: float) -> None:
        """Return when somebody may have changed the store, in any process; at the latest then."""
        changes = self._connection.changes
        await changes.wait(self._seen, seconds)
        self._seen = changes.count
