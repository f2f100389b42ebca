"""A guard under load, killed, starved, replayed and behind a slow limit: nobody is lost.

The service is `blockusers guard` in a process of its own, and Meta is the sandbox in this one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import multiprocessing
import random
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import orjson
from aiohttp import web

from benchmarks.guard_load import Latencies, post_all, signed, webhook
from benchmarks.guard_service import APP_SECRET, Service, cpu_of
from blockusers import Account
from blockusers.guard import DenyList, Guard, Sighting, SqliteStore
from blockusers.sandbox import Rules, Sandbox

ENTRIES: Final = 1_000_000
RATE: Final = 1000
SECONDS: Final = 15
WEBHOOKS: Final = 3000
KILLS: Final = 6
NUMBER: Final = "106540352242922"
PEOPLE: Final = [f"1650{index:07d}" for index in range(WEBHOOKS)]


def main() -> None:
    """Print a table for each promise."""
    print("## Nothing is lost: webhooks of 3,000 people, a fifth of them denied\n")
    print("| | blocked | missing | wrong | s until all were blocked | requests |")
    print("|---|---|---|---|---|---|")
    for name, trouble in TROUBLES.items():
        print(f"| {name}", end=" ")
        cells = " | ".join(_under(trouble))
        print(f"| {cells} |", flush=True)
    print(f"\nA store full of garbage: {_on_garbage()}\n")
    print("## Patience and room\n")
    asyncio.run(_patience())
    asyncio.run(_room())
    print(f"\n## {RATE:,} webhooks/s, a fifth from denied people, {ENTRIES:,} entries\n")
    _speed()


# --------------------------------------------------------------------------- nothing is lost


def _kill_it(service: Service, _: Sandbox) -> None:
    chance = random.Random(1)
    for _kill in range(KILLS):
        time.sleep(chance.uniform(0.1, 0.6))
        service.kill()
        service.start()


def _fill_the_disk(service: Service, _: Sandbox) -> None:
    time.sleep(0.3)
    service.limit_files(1)
    time.sleep(3)
    service.limit_files(None)


def _lock_the_store(service: Service, _: Sandbox) -> None:
    time.sleep(0.3)
    other = sqlite3.connect(service.store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(3)
    other.execute("ROLLBACK")
    other.close()


def _send_again(service: Service, sandbox: Sandbox) -> None:
    """Repeat every webhook once all are blocked."""
    _until(lambda: _all_blocked(sandbox))
    webhooks = [signed(each.body) for each in sandbox.webhooks]
    asyncio.run(post_all(service.url, webhooks, RATE))


def _flood(service: Service, _: Sandbox) -> None:
    """Post 200 bodies of 3 MB at once, with wrong signatures."""
    headers = {"X-Hub-Signature-256": f"sha256={'0' * 64}"}
    asyncio.run(post_all(service.url, [(b"x" * 3_000_000, headers)] * 200, 10_000))
    print(f"({service.memory / 2**20:.0f} MB of memory at most)", end=" ")


TROUBLES: Final = {
    "no trouble": lambda *_: None,
    f"killed {KILLS} times": _kill_it,
    "disk full for 3 s": _fill_the_disk,
    "database locked for 3 s": _lock_the_store,
    "all sent again": _send_again,
    "200 bodies of 3 MB": _flood,
}


def _under(trouble: Callable[[Service, Sandbox], None]) -> Iterator[str]:
    with (
        _store() as store,
        Sandbox(Rules(webhook_retry_wait=0.2), app_secret=APP_SECRET) as sandbox,
    ):
        service = Service(store, sandbox.credentials).start()
        sandbox.post_webhooks_to(service.url)
        for person in PEOPLE:
            sandbox.message_from(person)
        trouble(service, sandbox)
        sandbox.wait_delivered(120)
        delivered = time.monotonic()
        _until(lambda: _all_blocked(sandbox))
        waited = time.monotonic() - delivered
        service.stop()
        blocked, denied = sandbox.blocklist(), set(PEOPLE[::5])
        yield f"{len(blocked):,}"
        yield f"{len(denied - blocked)}"
        yield f"{len(blocked - denied)}"
        yield f"{waited:.1f}"
        yield f"{len(sandbox.requests)}"


def _all_blocked(sandbox: Sandbox) -> bool:
    return len(sandbox.blocklist()) >= len(PEOPLE[::5])


def _until(true: Callable[[], bool]) -> None:
    """Wait until something is true, for a minute at most."""
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.05)


@contextmanager
def _store(entries: Sequence[str] = PEOPLE[::5]) -> Iterator[Path]:
    """Make a store with a deny list."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deny.db"
        asyncio.run(_fill(path, entries))
        yield path


async def _fill(path: Path, entries: Sequence[str]) -> None:
    async with SqliteStore(path) as store:
        await DenyList(store).add(entries, origin="benchmark")


def _on_garbage() -> str:
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        store = Path(folder) / "deny.db"
        garbage = random.Random(1).randbytes(100_000)
        store.write_bytes(garbage)
        code, said = Service(store, sandbox.credentials).start(wait=False).last_words()
        kept = "unchanged" if store.read_bytes() == garbage else "OVERWRITTEN"
        return f"exit {code}, file {kept}: {said.strip().replace(folder, '…')}"


