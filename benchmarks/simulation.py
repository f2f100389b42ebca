"""A server with a rate limit and a job of many requests, both in virtual time.

The server is a token bucket, or counts requests in fixed windows; a request takes half its round
trip to get there.  The job has a number of requests to get through, each as often as it takes.
Whatever has `wait`, `start` and `end` can pace it, as `blockusers.pace.controller` does.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from blockusers.pace.protocol import Slot


class Pacer(Protocol):
    """What paces a job."""

    def wait(self, now: float) -> float:
        """Return in how many seconds the next request may leave; `inf`: not before an answer."""
        ...

    def grant(self, now: float) -> Slot:
        """Note that a request leaves."""
        ...

    def end(self, now: float, slot: Slot) -> None:
        """Note what became of it."""
        ...


@attrs.frozen
class Limit:
    """A rate limit, and how far away the server is."""

    rate: float
    """Requests per second."""
    burst: int = 1
    """Requests that a full bucket admits at once."""
    window: float = 0.0
    """Seconds of a fixed window, which then replaces the bucket; the first begins with the job."""
    penalty: float = 0.0
    """Tokens that a refused request costs."""
    latency: tuple[float, float] = (0.05, 0.4)
    """Shortest and longest round trip in seconds."""
    steps: tuple[tuple[float, float], ...] = ()
    """Later rates, each with the second from which it holds."""
    max_users: int = 1000
    """A request that names more is refused."""

    @property
    def per_window(self) -> int:
        """Requests in each window."""
        return max(1, int(self.rate * self.window))

    def bound(self, requests: int, workers: int) -> float:
        """Return the seconds that nobody can beat who has at most *workers* in flight."""
        round_trip = sum(self.latency) / 2
        return max(self._admitted_by(requests) + round_trip, requests / workers * round_trip)

    def _admitted_by(self, requests: int) -> float:
        if self.window:
            return (math.ceil(requests / self.per_window) - 1) * self.window
        missing, now, rate = max(0.0, requests - self.burst), 0.0, self.rate
        for then, next_rate in self.steps:
            if missing <= rate * (then - now):
                break
            missing -= rate * (then - now)
            now, rate = then, next_rate
        return now + missing / rate if missing else 0.0


class Server:
    """Admits requests as its limit says."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._rate = limit.rate
        self._steps = list(limit.steps)
        self._tokens = float(limit.burst)
        self._filled_at = 0.0
        self._window, self._in_window = 0, 0

    def admits(self, now: float, users: int) -> bool:
        """Say whether a request that arrives now is admitted."""
        if users > self._limit.max_users:
            return False
        return self._fits(now) if self._limit.window else self._take(now)

    def _fits(self, now: float) -> bool:
        window = int(now // self._limit.window)
        if window != self._window:
            self._window, self._in_window = window, 0
        self._in_window += 1
        return self._in_window <= self._limit.per_window

    def _take(self, now: float) -> bool:
        while self._steps and self._steps[0][0] <= now:
            then, rate = self._steps.pop(0)
            self._fill(then)
            self._rate = rate
        self._fill(now)
        if self._tokens >= 1 - 1e-9:
            self._tokens -= 1
            return True
        if self._limit.penalty:
            self._tokens = max(self._tokens - self._limit.penalty, -4.0 * self._limit.burst)
        return False

    def _fill(self, now: float) -> None:
        added = (now - self._filled_at) * self._rate
        self._tokens = min(self._tokens + added, float(self._limit.burst))
        self._filled_at = now


@attrs.frozen
class Result:
    """How a job went."""

    seconds: float
    sent: int
    refused: int

    @property
    def share_refused(self) -> float:
        """Refused requests, as a share of all."""
        return self.refused / self.sent


def at_once(_attempt: int, _random: random.Random) -> float:
    """Send a refused request again as soon as the pacer lets it."""
    return 0.0


def nobody(_now: float, _admitted: bool) -> None:  # noqa: FBT001
    """Watch nothing."""


class Job:
    """One job against one server, event by event."""

    def __init__(
        self,
        limit: Limit,
        pacer: Pacer,
        *,
        users: int,
        workers: int,
        seed: int,
        backoff: Callable[[int, random.Random], float] = at_once,
        watch: Callable[[float, bool], object] = nobody,
    ) -> None:
        """Prepare it.

        Args:
            limit: The server's limit.
            pacer: Decides when a request leaves.
            users: How many users to get through.
            workers: Most requests at once; one that waits to be sent again counts, too.
            seed: Of the latencies and the backoff.
            backoff: Given the attempt that was refused, returns for how many seconds its worker
                sleeps before the next.
            watch: Called with the time when a request arrives, and whether it was admitted.
        """
        self._latency, self._pacer = limit.latency, pacer
        self._backoff, self._watch = backoff, watch
        self._server = Server(limit)
        self._random = random.Random(seed)
        self._unsent, self._open = users, users
        self._again: list[tuple[int, int]] = []
        self._free = workers
        self._sent = self._refused = 0
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self._wakes_at = math.inf

    def run(self, until: float = math.inf) -> Result:
        """Go on until the job is done, or time is up."""
        self._send_what_may_leave()
        while self._open and self._now <= until:
            self._now, _, happens, what = heapq.heappop(self._events)
            happens(*what)
        return Result(self._now, self._sent, self._refused)

    def _after(self, seconds: float, happens: Callable[..., None], *what: Any) -> None:
        heapq.heappush(self._events, (self._now + seconds, next(self._order), happens, what))

    def _send_what_may_leave(self) -> None:
        while self._free and (self._unsent or self._again):
            wait = self._pacer.wait(self._now)
            if wait > 1e-9:
                if self._now + wait < self._wakes_at - 1e-9:
                    self._wakes_at = self._now + wait
                    self._after(wait, self._wake)
                return
            self._send()

    def _wake(self) -> None:
        if self._now >= self._wakes_at - 1e-9:
            self._wakes_at = math.inf
            self._send_what_may_leave()

    def _send(self) -> None:
        slot = self._pacer.grant(self._now)
        if self._again:
            slot.users, attempt = self._again.pop()
        else:
            slot.users, attempt = min(slot.max_users, self._unsent), 1
            self._unsent -= slot.users
        self._free -= 1
        self._sent += 1
        half = self._random.uniform(*self._latency) / 2
        self._after(half, self._arrive, slot, attempt, half)

    def _arrive(self, slot: Slot, attempt: int, half: float) -> None:
        admitted = self._server.admits(self._now, slot.users)
        self._watch(self._now, admitted)
        self._after(half, self._answer, slot, attempt, admitted)

    def _answer(self, slot: Slot, attempt: int, admitted: bool) -> None:  # noqa: FBT001
        if admitted:
            slot.admitted()
            self._open -= slot.users
        else:
            slot.rate_limited(None)
            self._refused += 1
        self._pacer.end(self._now, slot)
        if not admitted and (pause := self._backoff(attempt, self._random)):
            self._after(pause, self._send_again, slot.users, attempt + 1)
            return
        self._unsent += 0 if admitted else slot.users
        self._free += 1
        self._send_what_may_leave()

    def _send_again(self, users: int, attempt: int) -> None:
        self._again.append((users, attempt))
        self._free += 1
        self._send_what_may_leave()
