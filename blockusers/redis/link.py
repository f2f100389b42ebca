"""Keeps one value in Redis: changed by compare-and-set in a Lua script, news of it on a channel."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, Final

import attrs

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'blockusers.redis needs {error.name}: pip install "blockusers[redis]", or in a clone'
        ' pip install ".[redis]"',
        name=error.name,
    ) from None

from blockusers.guard.stores.redis_errors import shown

VARIABLE: Final = "BLOCKUSERS_REDIS_URL"

_SWAP: Final = """
local now = redis.call('TIME')
local found = redis.call('GET', KEYS[1]) or ''
if (string.match(found, '^(%d+) ') or '0') ~= ARGV[1] then
  return {0, now[1], now[2], found}
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[2])
return {1, now[1], now[2], ''}
"""
_KEPT_FOR: Final = 7 * 86_400
"""Seconds after which Redis deletes a value that nobody changed."""
_TIMEOUT: Final = 1.0
"""Seconds that Redis gets for an answer."""
_DRIFT: Final = 1e-4
"""How far clocks may drift apart, in seconds per second."""


class RedisClock:
    """The clock of Redis, as far as it is known here; until then, this machine's."""

    def __init__(self, local: Callable[[], float] = time.monotonic) -> None:
        self._local = local
        self._offset = time.time() - local()
        self._error = 1e9
        self._learned_at = local()

    def __call__(self) -> float:
        """Return the time in seconds since 1970."""
        return self._local() + self._offset

    def learn(self, asked: float, answered: float, said: float) -> None:
        """Learn what Redis said between two times of the local clock."""
        error = (answered - asked) / 2
        if error <= self._error + _DRIFT * (answered - self._learned_at):
            self._offset = said - (asked + answered) / 2
            self._error, self._learned_at = error, answered


@attrs.frozen
class Swap:
    """What came of a compare-and-set."""

    accepted: bool
    found: bytes
    """The value that was there instead of the expected one; empty if there was none."""


def version_of(value: bytes) -> int:
    """Return the version that a value begins with; 0 if it has none."""
    version, blank, _ = value.partition(b" ")
    return int(version) if blank and version.isdigit() else 0


class Link:
    """A value in Redis that begins with its version and a blank.

    Args:
        where: A URL, a client that its owner closes, or None for the URL in the environment.
        key: The key of the value; its channel is named after it.
    """

    def __init__(self, where: str | Redis | None, key: str) -> None:
        self.key = key
        self.channel = f"{key}:news"
        self.clock = RedisClock()
        self.round_trips = 0
        """Scripts that Redis was asked to run so far."""
        self._where = where
        self.open()

    def open(self) -> None:
        """Have a client; connections are made when they are needed."""
        self._client, self._is_ours, self.name = _open(self._where)
        self._swap = self._client.register_script(_SWAP)

    async def swap(self, expected: int, value: bytes) -> Swap:
        """Set the value if its version is the expected one; 0 expects that there is none."""
        self.round_trips += 1
        asked = time.monotonic()
        async with asyncio.timeout(_TIMEOUT):
            accepted, seconds, micros, found = await self._swap(
                keys=[self.key], args=[expected, value, _KEPT_FOR, self.channel]
            )
        self.clock.learn(asked, time.monotonic(), int(seconds) + int(micros) / 1e6)
        return Swap(bool(accepted), _bytes(found))

    async def follow(self, told: Callable[[bytes | None], None]) -> None:
        """Tell of each value that is set, and None once the channel is followed; never returns."""
        async with self._client.pubsub() as channel:
            await channel.subscribe(self.channel)
            async for message in channel.listen():
                told(_bytes(message["data"]) if message["type"] == "message" else None)

    async def close(self) -> None:
        """Close the client, unless it is its owner's."""
        if self._is_ours:
            await self._client.aclose()


def _bytes(value: str | bytes) -> bytes:
    """Return what a client says that may decode answers."""
    return value.encode() if isinstance(value, str) else value


def _open(where: str | Redis | None) -> tuple[Redis, bool, str]:
    """Return a client, whether it is ours, and how it is called in logs."""
    if isinstance(where, Redis):
        return where, False, "the given client"
    if where is None and not (where := os.environ.get(VARIABLE)):
        raise ValueError(f"url: pass the URL of Redis, or set the environment variable {VARIABLE}")
    if not isinstance(where, str):
        raise TypeError(f"url: must be a str or a redis.asyncio.Redis, not {type(where).__name__}")
    name = shown(where)
    # `swap` keeps time.  With a time-out of redis-py's own, a task that is cancelled while it sends
    # may go on (Python 3.11's `asyncio.wait_for`).
    client: Any = Redis.from_url(
        where, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 1)
    )
    return client, True, name
