"""`SharedPace`: one pace for the clients of several processes, kept in Redis.

`blockusers.pace.participant` decides what a process changes and when; this module moves it: it
offers each change to Redis, follows the channel, and goes on alone while Redis is away.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from blockusers._tools.arguments import check_number
from blockusers.guard.stores.redis_errors import explained
from blockusers.pace.participant import Participant
from blockusers.pace.protocol import OnChange, PaceState, Priority, Slot
from blockusers.pace.shared import FORMAT, SharedState
from blockusers.redis.link import Link, version_of
from blockusers.values.account import Account

if TYPE_CHECKING:
    from redis.asyncio import Redis

_LOG: Final = logging.getLogger("blockusers")
_PAUSE: Final = 1.0
"""Seconds between two attempts to reach Redis."""
_SCATTER: Final = 0.004
"""Seconds after which a change is offered again that came too late, at random, at most at first."""


class SharedPace:
    """A pace that clients in several processes share through Redis.

        async with SharedPace("redis://localhost", account) as pace:
            async with Client(account, pace=pace) as client:
                await client.block(numbers)

    All processes with the same Redis, *prefix* and blocklist learn the rate limit together, as one
    `AdaptivePace` does, and take turns by the same rules: single calls first, then jobs, then
    listings, and every fourth slot to whoever has waited longest.  While Redis is away each process
    goes on with its part of the last rate.

    Args:
        url: Of Redis, such as `rediss://user:password@host:6379/0`; or a client of
            `redis.asyncio`, which is not closed; None reads `BLOCKUSERS_REDIS_URL`.
        account: Whose blocklist the requests are about.
        prefix: Of the names of keys and channels in Redis.
        max_in_flight: Most requests at the same time, of all processes together.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    adapts: Final = True

    def __init__(
        self,
        url: str | Redis | None,
        account: Account,
        *,
        prefix: str = "blockusers",
        max_in_flight: int = 16,
    ) -> None:
        check_number("max_in_flight", max_in_flight, whole=True, least=1)
        self.max_in_flight: Final = max_in_flight
        """Most requests at the same time, of all processes together."""
        self.listeners: set[OnChange] = set()
        """Who is told when the mode, the rate or the largest request changes."""
        self._link = Link(url, f"{prefix}:pace:v{FORMAT}:{{{account.blocklist_key}}}")
        self._clock = self._link.clock
        self._part = Participant(uuid4().hex[:12], max_in_flight, self._clock)
        self._told = self.state
        self._is_empty = False
        self._is_closed = False
        self._too_late = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<SharedPace at {self._link.name}, {self._link.key}>"

    @property
    def state(self) -> PaceState:
        """What the pace is doing, for all processes; while Redis is away, for this one."""
        controller, now = self._part.controller, self._clock()
        hold_for = max(0.0, controller.all_wait_until() - now)
        return PaceState(
            mode=controller.mode,
            rate=controller.rate,
            max_users=controller.max_users,
            hold_until=time.monotonic() + hold_for if hold_for else None,
            hold_for=hold_for,
            in_flight=controller.in_flight,
            admitted=controller.admitted,
            rate_limited=controller.rate_limited,
        )

    @property
    def round_trips(self) -> int:
        """How often Redis was asked so far."""
        return self._link.round_trips

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def slot(
        self, priority: Priority = Priority.BULK, *, again: bool = False
    ) -> AsyncGenerator[Slot]:
        """Wait until one request may be sent; leaving the context gives the slot back."""
        self._start()
        asked, held = self._clock(), self._part.controller.held(self._clock())
        number = await self._acquire(priority, again=again)
        slot, now = self._part.slot(number), self._clock()
        slot.held = min(max(0.0, self._part.controller.held(now) - held), now - asked)
        try:
            yield slot
            if slot.was_admitted is None:
                slot.admitted()
        finally:
            self._part.end(number)
            self._changed()

    async def _acquire(self, priority: Priority, *, again: bool) -> int:
        waiter: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._part.ask(waiter, priority, again=again)
        self._changed()
        try:
            return await waiter
        except asyncio.CancelledError:
            self._part.give_up(waiter)
            self._changed()
            raise

    # ----------------------------------------------------------------------- its life

    def _start(self) -> None:
        """Begin to work, if that did not go on already in this event loop."""
        if any(not task.done() for task in self._tasks):
            return
        if self._tasks or self._is_closed:
            self._link.open()
        self._is_closed = False
        self._something_happened, self._is_followed = asyncio.Event(), asyncio.Event()
        work = (self._propose_when_due(), self._follow())
        self._tasks = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        """Leave the other processes to themselves, and close the connections.

        Close the clients that use it first: requests that wait end with `ClientClosed`.
        """
        was_open, left = bool(self._tasks), set(self._tasks)
        while left:  # redis-py may lose a cancellation
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=_PAUSE)
        self._tasks = []
        self._part.give_all_up()
        if was_open and self._part.alone is None:
            with suppress(Exception):  # what it held expires
                await self._leave()
        await self._link.close()
        self._is_closed = True

    async def _leave(self) -> None:
        while True:
            proposal = self._part.propose_to_leave()
            swap = await self._link.swap(self._part.state.version, proposal.dump())
            if swap.accepted or not swap.found:
                return
            self._part.adopt(self._read(swap.found))

    def _changed(self) -> None:
        """Do what a change of anything asks for."""
        self._tell()
        self._something_happened.set()
        if self._part.alone is not None:
            self._grant_alone()

    def _tell(self) -> None:
        before, now = self._told, self.state
        if (before.mode, before.rate, before.max_users) != (now.mode, now.rate, now.max_users):
            self._told = now
            for listener in tuple(self.listeners):
                try:
                    listener(before, now)
                except Exception:  # no request is to blame for it, and none may wait for ever
                    _LOG.exception("a listener of the pace failed")

    # ----------------------------------------------------------------------- with Redis

    async def _propose_when_due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE):
                await self._is_followed.wait()
        while True:
            if self._part.alone is not None:
                await asyncio.sleep(_PAUSE)
            elif not self._is_empty:
                await self._until_due()
            await self._propose()

    async def _until_due(self) -> None:
        while (wait := self._part.due() - self._clock()) > 0:
            self._something_happened.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._something_happened.wait()

    async def _propose(self) -> None:
        """Offer a change to Redis, and take what it says."""
        before = self._part.state.version
        try:
            proposal = self._part.propose()
            swap = await self._link.swap(0 if self._is_empty else before, proposal.dump())
        except Exception as error:
            self._go_alone(error)
            return
        if self._part.alone is not None:
            self._part.come_back()
            _LOG.warning("%s: it answers again; processes share one pace again", self._link.name)
        self._is_empty = not swap.accepted and not swap.found
        if not self._is_empty:
            state = proposal if swap.accepted else self._read(swap.found)
            current = self._part.state.version
            # If the news was faster than this answer, the answer is old.  Else Redis may well have
            # an older state than this process: it has forgotten, and what it says holds.
            if state.version > current or current == before:
                self._part.adopt(state)
        self._changed()
        self._too_late = 0 if swap.accepted else min(self._too_late + 1, 4)
        if self._too_late > 1:  # many processes at once would go on to be in each other's way
            await asyncio.sleep(random.random() * _SCATTER * 2**self._too_late)  # noqa: S311

    def _read(self, found: bytes) -> SharedState:
        """Return the state that was found; a fresh one instead of what cannot be read."""
        try:
            return SharedState.load(found, self.max_in_flight)
        except ValueError as error:
            _LOG.warning("%s: %s; the pace begins anew", self._link.name, error)
            state = SharedState.fresh(self.max_in_flight)
            state.version = version_of(found)
            return state

    async def _follow(self) -> None:
        while True:
            with suppress(Exception):  # whoever proposes notices, and says so
                await self._link.follow(self._hear)
            self._is_followed.set()  # as far as it can be
            await asyncio.sleep(_PAUSE)

    def _hear(self, news: bytes | None) -> None:
        self._is_followed.set()
        if news is None or self._part.alone is not None:
            return
        if version_of(news) > self._part.state.version:
            with suppress(ValueError):  # whoever proposes reads it, too
                self._part.adopt(SharedState.load(news, self.max_in_flight))
                self._changed()

    # ----------------------------------------------------------------------- without Redis

    def _go_alone(self, error: Exception) -> None:
        if self._part.alone is None:
            self._part.go_alone()
            why = explained(error, self._link.name)
            _LOG.warning("%s (each process goes on with its part of the rate meanwhile)", why)
        self._changed()

    def _grant_alone(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wait = self._part.grant_alone()
        if wait < math.inf:
            self._timer = asyncio.get_running_loop().call_later(wait, self._grant_alone)
