"""How fast a pace gets a job through an unknown rate limit, and what is refused on the way.

Virtual time: the shipped controller and its rivals meet the same simulated servers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import grids, picture
from benchmarks.grids import WORKERS, Judgement, judge
from benchmarks.rivals import Botocore, Unpaced, botocore_backoff, full_jitter
from benchmarks.simulation import Job, Limit, Pacer, at_once
from blockusers.pace.controller import AdaptiveController

PICTURE: Final = Path(__file__).parent / "pace.svg"


def ours() -> AdaptiveController:
    """Return the controller of a fresh `AdaptivePace`."""
    return AdaptiveController(WORKERS)


class Rival(NamedTuple):
    """A way to meet a rate limit."""

    name: str
    pacer: Callable[[], Pacer]
    workers: int = WORKERS
    backoff: Callable[[int, random.Random], float] = at_once


RIVALS: Final = (
    Rival("AdaptivePace", ours),
    Rival("one by one, full jitter", Unpaced, 1, full_jitter),
    Rival("4 workers, full jitter", Unpaced, 4, full_jitter),
    Rival("botocore's adaptive mode", Botocore, backoff=botocore_backoff),
)


class Case(NamedTuple):
    """A column of the table."""

    title: str
    grid: Sequence[Limit]
    requests: int
    seeds: int


CASES: Final = (
    Case("64 requests, first grid", grids.FIRST, 64, 9),
    Case("64 requests, second grid", grids.SECOND, 64, 9),
    Case("1,000 requests, first grid", grids.FIRST, 1000, 5),
    Case("1,000 requests, second grid", grids.SECOND, 1000, 5),
    Case("1,000, refusals cost, first grid", grids.FIRST_PENALTY, 1000, 3),
    Case("1,000, refusals cost, second grid", grids.SECOND_PENALTY, 1000, 3),
    Case("1,000, the limit changes", grids.STEPS, 1000, 3),
)


def main() -> None:
    """Print the table, and save the picture."""
    print("time over the bound (worst limit of the grid), and share of requests refused\n")
    print("| | " + " | ".join(rival.name for rival in RIVALS) + " |")
    print("|---" * (len(RIVALS) + 1) + "|")
    for case in CASES:
        cells = (str(_judge(rival, case)) for rival in RIVALS)
        print(f"| {case.title} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{_outage()}")
    picture.draw(PICTURE)
    print(f"picture: {PICTURE.name}")


def _judge(rival: Rival, case: Case) -> Judgement:
    return judge(
        case.grid,
        rival.pacer,
        requests=case.requests,
        seeds=case.seeds,
        workers=rival.workers,
        backoff=rival.backoff,
    )


def _outage() -> str:
    """Run a job through an hour in which everything is refused."""
    begins, lasts = 60.0, 3600.0
    limit = Limit(2.0, 10, steps=((begins, 0.0), (begins + lasts, 2.0)))
    wasted = 0

    def watch(now: float, admitted: bool) -> None:  # noqa: FBT001
        nonlocal wasted
        wasted += not admitted and begins <= now <= begins + lasts

    Job(limit, ours(), users=500_000, workers=WORKERS, seed=1, watch=watch).run()
    return f"requests wasted in an hour's outage: {wasted}"
