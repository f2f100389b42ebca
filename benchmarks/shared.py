"""Several processes on one business number: with a pace each, and with one pace in Redis.

Real processes, a real Redis, real sockets.  Each limit has a sandbox in a process of its own; jobs
against all limits run at the same time, for they mostly wait.  What counts is the time until the
last process is done, over what nobody can beat, and the share of all requests that are refused.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Final, NamedTuple, cast

import attrs

from benchmarks.served import served
from benchmarks.shared_guards import waits
from benchmarks.shared_redis import RedisServer
from benchmarks.shared_worker import Done, Task, Worker
from benchmarks.simulation import Limit
from blockusers.sandbox import Credentials

NEAR: Final = (0.001, 0.004)
LIMITS: Final = [
    Limit(rate, burst, latency=NEAR)
    for rate, burst in ((20.0, 10), (10.0, 1), (40.0, 40), (5.0, 5), (2.0, 1))
]
SECONDS: Final = 20.0
"""How long a job takes at least,"""
SECONDS_IF_SLOW: Final = 45.0
"""and one of 2 requests a second."""
APART: Final = 1.5
"""Seconds between the starts of two limits, so that the machine is not what limits them."""
LONGEST: Final = 55.0
"""A job is stopped after so many seconds, as those of processes with a pace each have to be."""
PARTS: Final = ("limits", "accidents", "singles", "guards")
_PHONE: Final = "106540352242922"


class Mode(NamedTuple):
    """How many processes, and which pace they have."""

    name: str
    processes: int
    is_shared: bool


MODES: Final = (
    Mode("one process", 1, is_shared=False),
    Mode("four, a pace each", 4, is_shared=False),
    Mode("four, `SharedPace`", 4, is_shared=True),
    Mode("eight, `SharedPace`", 8, is_shared=True),
)


def main(parts: Sequence[str] = PARTS) -> None:
    """Run the parts, and print a table for each."""
    started = time.monotonic()
    if "limits" in parts:
        _limits()
    if "accidents" in parts:
        _accidents()
    if "singles" in parts:
        _singles()
    if "guards" in parts:
        _guards()
    print(f"\n{time.monotonic() - started:.0f} s in all")


class Crew:
    """Processes that work at the same time."""

    def __init__(self, size: int) -> None:
        self.workers = [Worker() for _ in range(size)]
        self.settled: dict[str, set[str]] = {}
        """The users of each task that are blocked, by the task's name."""

    def close(self) -> None:
        """End all."""
        for worker in self.workers:
            worker.kill()

    def collect(self, names: set[str], until: float = float("inf")) -> list[Done]:
        """Wait until all tasks of these names are done, or time is up; return what came of them."""
        done: list[Done] = []
        pipes = [worker.pipe for worker in self.workers]
        while names - {each.name for each in done} and (left := until - time.monotonic()) > 0:
            for pipe in wait(pipes, min(left, 3600.0)):
                news = cast("Connection", pipe).recv()
                if isinstance(news, SystemExit):
                    raise news
                if isinstance(news, Done):
                    done.append(news)
                else:
                    self.settled.setdefault(news[0], set()).update(news[1])
        return done


@contextmanager
def crew(size: int) -> Iterator[Crew]:
    """Start processes; end them."""
    members = Crew(size)
    try:
        yield members
    finally:
        members.close()


def numbers(first: int, count: int) -> list[str]:
    """Return so many phone numbers."""
    return [f"+4915{n:09d}" for n in range(first, first + count)]


def dealt(users: Sequence[str], hands: int) -> list[Sequence[str]]:
    """Deal *users* to so many processes."""
    return [users[n::hands] for n in range(hands)]


def _rules(limit: Limit, **more: Any) -> dict[str, Any]:
    phones = [f"{_PHONE}{n}" for n, _ in enumerate(MODES)]  # each has a fresh bucket
    rules = {"window": None, "magic": False, "rate": limit.rate, "burst": limit.burst}
    return rules | {"phone_number_ids": phones} | more