# --------------------------------------------------------------------------- patience and room


async def _patience() -> None:
    """200 denied people write at once, behind a limit of one request in ten seconds."""
    people = PEOPLE[:200]
    with Sandbox(Rules(rate=0.1, burst=1)) as sandbox:
        async with _guarding(sandbox, people) as guard:
            began = time.monotonic()
            for person in people:
                sandbox.message_from(person)
                await guard.see(Sighting(NUMBER, (person,)))
            await _until_true(lambda: len(sandbox.blocklist()) == len(people))
            print(
                f"{len(people)} people at 0.1 requests/s: all blocked after"
                f" {time.monotonic() - began:.0f} s, {len(sandbox.requests)} requests"
            )


async def _room() -> None:
    """300 denied people write in turn to a list of 100, of which 20 were blocked by hand."""
    by_hand, people = PEOPLE[:20], PEOPLE[20:320]
    with Sandbox(Rules(capacity=100)) as sandbox:
        sandbox.block(*by_hand)
        async with _guarding(sandbox, people) as guard:
            most, too_soon, blocked_at = 0, 0, list[str]()
            for person in people:
                sandbox.message_from(person)
                await guard.see(Sighting(NUMBER, (person,)))
                await _until_true(lambda: person in sandbox.blocklist())  # noqa: B023
                blocked_at.append(person)
                most = max(most, len(sandbox.blocklist()))
                too_soon += len(set(blocked_at[-10:]) - sandbox.blocklist())
            touched = set(by_hand) - sandbox.blocklist()
            print(
                f"{len(people)} people, room for 100: each blocked in turn, at most {most} at once,"
                f" {len(touched)} of {len(by_hand)} blocked by hand touched,"
                f" {too_soon} times one of the last ten evicted, {len(sandbox.requests)} requests"
            )


async def _until_true(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110  # it happens in another thread
        await asyncio.sleep(0.001)


@asynccontextmanager
async def _guarding(sandbox: Sandbox, people: Sequence[str]) -> AsyncIterator[Guard]:
    """Open a guard of the sandbox's number, with a deny list of these people."""
    with tempfile.TemporaryDirectory() as folder:
        deny_list = DenyList(SqliteStore(Path(folder) / "deny.db"))
        async with Guard([Account(**sandbox.credentials)], deny_list) as guard:
            await deny_list.add(people)
            yield guard


# --------------------------------------------------------------------------- speed


def _speed() -> None:
    entries = [f"4915{index:09d}" for index in range(ENTRIES)]
    senders = [
        entries[index * 50] if index % 5 == 0 else f"1650{index:07d}"
        for index in range(RATE * SECONDS)
    ]
    print("| | p50 ms | p99 ms | longest ms | answered | ms of CPU a webhook |")
    print("|---|---|---|---|---|---|")
    with _in_memory(entries) as (url, cpu):
        _print_speed("a set in memory, nothing written", _load(url, senders), cpu())
    with _store(entries) as store, Sandbox(Rules(window=None), app_secret=APP_SECRET) as sandbox:
        service = Service(store, sandbox.credentials).start()
        _load(service.url, senders[:1000])
        before = service.cpu
        found = _load(service.url, senders)
        _print_speed("`blockusers guard`", found, service.cpu - before)
        _until(lambda: len(sandbox.blocklist()) == len(set(senders[::5])))
        print(f"\nblocked: {len(sandbox.blocklist()):,} of {len(set(senders[::5])):,}")
        service.stop()


def _load(url: str, senders: Sequence[str]) -> Latencies:
    webhooks = [webhook(NUMBER, sender, index) for index, sender in enumerate(senders)]
    return asyncio.run(post_all(url, webhooks, RATE))


def _print_speed(name: str, found: Latencies, cpu: float) -> None:
    print(
        f"| {name} | {found.median:.1f} | {found.p99:.1f} | {found.longest:.1f} |"
        f" {found.answered:,} | {cpu * 1000 / (RATE * SECONDS):.2f} |",
        flush=True,
    )


# The least that does the job of a webhook, in a process of its own, to compare with.


@contextmanager
def _in_memory(entries: Sequence[str]) -> Iterator[tuple[str, Callable[[], float]]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve_from_memory, args=[theirs, entries], daemon=True)
    process.start()
    port: int = ours.recv()
    try:
        yield f"http://127.0.0.1:{port}/webhook", partial(cpu_of, process.pid or 0)
    finally:
        process.terminate()
        process.join()


def _serve_from_memory(pipe: Connection, entries: Sequence[str]) -> None:
    denied = set(entries)
    found: list[str] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(f"sha256={digest}", request.headers["X-Hub-Signature-256"]):
            return web.Response(status=401)
        for entry in orjson.loads(body)["entry"]:
            for change in entry["changes"]:
                senders = (each["from"] for each in change["value"]["messages"])
                found.extend(denied.intersection(senders))
        return web.Response()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/webhook", receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(serve())
