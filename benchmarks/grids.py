"""The limits that paces are judged by.

The *first* grid is the one on which the figures of `AdaptiveController` were found.  The *second*
was drawn at random, and nothing was ever tuned on it.  A job is 64 requests (a whole blocklist) or
1,000, and what counts is how long it takes, over what nobody can beat, and how many of its requests
are refused.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from benchmarks.simulation import Job, Limit, Pacer, at_once

WORKERS: Final = 16
_LONGEST: Final = 20.0
"""A job is stopped when it has taken so many times the bound."""

FIRST: Final = [
    Limit(rate, burst)
    for rate in (0.5, 2.0, 10.0, 50.0)
    for burst in (1, 10, 50)
    if burst >= rate / 2
]
FIRST_PENALTY: Final = [
    Limit(rate, burst, penalty=1.0) for rate in (0.5, 2.0, 10.0) for burst in (10, 50)
]
STEPS: Final = [
    Limit(rate, burst, steps=((250 / rate, rate / 4), (750 / rate, rate * 2)))
    for rate in (2.0, 10.0, 50.0)
    for burst in (10, 50)
] + [
    Limit(rate / 4, burst, steps=((250 / rate, rate),))
    for rate in (2.0, 10.0, 50.0)
    for burst in (10, 50)
]


def _second() -> tuple[list[Limit], list[Limit], list[Limit]]:
    """Draw buckets, buckets where a refused request costs a token, and fixed windows."""
    draw = random.Random(20)

    def between(low: float, high: float) -> float:
        return math.exp(draw.uniform(math.log(low), math.log(high)))

    def latency() -> tuple[float, float]:
        shortest = draw.uniform(0.02, 0.1)
        return shortest, shortest + draw.uniform(0.05, 0.5)

    def bucket(highest: float, least: int, penalty: float = 0.0) -> Limit:
        rate = between(0.5, highest)
        burst = round(between(max(least, rate / 2), 50))
        return Limit(rate, burst, penalty=penalty, latency=latency())

    def window() -> Limit:
        seconds = draw.choice((1.0, 5.0, 10.0, 30.0, 60.0))
        return Limit(between(0.5, 50), window=seconds, latency=latency())

    return (
        [bucket(50, 1) for _ in range(24)],
        [bucket(10, 10, penalty=1.0) for _ in range(8)],
        [window() for _ in range(8)],
    )


SECOND_BUCKETS, SECOND_PENALTY, SECOND_WINDOWS = _second()
SECOND: Final = SECOND_BUCKETS + SECOND_WINDOWS


@attrs.frozen
class Judgement:
    """How a pace does on a grid."""

    makespan: float
    """Geometric mean, over the limits, of the median time over the bound."""
    worst: float
    """The largest of these medians."""
    refused: float
    """Mean, over the limits, of the median share of requests that were refused."""

    def __str__(self) -> str:
        return f"{self.makespan:.2f}x (worst {self.worst:.2f}x), {self.refused:.1%}"


def judge(
    grid: Sequence[Limit],
    pacer: Callable[[], Pacer],
    *,
    requests: int,
    seeds: int,
    workers: int = WORKERS,
    backoff: Callable[[int, random.Random], float] = at_once,
) -> Judgement:
    """Run a job of so many requests against each limit of *grid*, *seeds* times."""
    makespans, shares = [], []
    for limit in grid:
        bound = limit.bound(requests, WORKERS)
        results = [
            Job(
                limit, pacer(), users=1000 * requests, workers=workers, seed=seed, backoff=backoff
            ).run(until=_LONGEST * bound)
            for seed in range(seeds)
        ]
        makespans.append(statistics.median(result.seconds for result in results) / bound)
        shares.append(statistics.median(result.share_refused for result in results))
    return Judgement(statistics.geometric_mean(makespans), max(makespans), statistics.mean(shares))
