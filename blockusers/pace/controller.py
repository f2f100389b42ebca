"""Decides when the next request may leave, and how many users it may name; never waits itself.

A controller is a pure state machine: the time is passed in.  `paces`, which does the waiting, asks
it `wait(now)`, takes a slot with `grant(now)` when a request leaves, and gives it back with
`end(now, slot)` when the answer is in.  `Controller` knows its limit.  `AdaptiveController` learns
it, in three modes:

start
    Requests are not spaced.  A window limits how many are in flight; it grows with each request
    that passes, until the server refuses one for its rate limit.
hold
    The rate limit is exhausted, for an unknown time.  After all answers are in, single requests
    (*probes*) try whether it still is, after longer and longer waits.  Once a probe passes, the
    mode is *start* again, with a window of one.
steady
    Requests leave at a rate.  How many passed between two refusals tells what the limit gave in
    that time, so each refusal measures the limit, and the rate is set just below it.  Each
    request that passes raises the rate a little.  Several refusals in a row mean that the
    measure is wrong: *hold*.

130429 also means "too many users in one request".  Only a request that is larger than all that
ever passed can have been refused for its size; `Sizes` finds out.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal

from blockusers.pace.protocol import LARGEST_REQUEST, Slot
from blockusers.pace.saved import COUNT, FLAG, TIME, Number, Saved
from blockusers.pace.sizes import Sizes

Mode = Literal["fixed", "start", "hold", "steady"]


class Controller:
    """So many requests at once, so many per second; learns nothing, but waits where it is asked."""

    mode: Mode = "fixed"

    def __init__(self, max_in_flight: int, rate: float | None = None) -> None:
        self.max_in_flight = max_in_flight
        self.rate = rate
        """Requests per second; None where they are not spaced."""
        self.max_users = LARGEST_REQUEST
        """Most users that the next request may name."""
        self.in_flight = 0
        self.admitted = 0
        self.rate_limited = 0
        self.asked_to_wait_until = -math.inf
        self._next_start = -math.inf
        self._last_event = -math.inf
        self._held = 0.0
        self._held_since = math.inf

    def wait(self, now: float) -> float:
        """Return in how many seconds the next request may leave: 0 is now."""
        return max(0.0, self._opens_at() - now)

    def _opens_at(self) -> float:
        """Return when the next request may leave: `inf` where an answer has to come first."""
        if self.in_flight >= self.max_in_flight:
            return math.inf
        return max(self.asked_to_wait_until, self._next_start)

    def grant(self, now: float) -> Slot:
        """Note that a request leaves, and return its slot."""
        idle = max(0.0, now - max(self._last_event, self._opens_at()))
        self._last_event = now
        self.in_flight += 1
        if self.rate is not None:
            self._next_start = max(now, self._next_start) + 1 / self.rate
        return self._slot(now, idle)

    def _slot(self, now: float, idle: float) -> Slot:  # noqa: ARG002
        """Return the slot of a request that leaves *idle* seconds after it might have."""
        return Slot(self.max_users, started=now)

    def end(self, now: float, slot: Slot) -> None:
        """Learn what became of the request that had *slot*."""
        self._last_event = now
        self.in_flight -= 1
        if slot.retry_after:
            self.asked_to_wait_until = max(self.asked_to_wait_until, now + slot.retry_after)
        self.admitted += slot.was_admitted is True
        self.rate_limited += slot.was_admitted is False

    def retract(self, slot: Slot) -> None:  # noqa: ARG002
        """Take a slot back whose request never left."""
        self.in_flight -= 1
        if self.rate is not None:
            self._next_start -= 1 / self.rate

    def all_wait_until(self) -> float:
        """Return until when all wait, because the server asked for it or its limit is exhausted."""
        return max(self.asked_to_wait_until, self._next_start if self.mode == "hold" else -math.inf)

    def held(self, now: float) -> float:
        """Return for how many seconds it has been in *hold*, all in all.

        Waits that the server asked for are not counted.
        """
        return self._held + max(0.0, now - self._held_since)


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
"""After so many passes in a row the gain begins to grow; it doubles with every half as many."""
_LARGEST_GAIN: Final = 0.03
_TOO_MANY: Final = 4
"""So many refusals in a row end the steady mode."""
_MEMORY: Final = 30
"""So many requests make up a measure; older ones fade."""
_CALM_FOR_SIZE: Final = 3
"""So many requests have to pass in a row before one tries a larger size."""
_SLOWEST: Final = 0.01
"""Requests per second; in steady mode it is never slower."""


class _Measure(Saved):
    """How many requests passed since the limit was exhausted."""

    _numbers = {"since": TIME, "passed": Number(0)}  # noqa: RUF012

    def __init__(self, since: float = 0.0) -> None:
        self.since = since
        self.passed = 0.0

    def add(self, slot: Slot) -> None:
        """Count a request that passed, unless it left before the limit was exhausted."""
        self.passed += slot.started >= self.since

    def rate(self, now: float) -> float:
        """Return the limit in requests per second; half a request more was about to pass."""
        return (self.passed + 0.5) / max(now - self.since, 0.001)

    def fade(self, now: float) -> None:
        """Give what is long ago less weight."""
        kept = min(1.0, _MEMORY / max(1.0, self.passed))
        self.since = now - (now - self.since) * kept
        self.passed *= kept


class AdaptiveController(Controller, Saved):
    """Learns the rate limit, and the largest request that the server takes."""

    _numbers = {  # noqa: RUF012
        "rate": Number(_SLOWEST, optional=True),
        "max_users": Number(1, LARGEST_REQUEST, whole=True),
        "admitted": COUNT,
        "rate_limited": COUNT,
        "asked_to_wait_until": TIME,
        "_next_start": TIME,
        "_last_event": TIME,
        "_held": Number(0),
        "_held_since": TIME,
        "_window": Number(1),
        "_round_trip": Number(0),
        "_calm": COUNT,
        "_refused_in_a_row": COUNT,
        "_last_reaction": TIME,
        "_probes_refused": COUNT,
        "_shrunk": FLAG,
    }

    def __init__(self, max_in_flight: int) -> None:
        super().__init__(max_in_flight)
        self.mode = "start"
        self._sizes = Sizes()
        self._window = _FIRST_WINDOW
        self._round_trip = 0.0
        self._measure: _Measure | None = None
        self._calm = 0
        self._refused_in_a_row = 0
        self._last_reaction = -math.inf
        self._probes_refused = 0
        self._shrunk = False  # whether this hold found a smaller size

    def dump(self) -> dict[str, Any]:
        """Return what it knows as plain values; what is in flight is not part of it."""
        measure = self._measure.dump() if self._measure is not None else None
        parts = {"mode": self.mode, "sizes": self._sizes.dump(), "measure": measure}
        return super().dump() | parts

    def restore(self, values: Any) -> None:
        """Know what `dump` returned.

        Raises:
            ValueError: Values are missing, or are none that it can have.
        """
        super().restore(values)
        if values.get("mode") not in ("start", "hold", "steady"):
            raise ValueError("mode: unknown")
        self.mode = values["mode"]
        if (self.mode == "steady") != (self.rate is not None):
            raise ValueError("rate: does not fit the mode")
        self._sizes.restore(values.get("sizes"))
        self._measure = None
        if values.get("measure") is not None:
            self._measure = _Measure()
            self._measure.restore(values["measure"])

    def leave_out(self, seconds: float) -> None:
        """Take it that nothing is known of the last so many seconds."""
        if self._measure is not None:
            self._measure.since += seconds

    def keep_part(self, now: float, processes: int, index: int) -> None:
        """Go on with an equal part of the rate, as each of several processes does.

        The *index* says when its turn is, so that they do not all start at once.
        """
        self._window = max(1.0, self._window / processes)
        if self._measure is not None:
            self._measure.passed /= processes
        if self.rate is not None:
            self._next_start = max(now, self._next_start) + index / self.rate
            self.rate = max(_SLOWEST, self.rate / processes)

    def retract(self, slot: Slot) -> None:
        """Take a slot back whose request never left."""
        super().retract(slot)
        self._sizes.learn(slot, is_probe=False)

    def _opens_at(self) -> float:
        if self.mode == "start" and self.in_flight >= int(self._window):
            return math.inf
        if self.mode == "hold" and self.in_flight:
            return math.inf
        return super()._opens_at()

    def _slot(self, now: float, idle: float) -> Slot:
        if self._measure is not None:
            self._measure.since += idle
        prompt = self.rate is None or idle * self.rate < 1
        trial = self._sizes.begin_trial() if self._calm >= _CALM_FOR_SIZE else None
        return Slot(trial or self.max_users, started=now, prompt=prompt)

    def end(self, now: float, slot: Slot) -> None:
        """Learn what became of the request that had *slot*."""
        super().end(now, slot)
        if slot.was_admitted is not None:
            round_trip = max(0.0, now - slot.started)
            self._round_trip += (round_trip - self._round_trip) / (8 if self._round_trip else 1)
        if slot.was_admitted:
            self._calm += 1
            self._refused_in_a_row = 0
            if self._measure is not None:
                self._measure.add(slot)
        elif slot.was_admitted is False:
            self._calm = 0
        # A refusal says nothing new if its request left before the last reaction to a refusal.
        is_new = slot.started > self._last_reaction
        is_probe = self.mode == "hold" and is_new
        is_about_size = self._sizes.learn(slot, is_probe=is_probe)
        self.max_users = self._sizes.limit
        is_exhausted = slot.was_admitted is False and is_new and not is_about_size
        match self.mode:
            case "start":
                self._end_in_start(now, slot, is_exhausted=is_exhausted)
            case "steady":
                self._end_in_steady(now, slot, is_exhausted=is_exhausted)
            case _:
                self._count_hold(now)
                if is_probe:
                    self._end_in_hold(now, slot, is_about_size=is_about_size)

    def _end_in_start(self, now: float, slot: Slot, *, is_exhausted: bool) -> None:
        """Widen the window, until a refusal."""
        if is_exhausted:
            self._space_or_hold(now)
        elif slot.was_admitted and self.in_flight + 1 >= int(self._window):
            fast = self._measure is None and self._window < _FAST_WINDOW
            self._window += 1 if fast else _WINDOW_GAIN / self._window

    def _end_in_steady(self, now: float, slot: Slot, *, is_exhausted: bool) -> None:
        """Raise the rate a little, until a refusal."""
        if is_exhausted:
            self._space_or_hold(now)
        elif slot.was_admitted and slot.prompt and self.rate is not None:
            doublings = max(0.0, 2 * self._calm / _CALM - 2)
            self.rate *= 1 + min(_GAIN * 2**doublings, _LARGEST_GAIN)

    def _end_in_hold(self, now: float, probe: Slot, *, is_about_size: bool) -> None:
        """Go back to *start* if the probe passed; else wait longer for the next one."""
        if probe.was_admitted:
            self.mode, self._window, self._held_since = "start", 1.0, math.inf
            if self._shrunk:  # it was the size, so nothing is known about the rate
                self._measure = None
            return
        self._last_reaction = now
        self._shrunk = (self._shrunk or is_about_size) and not self._sizes.it_was_the_rate
        self._probes_refused += probe.was_admitted is False and not is_about_size
        self._wait_for_probe(now)

    def _space_or_hold(self, now: float) -> None:
        """Set the rate just below the measured limit; without a measure, or a wrong one, hold."""
        self._refused_in_a_row += 1
        if self._measure is None or self._refused_in_a_row >= _TOO_MANY:
            self._hold(now)
            return
        if self.mode == "start":
            self.mode, self._last_reaction = "steady", now
        measured = max(_SLOWEST, _MARGIN * self._measure.rate(now))
        self.rate = min(measured, self.rate or measured)
        self._measure.fade(now)
        self._next_start = max(self._next_start, now + 1 / self.rate)

    def _hold(self, now: float) -> None:
        """Stop sending, and measure anew from here."""
        self.mode, self.rate = "hold", None
        self._last_reaction = now
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
