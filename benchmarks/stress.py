"""Random histories against a server with faults: `python -m benchmarks stress --scenarios 20000`.

Each scenario is a client, a server of its own, and callers that collide on a few users, cancel
each other's waits, and close the client at bad moments.  Afterwards the logs of both sides are
compared with what the library promises; a violation names the scenario's seed, and
`--seed S --scenarios 1` plays that one again, as well as real time permits.  `--logs FOLDER` keeps
the log of each scenario with a violation, for not all of them can be played again.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import multiprocessing
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast
from weakref import WeakSet

import attrs

from benchmarks.stress_actors import Actor, Stage
from benchmarks.stress_checks import History, Kind, Scripted, Violation, check, describe
from benchmarks.stress_server import Pulse, Server, now
from blockusers import Account, AdaptivePace, Client, FixedPace, RetryPolicy

_AT_ONCE: Final = 30
_BATCH: Final = 150
_PATIENCE: Final = 4.0
_CLOSE_TAKES: Final = 0.5
_CALLBACK_TAKES: Final = 1.0  # the second that an async `on_settled` gets to end
_MOST_PRINTED: Final = 10


@attrs.define
class Tally:
    """What some scenarios amount to."""

    scenarios: int = 0
    requests: int = 0
    faults: int = 0
    calls: int = 0
    unpunctual: int = 0
    """Scenarios in which the event loop was too slow to compare the blocklists."""
    violations: list[tuple[str, Violation]] = attrs.field(factory=list[Any])
    """The seed of each, or the seeds that it may belong to."""

    def add(self, other: Tally) -> None:
        """Add what other scenarios amount to."""
        self.scenarios += other.scenarios
        self.requests += other.requests
        self.faults += other.faults
        self.calls += other.calls
        self.unpunctual += other.unpunctual
        self.violations += other.violations


def main(
    scenarios: int = 2000, seed: int = 1, loop: str = "asyncio", logs: str | None = None
) -> None:
    """Play scenarios on all processors, and count the violations of what the library promises."""
    started, total = time.monotonic(), Tally()
    seeds = range(seed, seed + scenarios)
    batches = [seeds[start : start + _BATCH] for start in range(0, scenarios, _BATCH)]
    printed = Counter[Kind]()
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawning) as processes:
        for tally in processes.map(
            play_batch, batches, [loop] * len(batches), [logs] * len(batches)
        ):
            total.add(tally)
            for where, violation in tally.violations:
                printed[violation.kind] += 1
                if printed[violation.kind] <= _MOST_PRINTED:
                    print(f"seed {where}: {violation.kind.value}: {violation.text}", flush=True)
    _print_summary(total, time.monotonic() - started)
    if total.violations:
        sys.exit(1)


def _print_summary(total: Tally, elapsed: float) -> None:
    counts = Counter(violation.kind for _, violation in total.violations)
    scenarios = Counter(kind for _, kind in {(at, each.kind) for at, each in total.violations})
    print(f"{'scenarios':>10} {'requests':>10} {'faults':>10} {'calls':>10} {'minutes':>10}")
    print(
        f"{total.scenarios:10,} {total.requests:10,} {total.faults:10,} {total.calls:10,}"
        f" {elapsed / 60:10.1f}"
    )
    print(
        f"\n{'violations':>10} {'scenarios':>10}  (the first {_MOST_PRINTED} of each are printed)"
    )
    for kind in Kind:
        print(f"{counts[kind]:10,} {scenarios[kind]:10,}  {kind.value}")


# --------------------------------------------------------------------------- batches

_OF_SCENARIO: contextvars.ContextVar[WeakSet[asyncio.Task[Any]]] = contextvars.ContextVar("tasks")


def play_batch(seeds: range, loop: str, logs: str | None) -> Tally:
    """Play scenarios in one process and on one event loop, some at the same time."""
    logging.getLogger("blockusers").setLevel(logging.CRITICAL)
    factory = None
    if loop == "uvloop":
        import uvloop  # noqa: PLC0415

        factory = uvloop.new_event_loop
    gc.freeze()
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_play_all(seeds, logs))


async def _play_all(seeds: range, logs: str | None) -> Tally:
    loop, tally = asyncio.get_running_loop(), Tally()
    loop.set_task_factory(cast("Any", _start_task))
    unseen: list[str] = []
    loop.set_exception_handler(lambda _, context: unseen.append(_describe_unseen(context)))
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_, **__: unseen.append(str(message))
    pulse = Pulse()
    pulse.start()
    left = iter(seeds)

    async def play_some() -> None:
        for seed in left:
            scenario = Scenario(seed, pulse)
            tally.add(played := await scenario.play())
            if logs is not None and played.violations:
                Path(logs, f"{seed}.txt").write_text(scenario.log())  # noqa: ASYNC240

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(play_some())
    gc.collect()
    await asyncio.sleep(0)
    pulse.stop()
    where = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    tally.violations += [(where, Violation(Kind.UNSEEN, text)) for text in unseen]
    return tally


def _start_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    """Start a task, and note which scenario it belongs to."""
    task = asyncio.Task(work, loop=loop, **options)
    if (tasks := _OF_SCENARIO.get(None)) is not None:
        tasks.add(task)
    return task


def _describe_unseen(context: dict[str, Any]) -> str:
    source = context.get("task") or context.get("future") or context.get("handle")
    return f"{context.get('message')}: {context.get('exception')!r} in {source!r}"


# --------------------------------------------------------------------------- a scenario


class Scenario:
    """One random history, and what is wrong with it."""

    def __init__(self, seed: int, pulse: Pulse) -> None:
        self._seed = seed
        self._pulse = pulse
        self._dice = dice = random.Random(seed)
        self._timeout = dice.uniform(0.03, 0.06)
        self._server = Server(str(seed), self._timeout, pulse, dice.choice((0.1, 0.3, 0.6)))
        self._history = History(self._timeout)
        self._found: list[Violation] = []
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._bad_tokens = dice.choice((0.0, 0.0, 0.0, 0.05))
        self._notes: list[tuple[float, str]] = []
        self._drain = dice.choice((0.0, 0.02, 0.2))
        self._ending = dice.choice(("quiet", "quiet", "close", "close at time-out", "exception"))

    async def play(self) -> Tally:
        """Play it, and return what was found."""
        started = now()
        url = await self._server.open()
        _OF_SCENARIO.set(self._tasks)
        stage = Stage(self._client(url), self._history, self._users())
        self._stage = stage
        try:
            await self._run()
            await self._end_calls()
            await self._check_tasks()
            await asyncio.sleep(self._timeout)
        finally:
            _OF_SCENARIO.set(WeakSet())
            await self._server.close()
        self._history.requests = self._server.log
        self._history.blocklist = self._server.blocklist()
        self._history.lag = self._pulse.lag_since(started)
        self._found += check(self._history)
        requests = len(self._server.log) + self._server.listings
        violations = [(str(self._seed), each) for each in self._found]
        calls, unpunctual = len(self._history.calls), not self._history.is_punctual
        return Tally(1, requests, self._server.faults, calls, unpunctual, violations)

    def _users(self) -> list[str]:
        return [f"1650555123{last}" for last in range(self._dice.randint(1, 4))]

    def _client(self, url: str) -> Client:
        dice = self._dice
        pace: FixedPace | AdaptivePace = AdaptivePace(dice.randint(1, 4))
        if dice.random() < 0.75:
            pace = FixedPace(dice.randint(1, 4), per_second=dice.choice((None, None, 50, 200)))
        retry = RetryPolicy(
            attempts=dice.randint(1, 4), timeout=1.0, wait_initial=0.005, wait_max=0.02
        )
        chunk_size = dice.randint(1, 4)
        self._settings = f"chunk_size {chunk_size}, {retry.attempts} attempts, {pace!r}"
        return Client(
            Account("106540352242922", self._token, base_url=url, allow_http=True),
            chunk_size=chunk_size,
            request_timeout=self._timeout,
            retry=retry,
            pace=pace,
            drain_timeout=self._drain,
        )

    def _note(self, what: str) -> None:
        self._notes.append((now(), what))

    async def _token(self) -> str:
        fate = 1.0 if self._stage.calm else self._dice.random()
        if fate < self._bad_tokens:
            self._note("a token function hangs")
            await asyncio.Event().wait()
        elif fate < 2 * self._bad_tokens:
            self._note("a token function fails")
            raise Scripted("the token function")
        return "token"

    async def _run(self) -> None:
        """Let the actors act, and close the client; do not wait for that forever."""
        stage, ready_to_close = self._stage, asyncio.Event()
        life = asyncio.get_running_loop().create_task(self._live(ready_to_close))
        stage.tasks.add(life)
        await ready_to_close.wait()
        began, most = now(), self._drain + _CLOSE_TAKES
        self._note("the closing begins")
        await asyncio.wait({life}, timeout=most + _CALLBACK_TAKES + 1.0)
        stage.calm = True
        self._history.closed = now()
        self._note("close() has returned" if life.done() else "close() does not return")
        if life.done() and (error := life.exception()) is not None:
            self._found.append(Violation(Kind.ERROR, f"close(): {error!r}"))
        if any(call.may_hang and call.ended >= began for call in self._history.calls):
            most += _CALLBACK_TAKES
        took = self._history.closed - began
        if took > most + 4 * self._pulse.lag_since(began):
            self._found.append(Violation(Kind.CLOSE_SLOW, f"{took:.2f} s, {self._ending}"))

    async def _live(self, ready_to_close: asyncio.Event) -> None:
        stage = self._stage
        with suppress(Scripted):
            async with stage.client:
                actors = [
                    stage.spawn(Actor(stage, f"{self._seed}/{number}").act())
                    for number in range(self._dice.randint(2, 8))
                ]
                try:
                    await self._until_end(actors)
                finally:
                    ready_to_close.set()
                if self._ending == "exception":
                    raise Scripted("leaves `async with`")
                await stage.client.close()

    async def _until_end(self, actors: list[asyncio.Task[None]]) -> None:
        """Wait until it is time to close the client."""
        match self._ending:
            case "quiet":
                await self._until_quiet(actors)
            case "close at time-out":
                await asyncio.sleep(self._dice.uniform(0, 4) * self._timeout)
                self._stage.call_made.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(4 * self._timeout):
                        await self._stage.call_made.wait()
                await asyncio.sleep(self._timeout)
            case _:
                await asyncio.sleep(self._dice.uniform(0, 6) * self._timeout)

    async def _until_quiet(self, actors: list[asyncio.Task[None]]) -> None:
        """Wait for every call that must end by itself, with no faults any more."""
        stage, ends = self._stage, now() + _PATIENCE
        await asyncio.wait(actors, timeout=12 * self._timeout)
        stage.calm = True
        self._server.fault_rate = 0.0
        while now() < ends and any(self._must_end()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._found += [Violation(Kind.LOST, str(call)) for call in self._must_end()]

    def _must_end(self) -> list[Any]:
        calls = self._history.calls
        return [call for call in calls if call.ended == float("inf") and not call.may_hang]

    async def _end_calls(self) -> None:
        """Wait for all callers of the closed client; then end them by force."""
        tasks = self._stage.tasks
        if tasks:
            await asyncio.wait(tasks, timeout=1.5)
        lost = [call for call in self._history.calls if call.ended == float("inf")]
        self._found += [Violation(Kind.LOST_AFTER_CLOSE, str(call)) for call in lost]
        for task in tasks:
            task.cancel()
        _, stubborn = await asyncio.wait(tasks, timeout=1.5)
        for task in stubborn:
            self._found.append(Violation(Kind.SWALLOWED, f"at the end: {task!r}"))

    async def _check_tasks(self) -> None:
        """Look for tasks that the client left behind."""
        ends = now() + 0.3
        while now() < ends and self._tasks_left():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        for task in self._tasks_left():
            self._found.append(Violation(Kind.TASKS, repr(task)))
            task.cancel()

    def _tasks_left(self) -> list[asyncio.Task[Any]]:
        return [each for each in self._tasks - self._stage.tasks if not each.done()]

    def log(self) -> str:
        """Return all that happened, for people."""
        lines = [(each.arrived, describe(each)) for each in self._server.log]
        for call in self._history.calls:
            lines += [(call.started, f"{call} begins"), (call.ended, f"{call} ends: {call.came}")]
            lines += [
                (moment, f"    call {call.number} draws user {user[-1]}")
                for user, (_, moment) in call.drawn.items()
            ]
        lines += [(moment, f"    {what}") for moment, what in self._notes]
        heading = f"{self._ending}, request_timeout {self._timeout * 1e3:.1f} ms, {self._settings}"
        body = [f"{moment * 1e3:10.1f}  {line}" for moment, line in sorted(lines)]
        found = [f"{violation.kind.value}: {violation.text}" for violation in self._found]
        return "\n".join([heading, *body, *found, ""])
