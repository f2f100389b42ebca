"""One process's part in a shared pace: what it knows, what it is about to change, and when.

It never waits, and it knows no store.  Whoever moves it (`blockusers.redis` does) asks `due`,
offers what `propose` returns to the store, and passes the store's newest state to `adopt`.  A
proposal that was refused, or whose answer was lost, leaves no trace: `adopt` compares what the
state says with what the process holds, so that no slot is lost and none is used twice.

While the store is away the process goes `alone`, with its part of the last rate.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable
from typing import Final

from blockusers.pace.controller import AdaptiveController
from blockusers.pace.protocol import Priority, Slot
from blockusers.pace.queue import Queue
from blockusers.pace.shared import LEASE, RENEWAL, Lease, SharedState
from blockusers.values.errors import ClientClosed

_GRACE: Final = 0.1
"""Seconds that a process gets to take the slot that is its turn, before the next gives it to it."""
_LATER: Final = 0.25
"""Seconds for which an answer that changes little waits for a change that must be made anyway."""
_HEARTBEAT: Final = 12.0
"""Seconds between two changes of a process that waits, at most,"""
_IDLE_HEARTBEAT: Final = 30.0
"""and of one that does nothing."""


class Participant:
    """What one process knows of the shared pace, and what it wants.

    Args:
        name: Of the process; nobody else's.
        max_in_flight: Most slots in flight, of all processes.
        clock: The store's clock, as far as it is known here.
    """

    def __init__(self, name: str, max_in_flight: int, clock: Callable[[], float]) -> None:
        self.name = name
        self.max_in_flight = max_in_flight
        self.state = SharedState.fresh(max_in_flight)
        """The newest state that is known."""
        self.alone: AdaptiveController | None = None
        """Decides while the store is away."""
        self._clock = clock
        self._queue = Queue(clock)
        self._held: dict[int, Slot] = {}
        self._ended: dict[int, Slot] = {}
        self._ended_at: dict[int, float] = {}  # without an entry, the slot was never used
        self._numbers = itertools.count(-1, -1)  # of the slots that are given while alone
        self._asked_to_wait_until = -math.inf

    @property
    def controller(self) -> AdaptiveController:
        """What decides now."""
        return self.alone or self.state.controller

    # ----------------------------------------------------------------------- requests

    def ask(self, waiter: asyncio.Future[int], priority: Priority, *, again: bool) -> None:
        """Let *waiter* wait for a slot; it is given the slot's number."""
        self._queue.add(waiter, priority, again=again)

    def slot(self, number: int) -> Slot:
        """Return the slot that a waiter was given."""
        return self._held[number]

    def give_up(self, waiter: asyncio.Future[int]) -> None:
        """Forget a waiter that was cancelled; the slot that it may have goes to the next."""
        self._queue.discard(waiter)
        if not waiter.cancelled() and waiter.exception() is None:
            self._pass_on(waiter.result())

    def give_all_up(self) -> None:
        """End all who wait with an error."""
        while self._queue:
            waiter = self._queue.pop()
            if not waiter.done():
                waiter.set_exception(ClientClosed("the pace was closed"))

    def end(self, number: int) -> None:
        """Note that the request of a slot has its answer, which the slot was told."""
        slot = self._held.pop(number)
        if slot.retry_after:
            until = self._clock() + slot.retry_after
            self._asked_to_wait_until = max(self._asked_to_wait_until, until)
        if number in self._leases():
            self._ended[number], self._ended_at[number] = slot, self._clock()
        if self.alone is not None:
            self.alone.end(self._clock(), slot)

    def _pass_on(self, number: int, line: int | None = None) -> None:
        """Give a slot to the first of *line*, or of any other; or back, if nobody waits."""
        while self._queue:
            waiter = self._queue.pop(line)
            if not waiter.done():  # a cancelled one has not run yet
                waiter.set_result(number)
                return
        slot = self._held.pop(number)
        if number in self._leases():
            self._ended[number] = slot
        if self.alone is not None:
            self.alone.retract(slot)

    # ----------------------------------------------------------------------- with the store

    def due(self) -> float:
        """Return when the next change is to be proposed: `inf` if not before something happens."""
        mine = self.state.members.get(self.name)
        wanted = self._queue.lines()
        if mine is None or mine.wants.keys() != wanted:
            return -math.inf
        due = min(self._ends_due(), mine.seen + (_HEARTBEAT if wanted else _IDLE_HEARTBEAT))
        due = min([due, *(each.expires - LEASE + RENEWAL for each in self._leases().values())])
        if wanted:
            grace = _GRACE * self.state.rank(self.name)
            due = min(due, self.state.opens_at() + grace)
        return due

    def _ends_due(self) -> float:
        """Return when the store is to be told what has ended.

        At a steady rate that is not urgent if the request passed, unless slots run short.
        """
        is_urgent = (
            self.state.controller.mode != "steady"
            or 4 * len(self.state.leases) > self.max_in_flight
            or any(not slot.was_admitted or slot.retry_after for slot in self._ended.values())
        )
        if self._ended and is_urgent:
            return -math.inf
        return min(self._ended_at.values(), default=math.inf) + _LATER

    def propose(self) -> SharedState:
        """Return the state as it should become."""
        state = SharedState.load(self.state.dump(), self.max_in_flight)
        state.version += 1
        member = state.hear_of(self.name, self._clock())
        asked, controller = self._asked_to_wait_until, state.controller
        controller.asked_to_wait_until = max(controller.asked_to_wait_until, asked)
        for number, slot in self._ended.items():
            if number in self._ended_at:
                state.end(number, slot, self._ended_at[number])
            else:
                state.retract(number)
        wanted = self._queue.stamps(self.max_in_flight + 1)
        self._grant(state, wanted)
        member.wants = {line: stamps[0] for line, stamps in wanted.items() if stamps}
        return state

    def propose_to_leave(self) -> SharedState:
        """Return the state without this process."""
        state = self.propose()
        state.leave(self.name)
        return state

    def _grant(self, state: SharedState, wanted: dict[int, list[float]]) -> None:
        """Give slots to whoever is next, here or elsewhere, while the rate permits."""
        member = state.members[self.name]
        while state.controller.wait(state.now) <= 0:
            member.wants = {line: stamps[0] for line, stamps in wanted.items() if stamps}
            head = state.next_head()
            if head is None:
                return
            line, _, name = head
            state.grant(name, line, claimed=name == self.name)
            if name == self.name:
                wanted[line].pop(0)
            else:
                del state.members[name].wants[line]

    def adopt(self, state: SharedState) -> None:
        """Take the store's newest state; slots that it holds for this process are used."""
        self.state = state
        mine = self._leases()
        self._ended = {number: slot for number, slot in self._ended.items() if number in mine}
        self._ended_at = {number: at for number, at in self._ended_at.items() if number in mine}
        for number, lease in mine.items():
            if number not in self._held and number not in self._ended:
                self._held[number] = lease.slot()
                self._pass_on(number, lease.line)

    def _leases(self) -> dict[int, Lease]:
        """Return the leases of this process, as far as the store is known."""
        return {n: each for n, each in self.state.leases.items() if each.member == self.name}

    # ----------------------------------------------------------------------- without the store

    def go_alone(self) -> None:
        """Go on with this process's part of the last rate."""
        names = sorted({*self.state.members, self.name})
        self.alone = AdaptiveController(max(1, self.max_in_flight // len(names)))
        self.alone.restore(self.state.controller.dump())
        self.alone.keep_part(self._clock(), len(names), names.index(self.name))
        self.alone.in_flight = len(self._held)

    def grant_alone(self) -> float:
        """Give slots to whoever may go now; return in how many seconds the next may.

        That is `inf` if nobody waits, or an answer has to come first.
        """
        while self.alone is not None and self._queue:
            now = self._clock()
            wait = self.alone.wait(now)
            if wait > 0:
                return wait
            number = next(self._numbers)
            self._held[number] = self.alone.grant(now)
            self._pass_on(number)
        return math.inf

    def come_back(self) -> None:
        """Keep the shared pace again."""
        self.alone = None
