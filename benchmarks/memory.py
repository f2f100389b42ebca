"""How much memory a job of 64,000 numbers takes at its peak, over what its input takes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

import aiohttp

from benchmarks.measuring import NUMBERS, USERS, RawLoop, Work
from benchmarks.served import served
from blockusers import Account, Client
from blockusers.sandbox import Credentials


def main() -> None:
    """Print the peaks."""
    with served(window=None, magic=False) as credentials:
        asyncio.run(_compare(credentials))


async def _compare(credentials: Credentials) -> None:
    async with aiohttp.ClientSession() as session, Client(Account(**credentials)) as client:

        async def unblock() -> None:
            await client.unblock(NUMBERS)

        async def ours() -> None:
            (await client.block(NUMBERS)).raise_for_failures()

        async def looked_at() -> None:
            assert all(outcome.ok for outcome in await client.block(NUMBERS))

        contestants: dict[str, Work] = {
            "raw loop, block and unblock": RawLoop(session, credentials).update,
            "blockusers": ours,
            "blockusers, every outcome looked at": looked_at,
        }
        print("| | peak MB | bytes per number |")
        print("|---|---|---|")
        for name, work in contestants.items():
            await work()  # what is loaded or cached once is not counted
            await unblock()
            peak = await _peak(work)
            await unblock()
            print(f"| {name} | {peak / 1e6:.1f} | {peak / USERS:.0f} |", flush=True)


async def _peak(work: Work) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
