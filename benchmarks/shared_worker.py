"""A process of a service: it does the jobs and the single calls that it is told to do."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Self

import attrs

from blockusers import Account, AdaptivePace, Client, Incomplete, Outcome, Pace, Report
from blockusers.redis import SharedPace
from blockusers.sandbox import Credentials

_LONGEST = 3600.0


@attrs.frozen(kw_only=True)
class Task:
    """Work for one process, on one business number."""

    name: str
    credentials: Credentials
    redis: str | None
    """The URL of Redis for a `SharedPace`; None is an `AdaptivePace` of the process's own."""
    users: Sequence[str]
    starts: float
    """When to start, by the clock that all processes of a machine share."""
    per_second: float | None = None
    """Single calls in a second; None blocks the users as one job, one in a request."""
    timeout: float = _LONGEST


@attrs.frozen(kw_only=True)
class Done:
    """What came of a task."""

    name: str
    finished: float
    done: int
    requests: int
    refused: int
    round_trips: int
    waits: Sequence[float] = ()
    """Seconds that each single call took."""


class Worker:
    """A process, seen from the one that started it."""

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_main, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.join()


def _main(pipe: Connection) -> None:
    logging.getLogger("blockusers").setLevel(logging.ERROR)
    asyncio.run(_serve(pipe))


async def _serve(pipe: Connection) -> None:
    pipe.send("ready")
    running = set()
    while True:
        task = asyncio.create_task(_try(await asyncio.to_thread(pipe.recv), pipe))
        running.add(task)
        task.add_done_callback(running.discard)


async def _try(task: Task, pipe: Connection) -> None:
    try:
        await _do(task, pipe)
    except Exception as error:  # reported where it can be seen
        pipe.send(SystemExit(f"{task.name}: {error!r}"))


async def _do(task: Task, pipe: Connection) -> None:
    account = Account(**task.credentials)
    chunk = 1 if task.per_second is None else 1000
    async with _pace(task, account) as pace, Client(account, pace=pace, chunk_size=chunk) as client:
        await asyncio.sleep(task.starts - time.monotonic())
        work = _job if task.per_second is None else _singles
        done = await work(task, client, pipe)
        trips = pace.round_trips if isinstance(pace, SharedPace) else 0
        pipe.send(attrs.evolve(done, round_trips=trips))


@asynccontextmanager
async def _pace(task: Task, account: Account) -> AsyncIterator[Pace]:
    if task.redis is None:
        yield AdaptivePace()
        return
    async with SharedPace(task.redis, account) as pace:
        yield pace


async def _job(task: Task, client: Client, pipe: Connection) -> Done:
    def settled(outcomes: Sequence[Outcome]) -> None:
        pipe.send((task.name, [str(outcome.input) for outcome in outcomes if outcome.ok]))

    try:
        report: Report = await client.block(task.users, timeout=task.timeout, on_settled=settled)
    except Incomplete as error:
        report = error.report
    return Done(
        name=task.name,
        finished=time.monotonic(),
        done=len(report.succeeded),
        requests=report.requests,
        refused=report.rate_limited,
        round_trips=0,
    )


async def _singles(task: Task, client: Client, _: Connection) -> Done:
    """Make single calls at an even rate, whatever the earlier ones wait for."""
    waits: list[float] = []

    async def call(number: int, user: str) -> bool:
        asked = task.starts + number / (task.per_second or 1)
        await asyncio.sleep(asked - time.monotonic())
        try:
            async with asyncio.timeout(task.starts + task.timeout - time.monotonic()):
                outcome = await client.block_one(user)
        except TimeoutError:
            return False
        finally:
            waits.append(time.monotonic() - asked)
        return outcome.ok

    done = await asyncio.gather(*(call(*each) for each in enumerate(task.users)))
    state = client.pace.state
    return Done(
        name=task.name,
        finished=time.monotonic(),
        done=sum(done),
        requests=state.admitted + state.rate_limited,
        refused=state.rate_limited,
        round_trips=0,
        waits=waits,
    )
