"""Waits: holds each request back until it may be sent; `controller` decides when that is.

One pace stands between a client and the socket: every request passes `pace.slot()`.  A slot says
how many users the request may name, and learns whether the server refused it for its rate limit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs

from blockusers._tools.arguments import number
from blockusers.pace.controller import AdaptiveController, Controller
from blockusers.pace.protocol import OnChange, PaceState, Priority, Slot
from blockusers.pace.queue import Queue

_SLOWEST: Final = 1e-6


@attrs.define(eq=False, kw_only=True)
class _ControlledPace:
    """Sends requests in the order of a queue, when a controller permits."""

    _clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False)
    _sleep: Callable[[float], Awaitable[object]] = attrs.field(default=asyncio.sleep, repr=False)
    listeners: set[OnChange] = attrs.field(factory=set[Any], init=False, repr=False)
    """Who is told when the mode, the rate or the largest request changes."""
    _controller: Controller = attrs.field(init=False, repr=False)
    _queue: Queue = attrs.field(factory=Queue, init=False, repr=False)
    _timer: asyncio.Task[None] | None = attrs.field(default=None, init=False, repr=False)

    @property
    def state(self) -> PaceState:
        """What the pace is doing."""
        controller, now = self._controller, self._clock()
        hold_for = max(0.0, controller.all_wait_until() - now)
        return PaceState(
            mode=controller.mode,
            rate=controller.rate,
            max_users=controller.max_users,
            hold_until=now + hold_for if hold_for else None,
            hold_for=hold_for,
            in_flight=controller.in_flight,
            admitted=controller.admitted,
            rate_limited=controller.rate_limited,
        )

    @asynccontextmanager
    async def slot(
        self, priority: Priority = Priority.BULK, *, again: bool = False
    ) -> AsyncGenerator[Slot]:
        """Wait until one request may be sent; leaving the context gives the slot back."""
        held_before = self._controller.held(self._clock())
        slot = await self._acquire(priority, again=again)
        slot.held = self._controller.held(self._clock()) - held_before
        try:
            yield slot
            if slot.was_admitted is None:
                slot.admitted()
        finally:
            self._release(slot)

    async def _acquire(self, priority: Priority, *, again: bool) -> Slot:
        waiter: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._queue.add(waiter, priority, again=again)
        self._grant()
        try:
            return await waiter
        except asyncio.CancelledError:
            self._queue.discard(waiter)
            if not waiter.cancelled():  # it was granted just before
                self._controller.retract(waiter.result())
            self._grant()
            raise

    def _release(self, slot: Slot) -> None:
        before = self.state
        self._controller.end(self._clock(), slot)
        self._grant()
        now = self.state
        if (before.mode, before.rate, before.max_users) != (now.mode, now.rate, now.max_users):
            for listener in tuple(self.listeners):
                listener(before, now)

    def _grant(self) -> None:
        """Give slots to those who may go now, and set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue:
            now = self._clock()
            wait = self._controller.wait(now)
            if wait > 0:
                if wait < float("inf"):
                    self._timer = asyncio.ensure_future(self._grant_after(wait))
                return
            waiter = self._queue.pop()
            if not waiter.done():  # a cancelled one has not run yet
                waiter.set_result(self._controller.grant(now))

    async def _grant_after(self, seconds: float) -> None:
        await self._sleep(seconds)
        self._timer = None
        self._grant()


@attrs.define(eq=False)
class FixedPace(_ControlledPace):
    """A pace with a known limit: so many requests at once, so many per second.

    It learns nothing, but when the server asks to wait, all requests wait.

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

    adapts = False

    def __attrs_post_init__(self) -> None:
        self._controller = Controller(self.max_in_flight, self.per_second)


@attrs.define(eq=False)
class AdaptivePace(_ControlledPace):
    """A pace that learns the server's rate limit, and the largest request that it takes.

    It starts with a few requests at once and sends more as they pass.  When the server refuses
    one for its rate limit (130429), it waits until single requests pass again, measures what the
    limit gives, and from then on spaces requests just below it; every refusal measures it anew.
    If even single requests are refused until they name fewer users, requests stay that small.

    Args:
        max_in_flight: Most requests at the same time.
        clock: Returns the time in seconds.
        sleep: Waits for seconds.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    max_in_flight: int = attrs.field(default=16, validator=number(whole=True, least=1))

    adapts = True

    def __attrs_post_init__(self) -> None:
        self._controller = AdaptiveController(self.max_in_flight)
