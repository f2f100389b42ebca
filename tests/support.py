"""What several test files need: a clock that nobody waits for, and a server of raw bytes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from operator import itemgetter
from pathlib import Path

import attrs
import orjson

from blockusers import AdaptivePace, FixedPace, Operation, RetryPolicy, Status
from blockusers.values.columns import Verdict, Verdicts
from blockusers.values.users import Identifiers, read

TOKEN = "EAAGtoken0123456789abcdefghijklmnopqrstuvwxyz"
PHONE_NUMBER_ID = "106540352242922"


@attrs.define
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 1000.0
    slept: list[float] = attrs.field(factory=list)
    calls: list[tuple[float, Callable[[], object]]] = attrs.field(factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await asyncio.sleep(0)

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        self.calls.append((self.now + seconds, call))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = sorted((each for each in self.calls if each[0] <= self.now), key=itemgetter(0))
        self.calls = [each for each in self.calls if each[0] > self.now]
        for _, call in due:
            call()

    async def flow(self) -> None:
        """Let time pass for ever, up to the next call, whenever nobody does anything else."""
        while True:
            for _ in range(50):
                await asyncio.sleep(0)
            if self.calls:
                self.advance(min(when for when, _ in self.calls) - self.now)


def identifiers(*users: str) -> Identifiers:
    """Return users as a request is built of them."""
    found = [read(user) for user in users]
    return Identifiers([user.key for user in found], [user.wire for user in found])


def quick(clock: Clock | None = None, **settings: float | None) -> RetryPolicy:
    """Return a policy that waits its longest, on a clock of its own."""
    clock = clock or Clock()
    return RetryPolicy(**settings, sleep=clock.sleep, clock=clock, random=lambda: 1.0)


def pace(max_in_flight: int = 4, clock: Clock | None = None) -> FixedPace:
    clock = clock or Clock()
    return FixedPace(max_in_flight, clock=clock, sleep=clock.sleep)


def adaptive(clock: Clock) -> AdaptivePace:
    """Return a pace that learns the limit of a sandbox with the same clock."""
    return AdaptivePace(clock=clock, sleep=clock.sleep)


@attrs.define
class Server:
    """Stands in for everything behind `transact`: keeps a blocklist, answers as scripted."""

    script: Callable[[int, Sequence[str]], object] = lambda _number, _keys: None
    """Given a request's number from 1 and its users, returns an error to raise, verdicts for
    some users, an awaitable of these, or None."""
    blocked: set[str] = attrs.field(factory=set)
    asked: list[tuple[str, ...]] = attrs.field(factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def transact(self, operation: Operation, users: Identifiers) -> Verdicts:
        keys = tuple(users.keys)
        self.asked.append(keys)
        number = len(self.asked)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            said = self.script(number, keys)
            said = await said if isinstance(said, Awaitable) else said
        finally:
            self.in_flight -= 1
        if isinstance(said, Exception):
            raise said
        verdicts = {key: Verdict(Status.DONE, wa_id=key) for key in keys} | (said or {})
        done = {key for key, verdict in verdicts.items() if verdict.status is Status.DONE}
        self.blocked = self.blocked | done if operation is Operation.BLOCK else self.blocked - done
        return columns(verdicts[key] for key in keys)


def columns(verdicts: Iterable[Verdict]) -> Verdicts:
    """Put verdicts into columns, as `wire` returns them."""
    given = list(verdicts)
    result = Verdicts()
    result.enter(len(given), Status.UNKNOWN)
    for index, verdict in enumerate(given):
        result[index] = verdict
    return result


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[str]:
    """Serve connections on loopback with *handler*; yield the base URL."""
    tasks = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Read one HTTP request: its first line, its headers with small names, its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (row.split(": ", 1) for row in rest)}
    return line, headers, await reader.readexactly(int(headers.get("content-length", 0)))


def http(body: bytes | dict[str, object], status: str = "200 OK", **headers: str) -> bytes:
    """Return the bytes of a whole HTTP answer."""
    body = orjson.dumps(body) if isinstance(body, dict) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def number(i: int) -> str:
    """Return the i-th of many numbers, none of which ends in an error code."""
    return f"+4915{i:09d}"


def numbers(count: int) -> list[str]:
    return [number(i) for i in range(count)]


def until_it_waits(thread: str = "self/task") -> None:
    """Return when a process does nothing but wait, so that a signal finds it in a system call.

    A signal that comes just before a blocking call is noticed only when that call ends.

    Args:
        thread: Its folder in `/proc`; that of this process's main thread by default.
    """
    if not Path("/proc/self/task").exists():  # not on Linux: hope that this is long enough
        time.sleep(0.5)
        return
    if thread == "self/task":
        thread = f"self/task/{threading.main_thread().native_id}"
    before = ""
    while True:
        status = Path(f"/proc/{thread}/status").read_text()
        now = "".join(line for line in status.splitlines() if "ctxt_switches" in line)
        if now == before and "State:\tS" in status:
            return
        before = now
        time.sleep(0.02)
