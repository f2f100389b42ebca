"""What the library costs, in CPU seconds of its own process.

64,000 numbers are blocked and unblocked on loopback, once by the client and once by a hand-written
loop over the same chunks: aiohttp, orjson, and a dict for each number.  Both are taken in turn, so
that a noisy machine disturbs both, and the best of several rounds counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import orjson

from benchmarks.served import served
from blockusers import Account, Client
from blockusers.sandbox import Credentials

USERS = 64_000
CHUNK = 1000
AT_ONCE = 4
ROUNDS = 5


def main() -> None:
    """CPU time to block and unblock 64,000 numbers, as a ratio to a raw loop."""
    with served(window=None, magic=False) as credentials:
        asyncio.run(compare(credentials))


async def compare(credentials: Credentials) -> None:
    """Measure both in turn, and print the best of each."""
    numbers = [f"+4915{n:09d}" for n in range(USERS)]
    best = {"raw loop": float("inf"), "blockusers": float("inf")}
    async with (
        aiohttp.ClientSession() as session,
        Client(Account(**credentials)) as client,
    ):
        for _ in range(ROUNDS):
            seconds = await _cpu(lambda: _raw(session, credentials, numbers))
            best["raw loop"] = min(best["raw loop"], seconds)
            seconds = await _cpu(lambda: _ours(client, numbers))
            best["blockusers"] = min(best["blockusers"], seconds)
    print(f"{2 * USERS:,} numbers in chunks of {CHUNK:,}, best of {ROUNDS} rounds\n")
    print(f"{'':12} {'CPU s':>7} {'µs/number':>10} {'ratio':>6}")
    for name, seconds in best.items():
        each = seconds / (2 * USERS) * 1e6
        print(f"{name:12} {seconds:7.3f} {each:10.2f} {seconds / best['raw loop']:5.1f}x")


async def _cpu(work: Callable[[], Awaitable[None]]) -> float:
    started = time.process_time()
    await work()
    return time.process_time() - started


async def _ours(client: Client, numbers: list[str]) -> None:
    assert len((await client.block(numbers)).succeeded) == USERS
    assert len((await client.unblock(numbers)).succeeded) == USERS


async def _raw(
    session: aiohttp.ClientSession, credentials: Credentials, numbers: list[str]
) -> None:
    url = f"{credentials['base_url']}/v25.0/{credentials['phone_number_id']}/block_users"
    headers = {
        "Authorization": f"Bearer {credentials['access_token']}",
        "Content-Type": "application/json",
    }
    gate = asyncio.Semaphore(AT_ONCE)

    async def send(method: str, key: str, chunk: list[str]) -> dict[str, Any]:
        async with gate:
            body = {"messaging_product": "whatsapp", "block_users": [{"user": n} for n in chunk]}
            async with session.request(
                method, url, data=orjson.dumps(body), headers=headers
            ) as response:
                answer = orjson.loads(await response.read())
            return {row["input"]: row["wa_id"] for row in answer["block_users"][key]}

    for method, key in (("POST", "added_users"), ("DELETE", "removed_users")):
        chunks = [numbers[start : start + CHUNK] for start in range(0, USERS, CHUNK)]
        results = await asyncio.gather(*(send(method, key, chunk) for chunk in chunks))
        assert sum(map(len, results)) == USERS
