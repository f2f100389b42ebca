"""How long single calls wait, and what they cost in requests, in virtual time.

Two minutes of calls come at random, at so many a second, and requests leave at so many a second.
`block_one` is the shipped code, on an event loop whose clock jumps from one timer to the next;
beside it stand a request for each call, and a batch that is closed 50 ms after its first call and
then queued.  No request holds more than 1,000 calls.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import statistics
from collections.abc import Iterator
from typing import Any, Final

from blockusers import FixedPace, Operation, RetryPolicy, Status
from blockusers.jobs.coalesce import Coalescer
from blockusers.jobs.sender import Sender
from blockusers.jobs.user_order import UserOrder
from blockusers.values.columns import Verdicts
from blockusers.values.users import Identifiers

SECONDS: Final = 120.0
CALLS_PER_SECOND: Final = (1, 20, 500)
LIMITS: Final = (0.5, 2, 10)
LINGER: Final = 0.05
MOST: Final = 1000
LATENCY: Final = (0.05, 0.4)


def main() -> None:
    """Print a row for each load and limit: the median wait, the 95th percentile, the requests."""
    print("| calls/s | requests/s | one by one | 50 ms linger | `block_one` |")
    print("|---|---|---|---|---|")
    for calls in CALLS_PER_SECOND:
        for limit in LIMITS:
            arrivals = list(_arrivals(random.Random(7), calls))
            cells = (_queued(arrivals, limit, None), _queued(arrivals, limit, LINGER))
            row = " | ".join(map(_words, (*cells, _shipped(arrivals, limit))))
            print(f"| {calls} | {limit:g} | {row} |", flush=True)


def _words(cell: tuple[list[float], int]) -> str:
    waits, requests = cell
    *_, ninety_fifth = statistics.quantiles(waits, n=20)
    return f"{statistics.median(waits):,.1f} s, {ninety_fifth:,.1f} s, {requests:,}"


def _arrivals(draw: random.Random, calls: float) -> Iterator[float]:
    now = draw.expovariate(calls)
    while now < SECONDS:
        yield now
        now += draw.expovariate(calls)


def _queued(arrivals: list[float], limit: float, linger: float | None) -> tuple[list[float], int]:
    """Return the waits and the requests where requests are closed first, and then queued."""
    draw = random.Random(8)
    waits: list[float] = []
    requests, free, first = 0, 0.0, 0
    while first < len(arrivals):
        closes, end = arrivals[first] + (linger or 0.0), first + 1
        while linger and end < len(arrivals) and arrivals[end] <= closes and end - first < MOST:
            end += 1
        leaves = max(closes, free)
        free = leaves + 1 / limit
        answered = leaves + draw.uniform(*LATENCY)
        waits += [answered - arrival for arrival in arrivals[first:end]]
        requests, first = requests + 1, end
    return waits, requests


def _shipped(arrivals: list[float], limit: float) -> tuple[list[float], int]:
    """Return the waits and the requests of the library's own code."""
    loop = _JumpingLoop()
    try:
        return loop.run_until_complete(_call(loop, arrivals, limit))
    finally:
        loop.close()


async def _call(loop: _JumpingLoop, arrivals: list[float], limit: float) -> tuple[list[float], int]:
    draw = random.Random(8)
    requests = 0

    async def transact(_: Operation, users: Identifiers) -> Verdicts:
        nonlocal requests
        requests += 1
        await asyncio.sleep(draw.uniform(*LATENCY))
        return Verdicts([Status.DONE] * len(users), list(users.keys))

    sender = Sender(
        transact,
        retry=RetryPolicy(clock=loop.time),
        pace=FixedPace(100, limit, clock=loop.time),
        order=UserOrder(clock=loop.time),
    )
    single = Coalescer(sender, max_queued=10**6)
    started = loop.time()

    async def call(number: int, arrival: float) -> float:
        await asyncio.sleep(started + arrival - loop.time())
        await single.call(Operation.BLOCK, f"+4915{number:09d}")
        return loop.time() - started - arrival

    waits = await asyncio.gather(*(call(n, arrival) for n, arrival in enumerate(arrivals)))
    return waits, requests


class _JumpingSelector(selectors.SelectSelector):
    """Lets the time pass in which a selector would wait."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Look for input at once, and let *timeout* pass."""
        self.passed += timeout or 0.0
        return super().select(0)


class _JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps from one timer to the next."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time."""
        return self._jumping.passed
