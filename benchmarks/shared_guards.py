"""Guards in several processes on one number and one store in Redis: how soon people are blocked."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Final

from blockusers import Account
from blockusers.guard import DenyList, Guard, RedisStore, Sighting
from blockusers.sandbox import Credentials, Rules, Sandbox

PROCESSES: Final = 4
EACH: Final = 100
A_SECOND: Final = 5.0
"""How many denied people write to each process in a second."""
RATE: Final = 2.0


def people_of(process: int) -> list[str]:
    """Return who writes to a process."""
    return [f"1650{process}{index:06d}" for index in range(EACH)]


def waits(redis_url: str) -> list[float]:
    """Return of each person who wrote after how many seconds they were blocked, in order."""
    everybody = [person for process in range(PROCESSES) for person in people_of(process)]
    asyncio.run(_fill(redis_url, everybody))
    context = multiprocessing.get_context("spawn")
    with Sandbox(Rules(rate=RATE, burst=1, window=None)) as sandbox:
        ours: list[Connection] = []
        for process in range(PROCESSES):
            mine, theirs = context.Pipe()
            work = (theirs, redis_url, sandbox.credentials, people_of(process))
            context.Process(target=_guard, args=work, daemon=True).start()
            ours.append(mine)
        blocked_at: dict[str, float] = {}
        wrote_at: dict[str, float] = {}
        while len(blocked_at) < len(everybody):
            now = time.time()
            for person in sandbox.blocklist() - blocked_at.keys():
                blocked_at[person] = now
            for pipe in ours:
                while pipe.poll():
                    wrote_at |= pipe.recv()
            time.sleep(0.005)
        for pipe in ours:
            while pipe.poll(0.1):
                wrote_at |= pipe.recv()
            pipe.send("end")
    return sorted(blocked_at[person] - at for person, at in wrote_at.items())


async def _fill(redis_url: str, people: Sequence[str]) -> None:
    async with RedisStore(redis_url) as store:
        await DenyList(store).add(people)


def _guard(
    pipe: Connection, redis_url: str, credentials: Credentials, people: Sequence[str]
) -> None:
    asyncio.run(_run(pipe, redis_url, credentials, people))


async def _run(
    pipe: Connection, redis_url: str, credentials: Credentials, people: Sequence[str]
) -> None:
    account = Account(**credentials)
    async with Guard([account], DenyList(RedisStore(redis_url))) as guard:
        for person in people:
            at = time.time()
            await guard.see(Sighting(account.phone_number_id, (person,)))
            pipe.send({person: at})
            await asyncio.sleep(1 / A_SECOND)
        while not pipe.poll():  # noqa: ASYNC110  # it happens in another process
            await asyncio.sleep(0.05)
