"""Decides when the next request may leave, and how many users it may name.

A controller is a pure state machine: the time is passed in, and nothing here waits.  The paces in
`paces` ask it `wait(now)`, tell it `start(now)` when a request leaves, and `end(now, slot)` when
the answer is in.  `FixedController` knows its limit.  `AdaptiveController` finds it out, in three
modes:

start
    Nothing is spaced.  A window of requests in flight grows with each that passes, until the
    server refuses one for its rate limit.
hold
    The server has refused, and nobody knows yet how long for.  When all answers are in, single
    requests try, after longer and longer waits.  Once one passes, it is *start* again, with a
    window of one.
steady
    Requests leave at a rate.  What passed from one refusal to a later one is what the limit gave
    in that time, so each refusal measures the limit, and the rate is set just below it.  Each
    request that passes raises it a little.  Refusals in a row mean that the measure is of no
    use any more: *hold*.

130429 also means "too many users in one request".  Only a request that is larger than all that
ever passed can have been refused for its size; `Sizes` finds out.
"""

from __future__ import annotations

import abc
import math
from typing import Final, Literal

from blockusers.pace.protocol import LARGEST_REQUEST, Slot
from blockusers.pace.sizes import Sizes

Mode = Literal["fixed", "start", "hold", "steady"]


class Controller(abc.ABC):
    """What every controller does: counts requests, and obeys the server where it asks to wait."""

    mode: Mode
    rate: float | None = None
    """Requests per second; None where they are not spaced."""
    max_users = LARGEST_REQUEST
    """Most users that the next request may name."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.admitted = 0
        self.rate_limited = 0
        self.asked_to_wait_until = -math.inf
        self._next_start = -math.inf
        self._last_event = -math.inf

    def opens_at(self) -> float:
        """Return when the next request may leave: `inf` where an answer has to come first."""
        if self.in_flight >= self.max_in_flight:
            return math.inf
        return max(self.asked_to_wait_until, self._opens_at())

    def wait(self, now: float) -> float:
        """Return in how many seconds the next request may leave: 0 is now."""
        return max(0.0, self.opens_at() - now)

    def start(self, now: float) -> Slot:
        """Note that a request leaves, and return its slot."""
        idle = max(0.0, now - max(self._last_event, self.opens_at()))
        self._last_event = now
        self.in_flight += 1
        return self._start(now, idle)

    def end(self, now: float, slot: Slot) -> None:
        """Learn what became of the request that had *slot*."""
        self._last_event = now
        self.in_flight -= 1
        if slot.retry_after:
            self.asked_to_wait_until = max(self.asked_to_wait_until, now + slot.retry_after)
        self.admitted += slot.was_admitted is True
        self.rate_limited += slot.was_admitted is False
        self._end(now, slot)

    def retract(self, slot: Slot) -> None:  # noqa: ARG002
        """Take a slot back whose request never left."""
        self.in_flight -= 1
        if self.rate is not None:
            self._next_start -= 1 / self.rate

    def holds_until(self) -> float:
        """Return until when all wait, because the server asked for it or its limit is exhausted."""
        return max(self.asked_to_wait_until, self._next_start if self.mode == "hold" else -math.inf)

    def held(self, now: float) -> float:  # noqa: ARG002
        """Return for how many seconds the rate limit has held everything up, all in all.

        Waits that the server asked for are not counted.
        """
        return 0.0

    @abc.abstractmethod
    def _opens_at(self) -> float:
        """Return when the next request may leave, by what this controller knows."""
        ...

    @abc.abstractmethod
    def _start(self, now: float, idle: float) -> Slot:
        """Return the slot of a request that leaves *idle* seconds after it might have."""
        ...

    @abc.abstractmethod
    def _end(self, now: float, slot: Slot) -> None:
        """Learn from an answer."""
        ...


class FixedController(Controller):
    """So many requests at once, so many per second; learns nothing."""

    def __init__(self, max_in_flight: int, per_second: float | None) -> None:
        super().__init__(max_in_flight)
        self.mode = "fixed"
        self.rate = per_second

    def _opens_at(self) -> float:
        return self._next_start

    def _start(self, now: float, idle: float) -> Slot:  # noqa: ARG002
        if self.rate is not None:
            self._next_start = now + 1 / self.rate
        return Slot(self.max_users, started=now)

    def _end(self, now: float, slot: Slot) -> None:
        pass


# The figures were found by simulating jobs of 64 and 1,000 requests against limits of many kinds:
# `python -m benchmarks rate`.
_FIRST_WINDOW: Final = 3.0
_FAST_WINDOW: Final = 8.0
"""Up to here the first window grows by one for each request that passes."""
_WINDOW_GAIN: Final = 0.5
"""From there, and after a hold, it grows by so much in a round trip."""

_FIRST_PROBE: Final = 3.0
"""Round trips from the refusal to the first probe; each further wait is twice as long."""
_SHORTEST_WAIT: Final = 0.1
_LONGEST_WAIT: Final = 60.0
"""Seconds between two probes at most, so that the end of an outage is not missed for long."""

_MARGIN: Final = 0.97
"""The rate after a refusal, as a share of the measured limit."""
_GAIN: Final = 0.006
"""By how much each request that passes raises the rate."""
_CALM: Final = 20
"""After so many without a refusal the gain doubles, and again after every half as many."""
_LARGEST_GAIN: Final = 0.03
_TOO_MANY: Final = 4
"""So many refusals in a row end the steady mode."""
_MEMORY: Final = 30
"""So many requests make up a measure; older ones fade."""
_CALM_FOR_SIZE: Final = 3
"""So many requests have to pass in a row before one tries a larger size."""
_SLOWEST: Final = 0.01
"""Requests per second; in steady mode it is never slower."""


class _Measure:
    """What the limit gave since it was exhausted."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.passed = 0.0

    def add(self, slot: Slot) -> None:
        """Count a request that passed, unless it left before the limit was exhausted."""
        self.passed += slot.started >= self.since

    def rate(self, now: float) -> float:
        """Return the limit in requests per second; half a request more was about to pass."""
        return (self.passed + 0.5) / max(now - self.since, 0.001)

    def fade(self, now: float) -> None:
        """Forget what is long ago."""
        kept = min(1.0, _MEMORY / max(1.0, self.passed))
        self.since = now - (now - self.since) * kept
        self.passed *= kept