def requests_in(limit: Limit) -> int:
    """Return how many requests the limit admits in the time that a job is to take."""
    return int(limit.burst + limit.rate * (SECONDS if limit.rate > 2 else SECONDS_IF_SLOW))


def over_bound(seconds: float, limit: Limit, requests: int) -> float:
    """Return a time as a multiple of what nobody can beat."""
    return seconds / limit.bound(requests, 1000)


# --------------------------------------------------------------------------- limits


def _limits() -> None:
    print("time over the bound, share refused, round trips to Redis for each request\n")
    print("| limit | " + " | ".join(mode.name for mode in MODES) + " |")
    print("|---" * (len(MODES) + 1) + "|", flush=True)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        servers = [stack.enter_context(served(**_rules(limit))) for limit in LIMITS]
        members = stack.enter_context(crew(max(mode.processes for mode in MODES)))
        columns = [_column(n, mode, redis, servers, members) for n, mode in enumerate(MODES)]
    for limit, cells in zip(LIMITS, zip(*columns, strict=True), strict=True):
        print(f"| {limit.rate:g}/s, burst {limit.burst} | " + " | ".join(cells) + " |")


def _column(
    number: int, mode: Mode, redis: RedisServer, servers: Sequence[Credentials], members: Crew
) -> list[str]:
    """Run jobs against all limits at once; return a cell for each."""
    first = time.monotonic() + 1.0
    starts = {limit: first + APART * n for n, limit in enumerate(LIMITS)}
    for limit, server in zip(LIMITS, servers, strict=True):
        hands = dealt(numbers(0, requests_in(limit)), mode.processes)
        for n, (worker, users) in enumerate(zip(members.workers, hands, strict=False)):
            task = Task(
                name=f"{limit.rate:g} {n}",
                credentials={**server, "phone_number_id": f"{_PHONE}{number}"},
                redis=redis.url if mode.is_shared else None,
                users=users,
                starts=starts[limit],
                timeout=LONGEST if mode == MODES[1] else 10 * LONGEST,
            )
            worker.pipe.send(task)
    names = {f"{limit.rate:g} {n}" for limit in LIMITS for n in range(mode.processes)}
    done = members.collect(names)
    return [
        _cell(limit, [each for each in done if each.name.startswith(f"{limit.rate:g} ")], began)
        for limit, began in starts.items()
    ]


def _cell(limit: Limit, done: Sequence[Done], starts: float) -> str:
    count = requests_in(limit)
    share_done = sum(each.done for each in done) / count
    seconds = max(each.finished for each in done) - starts
    requests = sum(each.requests for each in done)
    refused = sum(each.refused for each in done) / requests
    trips = sum(each.round_trips for each in done) / requests
    if share_done < 1:
        return f"{share_done:.0%} done in {over_bound(seconds, limit, count):.2f}x, {refused:.1%}"
    text = f"{over_bound(seconds, limit, count):.2f}x, {refused:.1%}"
    return f"{text}, {trips:.2f}" if trips else text


# --------------------------------------------------------------------------- accidents


