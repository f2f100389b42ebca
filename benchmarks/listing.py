"""What listing costs, in CPU seconds of its own process: 64,000 users, against a raw loop."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from benchmarks.measuring import NUMBERS, USERS, RawLoop, Work, least_cpu, print_ratios
from benchmarks.served import served
from blockusers import Account, Client
from blockusers.sandbox import Credentials

PAGES: Final = (1000, 100)
ROUNDS: Final = 3


def main() -> None:
    """Print a table for each page size."""
    with served(window=None, magic=False, largest_page=1000) as credentials:
        asyncio.run(_compare(credentials))


async def _compare(credentials: Credentials) -> None:
    async with aiohttp.ClientSession() as session, Client(Account(**credentials)) as client:
        (await client.block(NUMBERS)).raise_for_failures()
        raw = RawLoop(session, credentials)
        for size in PAGES:
            contestants: dict[str, Work] = {
                "raw loop": _raw(raw, size),
                "client.blocked()": _ours(client, size),
            }
            best = await least_cpu(contestants, ROUNDS)
            print(f"\n{USERS:,} users listed in pages of {size:,}, best of {ROUNDS}\n")
            print_ratios(best, USERS)


def _raw(raw: RawLoop, size: int) -> Work:
    async def run() -> None:
        assert len(await raw.pages(size)) == USERS

    return run


def _ours(client: Client, size: int) -> Work:
    async def run() -> None:
        assert len([user async for user in client.blocked(page_size=size)]) == USERS

    return run