class AdaptiveController(Controller):
    """Finds out the rate limit, and the largest request that the server takes."""

    def __init__(self, max_in_flight: int) -> None:
        super().__init__(max_in_flight)
        self.mode = "start"
        self._sizes = Sizes()
        self._window = _FIRST_WINDOW
        self._round_trip = 0.0
        self._measure: _Measure | None = None
        self._calm = 0
        self._refused_in_a_row = 0
        # Refusals of requests that started before this are no news.
        self._news_from = -math.inf
        self._probes_refused = 0
        self._shrunk = False
        self._held = 0.0
        self._held_since = math.inf

    @property
    def max_users(self) -> int:  # type: ignore[override]
        """Most users that the next request may name."""
        return self._sizes.limit

    def held(self, now: float) -> float:
        """Return for how many seconds it has been in *hold*, all in all."""
        return self._held + max(0.0, now - self._held_since)

    def retract(self, slot: Slot) -> None:
        """Take a slot back whose request never left."""
        super().retract(slot)
        self._sizes.learn(slot, lone=False)

    def _opens_at(self) -> float:
        match self.mode:
            case "start":
                return -math.inf if self.in_flight < int(self._window) else math.inf
            case "hold":
                return math.inf if self.in_flight else self._next_start
            case _:
                return self._next_start

    def _start(self, now: float, idle: float) -> Slot:
        if self._measure is not None:
            self._measure.since += idle
        prompt = True
        if self.rate is not None:
            prompt = idle * self.rate < 1
            self._next_start = max(now, self._next_start) + 1 / self.rate
        probe_size = self._sizes.larger() if self._calm >= _CALM_FOR_SIZE else None
        return Slot(probe_size or self._sizes.limit, started=now, prompt=prompt)

    def _end(self, now: float, slot: Slot) -> None:
        if slot.was_admitted is not None:
            round_trip = now - slot.started
            self._round_trip += (round_trip - self._round_trip) / (8 if self._round_trip else 1)
        if self.mode == "hold":
            self._count_hold(now)
        lone = self.mode == "hold" and slot.started > self._news_from
        limit = self.max_users
        about_size = self._sizes.learn(slot, lone=lone)
        if slot.was_admitted:
            self._passed(slot)
        elif slot.was_admitted is False:
            self._calm = 0
        if lone:
            self._probe_ended(now, slot, shrunk=self.max_users < limit)
        elif slot.was_admitted is False and not about_size and slot.started > self._news_from:
            self._refused(now)

    def _passed(self, slot: Slot) -> None:
        self._calm += 1
        self._refused_in_a_row = 0
        if self._measure is not None:
            self._measure.add(slot)
        if self.mode == "start" and self.in_flight + 1 >= int(self._window):
            fast = self._measure is None and self._window < _FAST_WINDOW
            self._window += 1 if fast else _WINDOW_GAIN / self._window
        elif self.rate is not None and slot.prompt:
            doublings = max(0.0, 2 * self._calm / _CALM - 2)
            self.rate *= 1 + min(_GAIN * 2**doublings, _LARGEST_GAIN)

    def _refused(self, now: float) -> None:
        """React to news that the limit is exhausted."""
        self._refused_in_a_row += 1
        if self._measure is None or self._refused_in_a_row >= _TOO_MANY:
            self._hold(now)
            return
        if self.mode == "start":
            self.mode, self._news_from = "steady", now
        measured = max(_SLOWEST, _MARGIN * self._measure.rate(now))
        self.rate = min(measured, self.rate or measured)
        self._measure.fade(now)
        self._next_start = max(self._next_start, now + 1 / self.rate)

    def _hold(self, now: float) -> None:
        self.mode, self.rate = "hold", None
        self._news_from = now
        self._held_since = max(now, self.asked_to_wait_until)
        self._measure = _Measure(now)
        self._probes_refused = 0
        self._shrunk = False
        self._wait_for_probe(now)

    def _wait_for_probe(self, now: float) -> None:
        wait = max(self._round_trip * _FIRST_PROBE, _SHORTEST_WAIT)
        self._next_start = now + min(wait * 2.0 ** min(self._probes_refused, 20), _LONGEST_WAIT)

    def _count_hold(self, now: float) -> None:
        """Note how long it has held so far; what the server asks to wait from here is no hold."""
        self._held += max(0.0, now - self._held_since)
        self._held_since = max(now, self.asked_to_wait_until)

    def _probe_ended(self, now: float, slot: Slot, *, shrunk: bool) -> None:
        if slot.was_admitted:
            self.mode, self._window, self._held_since = "start", 1.0, math.inf
            if self._shrunk:  # it was the size, so nothing is known about the rate
                self._measure = None
            return
        self._news_from = now
        self._shrunk = self._shrunk or shrunk
        self._probes_refused += slot.was_admitted is False and not shrunk
        self._wait_for_probe(now)
