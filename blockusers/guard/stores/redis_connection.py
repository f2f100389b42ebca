"""The connection of a `RedisStore`: runs its Lua commands, follows changes, reads Redis' clock."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from blockusers.guard.stores.changes import Changes
from blockusers.guard.stores.protocol import StoreUnavailable
from blockusers.guard.stores.redis_errors import ERRORS, explained, shown

_LOG: Final = logging.getLogger("blockusers")
_LUA: Final = Path(__file__).with_name("redis.lua").read_text(encoding="utf-8")
_SHA: Final = hashlib.sha1(_LUA.encode(), usedforsecurity=False).hexdigest()
_FORMAT: Final = "1"
_OLDEST: Final = (6, 2)
_CONNECTIONS: Final = 16


class Connection:
    """Runs the commands of `redis.lua` on one Redis.

    Args:
        url: Of Redis.
        prefix: What the names of all keys begin with.
        clock: Returns the time; None is the time of Redis.
        timeout: Seconds to wait for each answer.
        beat: Seconds between two looks whether something has changed.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        clock: Callable[[], float] | None,
        timeout: float,
        beat: float,
    ) -> None:
        self.place = shown(url)
        """The URL without its password, for messages."""
        self.changes = Changes()
        """Knows when something has changed in the store, in whatever process."""
        self.beat = beat
        # One hash tag for all: in a cluster, all keys are on one node.
        self._base = f"{{{prefix}:guard}}"
        self._url = url
        self._timeout = timeout
        self._clock = clock
        self._ahead = 0.0
        """Seconds by which the clock of Redis is ahead of ours."""
        self._name = secrets.token_hex(8)
        self._opened = 0
        self._client: Redis | None = None
        self._follower: asyncio.Task[None] | None = None
        self._seen = ""
        self._has_warned = False

    def clock(self) -> float:
        """Return the time in seconds since 1970."""
        return time.time() + self._ahead if self._clock is None else self._clock()

    # ------------------------------------------------------------------ opening and closing

    async def open(self) -> None:
        """Connect, and check that the store can be used; to open it twice is to close it twice."""
        if self._opened == 0:
            self._connect()
        self._opened += 1
        try:
            await self._check()
        except BaseException:
            await self.close()
            raise

    def _connect(self) -> None:
        pool: Any = BlockingConnectionPool.from_url(
            self._url,
            max_connections=_CONNECTIONS,
            timeout=self._timeout,
            decode_responses=True,
            # `_explaining` sees to time-outs: with one of redis-py's own, a task that is cancelled
            # while it sends is not cancelled (Python 3.11's `asyncio.wait_for`).
            socket_timeout=None,
            socket_connect_timeout=None,
            # A command may have been carried out although its answer was lost.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Redis.from_pool(pool)

    async def close(self) -> None:
        """Close it when all have closed it."""
        self._opened -= 1
        if self._opened:
            return
        client, self._client = cast("Redis", self._client), None
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.cancel()
            await asyncio.wait([follower])
        await client.aclose()
        self.changes.note()

    async def _check(self) -> None:
        stored, told = await self.call("open", format=_FORMAT)
        if stored != _FORMAT:
            newer = "a newer version of blockusers has written it; update this one"
            raise StoreUnavailable(f"{self.place}: {newer}")
        # Empty if Redis does not permit INFO.
        info = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
        version = tuple(int(part) for part in info.get("redis_version", "99.0").split(".")[:2])
        if version < _OLDEST:
            found, needed = (".".join(map(str, each)) for each in (version, _OLDEST))
            raise StoreUnavailable(f"{self.place}: is Redis {found}; {needed} or newer is needed")
        self._warn(info)
        await self.tick()

    def _warn(self, info: Mapping[str, str]) -> None:
        """Say once what of the settings of Redis may lose entries or intents."""
        if self._has_warned:
            return
        self._has_warned = True
        if info.get("aof_enabled") == "0":
            told = "Redis keeps no append-only file; what is stored may be lost when it stops"
            _LOG.warning("guard: %s: %s (set appendonly yes)", self.place, told)
        if info.get("maxmemory_policy", "noeviction") != "noeviction":
            told = "Redis may evict keys when its memory is full, also those of the deny list"
            _LOG.warning("guard: %s: %s (set maxmemory-policy noeviction)", self.place, told)

    # ------------------------------------------------------------------ calling

    async def call(self, command: str, **arguments: Any) -> Any:
        """Run a command of `redis.lua`, as one transaction.

        Raises:
            StoreUnavailable: It failed.
            LeaseLost: The lease that it was for is another's.
        """
        given = json.dumps(arguments, ensure_ascii=False).encode()
        async with self._explaining() as client:
            reply = await self._run(client, command, given)
        if "wakes" in arguments and reply != 0:
            self.changes.note()
        return reply

    async def change(self, command: str, **arguments: Any) -> Any:
        """Run a command that changes the store, and wake whoever waits for that."""
        return await self.call(command, **{"now": self.clock(), **arguments}, wakes=self._name)

    async def _run(self, client: Redis, command: str, given: bytes) -> Any:
        arguments: Any = (1, self._base, command, given)
        try:
            return await client.evalsha(_SHA, *arguments)
        except NoScriptError:
            return await client.eval(_LUA, *arguments)

    @contextlib.asynccontextmanager
    async def _explaining(self) -> AsyncGenerator[Redis]:
        """Give the client; raise what goes wrong with it, or takes too long, as the store's own."""
        if self._client is None:
            raise StoreUnavailable(f"{self.place}: it is not open; use it inside `async with`")
        try:
            async with asyncio.timeout(self._timeout):
                yield self._client
        except ERRORS as error:
            raise explained(error, self.place) from error

    # ------------------------------------------------------------------ following changes

    def follow(self) -> None:
        """Listen to what other processes change, from now on."""
        if self._follower is None:
            self._follower = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            with contextlib.suppress(StoreUnavailable, *ERRORS):
                await self._listen()
            await asyncio.sleep(self.beat)

    async def _listen(self) -> None:
        """Listen to the channel until the connection breaks; look by itself as well."""
        async with contextlib.AsyncExitStack() as stack:
            async with self._explaining() as client:
                pubsub = client.pubsub(ignore_subscribe_messages=True)
                channel = await stack.enter_async_context(pubsub)
                await channel.subscribe(f"{self._base}:changes")
            looks_at = time.monotonic()
            while True:
                if time.monotonic() >= looks_at:
                    looks_at += self.beat
                    await self._look()
                left = max(0.0, looks_at - time.monotonic())
                message = await channel.get_message(timeout=left)
                if message is not None and message["data"] != self._name:
                    self.changes.note()

    async def _look(self) -> None:
        """Note what has changed although no message came."""
        with contextlib.suppress(StoreUnavailable):
            seen = await self.tick()
            if seen != self._seen:
                self._seen = seen
                self.changes.note()

    async def tick(self) -> str:
        """Set the clock by that of Redis; return another text whenever something has changed."""
        began = time.time()
        seconds, microseconds, changes = await self.call("tick")
        middle = (began + time.time()) / 2
        self._ahead = int(seconds) + int(microseconds) / 1e6 - middle
        return str(changes)