def _accidents() -> None:
    print("\nfour processes with a `SharedPace`, 20/s, burst 10, 0.3 s away\n")
    print("| accident | time over the bound | refused | lost |\n|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(len(ACCIDENTS)) as threads:
        for name, result in zip(ACCIDENTS, threads.map(_accident, ACCIDENTS), strict=True):
            print(f"| {name} | {result} |", flush=True)


def _accident(accident: str) -> str:
    limit = Limit(20.0, 10, latency=(0.3, 0.3))
    users = numbers(0, requests_in(limit))
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        server = stack.enter_context(served(**_rules(limit, latency=0.3)))
        members = stack.enter_context(crew(4))
        credentials: Credentials = {**server, "phone_number_id": f"{_PHONE}0"}
        starts = time.monotonic() + 1.0
        tasks = [
            Task(name=str(n), credentials=credentials, redis=redis.url, users=hand, starts=starts)
            for n, hand in enumerate(dealt(users, 4))
        ]
        for worker, task in zip(members.workers, tasks, strict=True):
            worker.pipe.send(task)
        names = {task.name for task in tasks}
        done = members.collect(names, starts + SECONDS / 3)
        ACCIDENTS[accident](members, tasks, redis)
        done += members.collect(names - {each.name for each in done})
        blocked = set[str]().union(*members.settled.values())
    seconds = max(each.finished for each in done) - starts
    refused = sum(each.refused for each in done) / sum(each.requests for each in done)
    lost = len(set(users) - blocked)
    return f"{over_bound(seconds, limit, len(users)):.2f}x | {refused:.1%} | {lost}"


def _no_accident(*_: object) -> None:
    """Let all go on."""


def _redis_away(_: Crew, __: Sequence[Task], redis: RedisServer) -> None:
    """Kill Redis, and start it again, empty."""
    redis.kill()
    time.sleep(4.0)
    redis.start()


def _kill(members: Crew, tasks: Sequence[Task], _: RedisServer) -> None:
    """Kill the last process; what it had not settled is submitted to the first."""
    last, task = members.workers.pop(), tasks[-1]
    last.kill()
    with suppress(EOFError):
        while last.pipe.poll():
            name, users = last.pipe.recv()
            members.settled.setdefault(name, set()).update(users)
    left = [user for user in task.users if user not in members.settled.get(task.name, ())]
    members.workers[0].pipe.send(attrs.evolve(task, users=left, starts=time.monotonic()))


ACCIDENTS: Final[Mapping[str, Callable[[Crew, Sequence[Task], RedisServer], None]]] = {
    "none": _no_accident,
    "one of four killed with slots in hand": _kill,
    "Redis away for 4 s, and back empty": _redis_away,
}

# --------------------------------------------------------------------------- single calls


def _singles() -> None:
    print("\nseconds that single calls take: 20/s on four processes, limit 2/s, burst 1\n")
    print("| pace | p50 | p95 | refused | round trips |\n|---|---|---|---|---|", flush=True)
    modes = MODES[1:3]
    with ThreadPoolExecutor(len(modes)) as threads:
        for mode, result in zip(modes, threads.map(_single_calls, modes), strict=True):
            print(f"| {mode.name} | {result} |", flush=True)


def _single_calls(mode: Mode) -> str:
    hands = dealt(numbers(0, int(20 * SECONDS)), mode.processes)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        server = stack.enter_context(served(**_rules(Limit(2.0, 1, latency=NEAR))))
        members = stack.enter_context(crew(mode.processes))
        starts = time.monotonic() + 1.0
        for n, (worker, users) in enumerate(zip(members.workers, hands, strict=True)):
            task = Task(
                name=str(n),
                credentials={**server, "phone_number_id": f"{_PHONE}0"},
                redis=redis.url if mode.is_shared else None,
                users=users,
                starts=starts + n / 20,
                per_second=20 / mode.processes,
                timeout=2 * SECONDS,
            )
            worker.pipe.send(task)
        return _latencies(mode, members.collect(set(map(str, range(mode.processes)))))


def _latencies(mode: Mode, done: Sequence[Done]) -> str:
    waits = sorted(wait for each in done for wait in each.waits)
    cuts = statistics.quantiles(waits, n=20)
    # The state of a shared pace counts the requests of all.
    counted = done[-1:] if mode.is_shared else done
    requests = sum(each.requests for each in counted)
    refused = sum(each.refused for each in counted) / requests
    trips = sum(each.round_trips for each in done) / requests
    return f"{cuts[9]:.1f} | {cuts[-1]:.1f} | {refused:.1%} | {trips:.2f}"


def _guards() -> None:
    print(
        "\nseconds from a message of a denied person to the block: 20/s on four guards, limit 2/s\n"
    )
    with RedisServer() as redis:
        found = waits(redis.url)
    cuts = statistics.quantiles(found, n=20)
    print(f"{len(found)} people: p50 {cuts[9]:.2f}, p95 {cuts[-1]:.2f}, longest {found[-1]:.2f}")
