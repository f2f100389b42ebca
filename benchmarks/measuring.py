"""What the benchmarks share: the users, the raw loops to compare with, the CPU clock, the table."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import aiohttp
import orjson

from blockusers.sandbox import Credentials

USERS: Final = 64_000
CHUNK: Final = 1000
NUMBERS: Final = [f"+4915{n:09d}" for n in range(USERS)]
CHUNKS: Final = [NUMBERS[start : start + CHUNK] for start in range(0, USERS, CHUNK)]
AT_ONCE: Final = 16

Work = Callable[[], Awaitable[object]]


class RawLoop:
    """The least that does the job: aiohttp, orjson, and a dict for each number."""

    def __init__(self, session: aiohttp.ClientSession, credentials: Credentials) -> None:
        self._session = session
        path = f"v25.0/{credentials['phone_number_id']}/block_users"
        self._url = f"{credentials['base_url']}/{path}"
        self._headers = {
            "Authorization": f"Bearer {credentials['access_token']}",
            "Content-Type": "application/json",
        }

    async def update(self) -> None:
        """Block all and unblock all."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def send(method: str, key: str, chunk: list[str]) -> dict[str, Any]:
            entries = [{"user": number} for number in chunk]
            body = orjson.dumps({"messaging_product": "whatsapp", "block_users": entries})
            async with gate:
                answer = await self._request(method, data=body)
            return {row["input"]: row["wa_id"] for row in answer["block_users"][key]}

        for method, key in (("POST", "added_users"), ("DELETE", "removed_users")):
            results = await asyncio.gather(*(send(method, key, chunk) for chunk in CHUNKS))
            assert sum(map(len, results)) == USERS

    async def pages(self, size: int) -> list[dict[str, Any]]:
        """List all, in pages of *size*."""
        rows: list[dict[str, Any]] = []
        params = {"limit": str(size)}
        while True:
            answer = await self._request("GET", params=params)
            if not answer["data"]:
                return rows
            rows += answer["data"]
            params["after"] = answer["paging"]["cursors"]["after"]

    async def _request(self, method: str, **arguments: Any) -> dict[str, Any]:
        async with self._session.request(
            method, self._url, headers=self._headers, **arguments
        ) as response:
            answer: dict[str, Any] = orjson.loads(await response.read())
            return answer


async def least_cpu(contestants: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Return the CPU seconds of this process that each took in its best round.

    They take turns, so that a noisy machine disturbs all of them.
    """
    best = dict.fromkeys(contestants, float("inf"))
    for _ in range(rounds):
        for name, work in contestants.items():
            started = time.process_time()
            await work()
            best[name] = min(best[name], time.process_time() - started)
    return best


def print_ratios(best: Mapping[str, float], operations: int) -> None:
    """Print a row for each, as ratios to the first."""
    yardstick = next(iter(best.values()))
    print("| | CPU s | µs per number | ratio |")
    print("|---|---|---|---|")
    for name, seconds in best.items():
        each = seconds / operations * 1e6
        print(f"| {name} | {seconds:.3f} | {each:.2f} | {seconds / yardstick:.1f}x |")
