"""The longest time for which the event loop is held, while 64,000 users are blocked and listed.

Every callback of the loop is timed, by the clock and by the thread's own CPU time: on a shared
machine the first also counts the turns of other programs.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from benchmarks.measuring import NUMBERS, USERS
from benchmarks.served import served
from blockusers import Account, Client
from blockusers.sandbox import Credentials

ROUNDS: Final = 5


def main() -> None:
    """Print the longest stall of each job; the least of several rounds."""
    with served(window=None, magic=False, largest_page=1000) as credentials:
        asyncio.run(_measure(credentials))


async def _measure(credentials: Credentials) -> None:
    print(f"longest time that one callback held the loop, least of {ROUNDS} rounds\n")
    print(f"| {USERS:,} users | cyclic collector | ms | ms of CPU |")
    print("|---|---|---|---|")
    async with Client(Account(**credentials)) as client:

        async def block() -> None:
            (await client.block(NUMBERS)).raise_for_failures()

        async def listing() -> None:
            assert len([user async for user in client.blocked(page_size=1000)]) == USERS

        async def unblock() -> None:
            await client.unblock(NUMBERS)

        jobs = {"blocked": block, "listed": listing, "unblocked": unblock}
        for collecting in (False, True):
            longest: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
            for _ in range(ROUNDS):
                for name, job in jobs.items():
                    with _collector(on=collecting), _timed() as stall:
                        await job()
                    longest[name].append((stall["ms"], stall["cpu"]))
            for name, found in longest.items():
                clock, cpu = min(each[0] for each in found), min(each[1] for each in found)
                print(f"| {name} | {'on' if collecting else 'off'} | {clock:.1f} | {cpu:.1f} |")


@contextmanager
def _collector(*, on: bool) -> Iterator[None]:
    gc.collect()
    if not on:
        gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _timed() -> Iterator[dict[str, float]]:
    """Time every callback of the loop; the longest is known at the end."""
    longest = {"ms": 0.0, "cpu": 0.0}
    run = asyncio.Handle._run  # noqa: SLF001

    def timed(handle: asyncio.Handle) -> None:
        clock, cpu = time.perf_counter(), time.thread_time()
        run(handle)
        longest["ms"] = max(longest["ms"], (time.perf_counter() - clock) * 1e3)
        longest["cpu"] = max(longest["cpu"], (time.thread_time() - cpu) * 1e3)

    with patch.object(asyncio.Handle, "_run", timed):
        yield longest
