"""The adaptive pace on a real socket, against the sandbox's own token bucket.

Shows that the simulation tells the truth: the same limits, run both ways, side by side.  Latency
on loopback is next to nothing, so the simulated servers are as near.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Final

from benchmarks.served import served
from benchmarks.simulation import Job, Limit
from blockusers import Account, Client
from blockusers.pace.controller import AdaptiveController

NEAR: Final = (0.001, 0.004)
CASES: Final = ((Limit(20.0, 10, latency=NEAR), 300), (Limit(40.0, 40, latency=NEAR), 600))
CHUNK: Final = 10
"""Users in a chunk: the limit counts requests, and small ones keep the sandbox out of the way."""


def main() -> None:
    """Run jobs against unknown limits; print the time over the bound, and what was refused."""
    print("| limit | requests | on a socket | simulated |")
    print("|---|---|---|---|")
    for limit, requests in CASES:
        bound = limit.bound(requests, 16)
        seconds, refused = asyncio.run(_live(limit, requests))
        simulated = [
            Job(limit, AdaptiveController(16), users=1000 * requests, workers=16, seed=seed).run()
            for seed in range(9)
        ]
        makespan = statistics.median(result.seconds for result in simulated) / bound
        share = statistics.median(result.share_refused for result in simulated)
        print(
            f"| {limit.rate:g}/s, burst {limit.burst} | {requests}"
            f" | {seconds / bound:.2f}x, {refused:.1%} | {makespan:.2f}x, {share:.1%} |",
            flush=True,
        )


async def _live(limit: Limit, requests: int) -> tuple[float, float]:
    """Block a list in *requests* chunks; return the seconds and the share refused."""
    numbers = [f"+4915{n:09d}" for n in range(requests * CHUNK)]
    rules = {"window": None, "magic": False, "rate": limit.rate, "burst": limit.burst}
    with served(**rules) as credentials:
        async with Client(Account(**credentials), chunk_size=CHUNK) as client:
            started = time.monotonic()
            report = await client.block(numbers)
            seconds = time.monotonic() - started
    report.raise_for_failures()
    return seconds, report.rate_limited / report.requests
