"""What the library costs, in CPU seconds of its own process.

64,000 numbers are blocked and unblocked on loopback: by the client, by the raw loop, and by other
clients of the endpoint, chunk by chunk.
"""

from __future__ import annotations

import asyncio

import aiohttp

from benchmarks.measuring import CHUNK, NUMBERS, USERS, RawLoop, Work, least_cpu, print_ratios
from benchmarks.peers import installed
from benchmarks.served import served
from blockusers import Account, Client
from blockusers.sandbox import Credentials

ROUNDS = 7


def main() -> None:
    """Measure all in turn, and print the best of each."""
    with served(window=None, magic=False) as credentials:
        asyncio.run(_compare(credentials))


async def _compare(credentials: Credentials) -> None:
    async with (
        aiohttp.ClientSession() as session,
        Client(Account(**credentials)) as client,
        installed(credentials) as peers,
    ):

        async def ours() -> None:
            for update in (client.block, client.unblock):
                (await update(NUMBERS)).raise_for_failures()

        async def looked_at() -> None:
            for update in (client.block, client.unblock):
                assert all(outcome.ok for outcome in await update(NUMBERS))

        contestants: dict[str, Work] = {
            "raw loop": RawLoop(session, credentials).update,
            "blockusers": ours,
            "blockusers, every outcome looked at": looked_at,
            **peers,
        }
        best = await least_cpu(contestants, ROUNDS)
    print(f"{USERS:,} numbers blocked and unblocked, {CHUNK:,} a request, best of {ROUNDS}\n")
    print_ratios(best, 2 * USERS)
