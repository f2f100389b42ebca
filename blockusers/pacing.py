"""When the next request may leave: one pace stands between a client and the socket.

Every request passes `pace.slot()`.  A slot says how many users the request may name, and is told
if the server refused it for its rate limit.  Single calls go before the chunks of a job, and those
before the pages of a listing; within a class, first come, first served.
"""

from __future__ import annotations

import asyncio
import enum
import heapq
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import attrs

from blockusers.checks import number

LARGEST_REQUEST = 1000
"""Most users in one request, says Meta's guide."""

_SLOWEST = 1e-6


class Priority(enum.IntEnum):
    """Who goes first: the smaller."""

    SINGLE = 0
    BULK = 1
    LISTING = 2


@attrs.frozen
class PaceState:
    """What a pace is doing, to look at."""

    mode: str
    """`fixed` for a `FixedPace`."""
    rate: float | None
    """Requests per second; None if they are not spaced."""
    max_users: int
    """Most users that a request may name now."""
    hold_until: float | None
    """When the next request may leave if the server asked to wait, by the pace's clock."""
    in_flight: int
    """Requests that hold a slot now."""
    admitted: int
    """Requests that the server let through its rate limit so far."""
    rate_limited: int
    """Requests that it refused for its rate limit so far."""
    hold_for: float = 0.0
    """Seconds until *hold_until*."""


@attrs.define
class Slot:
    """Leave for one request."""

    max_users: int
    """Most users that the request may name."""
    was_admitted: bool | None = attrs.field(default=None, init=False)
    """Whether the request passed the server's rate limit; None if nobody knows."""
    retry_after: float | None = attrs.field(default=None, init=False)
    """Seconds that the server asked to wait."""

    def rate_limited(self, retry_after: float | None) -> None:
        """Tell the pace that the server refused the request for its rate limit."""
        self.was_admitted, self.retry_after = False, retry_after

    def admitted(self, retry_after: float | None = None) -> None:
        """Tell the pace that the request passed; the server may ask to wait all the same."""
        self.was_admitted, self.retry_after = True, retry_after


class Pace(Protocol):
    """What a client needs of a pace."""

    @property
    def max_in_flight(self) -> int:
        """Most requests at the same time."""
        ...

    @property
    def state(self) -> PaceState:
        """What the pace is doing."""
        ...

    def slot(self, priority: Priority = Priority.BULK) -> AbstractAsyncContextManager[Slot]:
        """Wait for leave to send one request; leaving the context gives the slot back."""
        ...


@attrs.define(eq=False)
class FixedPace:
    """A pace for those who know their limit: so many requests at once, so many per second.

    It learns nothing, but where the server asks to wait, every request waits.

    Args:
        max_in_flight: Most requests at the same time.
        per_second: Most requests that start per second; None spaces nothing.
        clock: Returns the time in seconds.
        sleep: Waits for seconds.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    max_in_flight: int = attrs.field(validator=number(whole=True, least=1))
    per_second: float | None = attrs.field(
        default=None, validator=number(least=_SLOWEST, optional=True)
    )
    _clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True, repr=False)
    _sleep: Callable[[float], Awaitable[object]] = attrs.field(
        default=asyncio.sleep, kw_only=True, repr=False
    )
    _waiting: list[tuple[Priority, int, asyncio.Future[None]]] = attrs.field(
        factory=list[Any], init=False, repr=False
    )
    _order: itertools.count[int] = attrs.field(factory=itertools.count, init=False, repr=False)
    _next_start: float = attrs.field(default=0.0, init=False, repr=False)
    _hold_until: float = attrs.field(default=0.0, init=False, repr=False)
    _in_flight: int = attrs.field(default=0, init=False, repr=False)
    _admitted: int = attrs.field(default=0, init=False, repr=False)
    _rate_limited: int = attrs.field(default=0, init=False, repr=False)

    @property
    def state(self) -> PaceState:
        """What the pace is doing."""
        hold_for = max(0.0, self._hold_until - self._clock())
        return PaceState(
            mode="fixed",
            rate=self.per_second,
            max_users=LARGEST_REQUEST,
            hold_until=self._hold_until if hold_for else None,
            hold_for=hold_for,
            in_flight=self._in_flight,
            admitted=self._admitted,
            rate_limited=self._rate_limited,
        )

    @asynccontextmanager
    async def slot(self, priority: Priority = Priority.BULK) -> AsyncGenerator[Slot]:
        """Wait for leave to send one request."""
        await self._enter(priority)
        slot = Slot(LARGEST_REQUEST)
        try:
            await self._wait_for_start()
            yield slot
            if slot.was_admitted is None:
                slot.admitted()
        finally:
            self._admitted += slot.was_admitted is True
            self._rate_limited += slot.was_admitted is False
            if slot.retry_after:
                self._hold_until = max(self._hold_until, self._clock() + slot.retry_after)
            self._leave()

    async def _enter(self, priority: Priority) -> None:
        if self._in_flight < self.max_in_flight:
            self._in_flight += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # the place was handed over just before
                self._leave()
            raise

    def _leave(self) -> None:
        """Hand the place to the first who still waits for one."""
        while self._waiting:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._in_flight -= 1

    async def _wait_for_start(self) -> None:
        """Wait for a start of one's own, in the order of asking; again if held meanwhile."""
        while True:
            start = max(self._clock(), self._next_start, self._hold_until)
            if self.per_second is not None:
                self._next_start = start + 1 / self.per_second
            while (left := start - self._clock()) > 0:
                await self._sleep(left)
            if start >= self._hold_until:
                return
