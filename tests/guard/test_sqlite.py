"""What only the SQLite store promises: its files, other processes, and outages."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockusers.guard.entries import Entry
from blockusers.guard.intents import Intent, Result
from blockusers.guard.stores.protocol import Filter, StoreUnavailable
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.guard.stores.sqlite_file import DatabaseFile
from blockusers.values.outcome import Operation
from tests.support import Clock

HERE = "106540352242922"
ANN, BOB = "16505551231", "16505551232"
ALL = Filter()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deny.db"


@pytest.fixture
async def store(path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, clock=clock, busy_timeout=0.05) as store:
        yield store


def block(person: str = ANN) -> Intent:
    return Intent(HERE, person, Operation.BLOCK, person, (person,), person, 1000.0)


async def fails_to_open(path: Path, message: str) -> None:
    with pytest.raises(StoreUnavailable, match=message) as caught:
        async with SqliteStore(path, busy_timeout=0.05):
            raise AssertionError
    assert str(path) in str(caught.value)


# --------------------------------------------------------------------------- files


async def test_only_the_owner_may_read_it(store: SqliteStore, path: Path) -> None:
    """All files have mode 0600, whatever the umask; none is left but the file and the locks."""
    async with store.queue(HERE):
        await store.add([Entry(ANN)])
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    names = ["deny.db", "deny.db-shm", "deny.db-wal", f"deny.db.{HERE}.lock"]
    assert files == dict.fromkeys(names, 0o600)


async def test_leaves_no_wal(path: Path) -> None:
    """When it is closed, everything is in one file."""
    async with SqliteStore(path) as store, SqliteStore(path):
        await store.add([Entry(ANN)])
    assert [file.name for file in path.parent.iterdir()] == ["deny.db"]
    assert size(path)


async def test_is_shown_by_its_path(path: Path) -> None:
    """Its representation names the file."""
    assert repr(SqliteStore(path)) == f"<SqliteStore {path}>"


async def test_the_same_file_by_another_name(path: Path) -> None:
    """A link leads to the same list, and to the same locks."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    async with SqliteStore(path) as store, SqliteStore(link) as same:
        await store.add([Entry(ANN)])
        assert await same.count(ALL) == 1
        async with same.queue(HERE):
            assert path.with_name(f"deny.db.{HERE}.lock").exists()


def size(path: Path) -> int:
    return path.stat().st_size


def content(path: Path) -> bytes:
    return path.read_bytes()


def spoil(path: Path) -> None:
    """Write over all but the first page."""
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size(path) - 4096))


def foreign(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")


def newer(path: Path) -> None:
    asyncio.run(opened(path))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")


async def opened(path: Path) -> None:
    async with SqliteStore(path):
        pass


OTHERS = {
    "text": (lambda path: path.write_text("a,b\n" * 1000), "it is not a SQLite database"),
    "one byte": (lambda path: path.write_text("x"), "it is not a database of blockusers"),
    "another program's": (foreign, "it is not a database of blockusers; name another file"),
    "a folder": (lambda path: path.mkdir(), "it is a folder, a device or a pipe"),
    "a pipe": (os.mkfifo, "it is a folder, a device or a pipe"),
    "a newer version's": (newer, "it was written by a newer version of blockusers; upgrade"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_not_ours_is_left_alone(path: Path, other: str) -> None:
    """The message says what is there; nothing is written, nor put beside it."""
    make, message = OTHERS[other]
    make(path)
    before = content(path) if path.is_file() else b""

    asyncio.run(fails_to_open(path, message))
    assert [file.name for file in path.parent.iterdir()] == ["deny.db"]
    assert not path.is_file() or content(path) == before


async def test_there_is_no_such_folder(tmp_path: Path) -> None:
    """A folder is not created; the message asks for it."""
    await fails_to_open(tmp_path / "lists" / "deny.db", "its folder does not exist; create it")


async def test_a_folder_that_is_a_file(path: Path) -> None:
    """What the operating system says is passed on."""
    await asyncio.to_thread(path.touch)
    await fails_to_open(path / "deny.db", "not a directory")


async def test_it_may_not_be_read(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without permission the message asks for it; root may do everything, so SQLite says so."""

    def denied(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", denied)
    await fails_to_open(path, "it cannot be opened; check that it exists, and that this user may")


def take_away(path: Path, *, is_deleted: bool) -> None:
    """Delete the file, or put another one in its place."""
    if is_deleted:
        path.unlink()
    else:
        other = path.with_suffix(".backup")
        other.touch()
        other.replace(path)


@pytest.mark.parametrize("is_deleted", [False, True])
async def test_another_file_took_its_place(path: Path, *, is_deleted: bool) -> None:
    """Nothing is read from the old file or written to it, for nobody would ever see that."""
    async with SqliteStore(path) as store:
        await store.find([ANN])
        take_away(path, is_deleted=is_deleted)

        for use in (store.find([ANN]), store.add([Entry(ANN)])):
            with pytest.raises(StoreUnavailable, match="another file took its place, or it was"):
                await use


async def test_an_empty_file_is_new(path: Path) -> None:
    """A file that was made by hand, or whose creation was cut short, is used."""
    await asyncio.to_thread(path.touch)
    async with SqliteStore(path) as store:
        assert await store.count(ALL) == 0


async def test_no_copy_of_a_deleted_number_is_left(path: Path) -> None:
    """SQLite leaves copies of what it has moved to another page; once a day they are removed."""
    people = [f"4915{i * 7919 % 10**9:09}" for i in range(3000)]
    clock = Clock(now=2e9)
    async with SqliteStore(path, clock=clock) as store, store.queue(HERE) as queue:
        for operation in Operation:
            await store.want(
                [Intent(HERE, f"#{p[::-1]}", operation, f"+{p}", (p,)) for p in people], {}
            )
            while page := await queue.take(100, 30.0):
                await queue.settle([Result(intent, done=True) for intent in page[::-1]])
        await store.want([block()], {})
        clock.advance(24 * 3600)
        await store.forget(0)
        text = content(path).decode("latin-1")
        assert not {*re.findall(r"(?=(4915\d{9}))", text)} & {*people}
        assert [intent.person for intent in await queue.take(9, 30.0)] == [ANN]


# --------------------------------------------------------------------------- outages


async def test_locked_by_another_process(store: SqliteStore, path: Path) -> None:
    """Who cannot write in time learns why; reading goes on, and so does all when it is free."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        calls = [store.add([Entry(ANN)]), store.want([block()], {})]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, StoreUnavailable)
            assert "another process keeps it locked; end that process" in str(error)
        assert await store.count(ALL) == 0
    assert await store.add([Entry(ANN)]) == (1, 0)


async def test_locked_while_it_is_opened(store: SqliteStore, path: Path) -> None:
    """A store that cannot be opened can be opened later."""
    again = SqliteStore(path, busy_timeout=0.01)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another process keeps it locked"):
            await again.__aenter__()
    async with again:
        assert await again.count(ALL) == 0


async def test_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what did not fit is kept, and what fits is written by itself later."""
    connect = DatabaseFile.connect_to_write

    def small(file: DatabaseFile) -> sqlite3.Connection:
        connection = connect(file)
        connection.execute("PRAGMA max_page_count = 60")
        return connection

    monkeypatch.setattr(DatabaseFile, "connect_to_write", small)
    async with SqliteStore(path) as store:
        calls = [
            store.add([Entry(BOB)]),
            store.add([Entry(f"49{i:09}", reason="x" * i) for i in range(2000)]),
        ]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, StoreUnavailable)
            assert "the disk is full; free some space" in str(error)
        assert await store.count(ALL) == 0
        assert await store.add([Entry(ANN)]) == (1, 0)


async def test_a_disk_that_fails(store: SqliteStore) -> None:
    """When the disk works again, so does the store."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    await store.add([Entry(BOB)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
    try:
        with pytest.raises(StoreUnavailable, match="reading or writing it failed; check the disk"):
            await store.add([Entry(ANN)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert await store.add([Entry(ANN)]) == (1, 0)


async def test_a_damaged_file(path: Path) -> None:
    """What cannot be read is unavailable, with what to do."""
    async with SqliteStore(path) as store:
        await store.add([Entry(f"49{i:09}") for i in range(5000)])
    spoil(path)

    async with SqliteStore(path) as store:
        for call in (store.find([ANN]), store.add([Entry(ANN)])):
            with pytest.raises(StoreUnavailable, match="it is damaged; restore it from a backup"):
                await call


async def test_an_unknown_lock_error(store: SqliteStore, path: Path) -> None:
    """A lock that can never be got is no reason to wait for it."""
    path.with_name(f"deny.db.{HERE}.lock").write_text("no database\n" * 100)

    with pytest.raises(StoreUnavailable, match="lock: it is not a SQLite database"):
        await store.queue(HERE).__aenter__()


# --------------------------------------------------------------------------- other processes

HOLDER = """
import asyncio, sys
from blockusers.guard.stores.sqlite import SqliteStore

async def hold():
    async with SqliteStore(sys.argv[1]) as store, store.queue(sys.argv[2]) as queue:
        print(len(await queue.take(9, 30.0)), flush=True)
        await asyncio.sleep(600)

asyncio.run(hold())
"""
ADDER = """
import asyncio, itertools, sys
from blockusers.guard.entries import Entry
from blockusers.guard.stores.sqlite import SqliteStore

async def add():
    async with SqliteStore(sys.argv[1]) as store:
        for i in itertools.count():
            await store.add([Entry(f"{i:05}a"), Entry(f"{i:05}b")])
            print(i, flush=True)

asyncio.run(add())
"""


@contextlib.contextmanager
def process(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a script that is killed at the end of the block at the latest."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


async def test_a_drain_is_free_when_its_process_is_killed(path: Path) -> None:
    """Another one takes over what was being sent; the opposite of it waits."""
    clock = Clock(now=2_000_000_000.0)
    async with SqliteStore(path, clock=clock) as store:
        await store.want([block(ANN), block(BOB)], {})
        with process(
            HOLDER.replace("argv[1])", "argv[1], clock=lambda: 2e9)"), path, HERE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "2\n"
            waiting = asyncio.create_task(store.queue(HERE).__aenter__())
            assert not (await asyncio.wait([waiting], timeout=0.05))[0]
            child.send_signal(signal.SIGKILL)
            queue = await asyncio.wait_for(waiting, 30)
        await store.want([Intent(HERE, BOB, Operation.UNBLOCK, BOB)], {})
        assert [intent.person for intent in await queue.take(9, 30.0)] == [ANN]
        assert await queue.due_at() == clock.now + 30.0


def test_killed_in_the_middle(path: Path) -> None:
    """What was answered is there after a kill; what was not is there whole or not at all."""
    with process(ADDER, path) as child:
        assert child.stdout is not None
        done = [int(child.stdout.readline()) for _ in range(20)]
        child.kill()
        done += [int(line) for line in child.stdout.read().splitlines()]

    async def users() -> list[str]:
        async with SqliteStore(path) as store:
            return [entry.user for entry in await store.entries(ALL, None, 10**6)]

    there = asyncio.run(users())
    assert len(there) - 2 * len(done) in (0, 2)
    assert there == [f"{i:05}{name}" for i in range(len(there) // 2) for name in "ab"]


async def test_two_processes_write(store: SqliteStore, path: Path) -> None:
    """A process that writes all the time leaves room for others."""
    with process(ADDER, path) as child:
        assert child.stdout is not None
        child.stdout.readline()
        other = SqliteStore(path)
        async with other:
            for i in range(20):
                assert await other.add([Entry(f"49{i}")]) == (1, 0)


# --------------------------------------------------------------------------- speed


async def test_no_statement_reads_a_whole_table(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each finds its rows by an index, so that a million entries cost no more than ten.

    But for what scrubs intents and records once a day.
    """
    statements: set[str] = set()
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(statements.add)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    async with SqliteStore(path, clock=clock) as store:
        await everything(store, clock)
    monkeypatch.undo()
    async with SqliteStore(path):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for statement in sorted(statements):
                if re.match(
                    "(SELECT(?! \\*)|UPDATE|DELETE|INSERT)(?!.* LIMIT 1$)", statement.strip()
                ):
                    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
                    assert not [row[3] for row in plan if scans(row[3])], statement


def scans(step: str) -> bool:
    """Whether a step of a plan reads all rows of a table, which are not few."""
    return step.startswith("SCAN") and not any(
        harmless in step
        for harmless in ("json_each", "CONSTANT ROW", "texts_of_origins", "SCAN sequence")
    )


async def everything(store: SqliteStore, clock: Clock) -> None:
    """Call all methods once."""
    ours = [Entry(str(i), origin="x", expires_at=2000.0) for i in range(9)]
    await store.add(ours)
    await store.add([Entry("0", origin="x", reason="y"), *ours[1:]])
    await store.setting("a", "b")
    await store.want([block("1"), block("2"), block("3")], {"a": "1"})
    await store.find(["1", "a"])
    await store.entries(ALL, ours[0], 9)
    await store.entries(Filter(["1"], "*"), None, 9)
    await store.count(ALL)
    async with store.queue(HERE) as queue:
        await queue.take(9, 30.0)
    async with store.queue(HERE) as queue:
        await queue.settle([Result(intent, done=True) for intent in await queue.take(9, 30.0)])
        await queue.make_room(1, ["2"])
        await queue.due_at()
        await store.remove(Filter(origin="x", users=["2"]))
        await queue.rechecks(9)
        await queue.rechecked({"1": "1"}, [])
    await store.counts(HERE)
    await store.move(["1"], "77", clock.now + 1, "m")
    await store.move(["1"], "77", clock.now + 1, "m")
    await store.erase(["1"], ["1"])
    clock.now = 3000.0
    await store.expire()
    await store.remove(ALL)
    await store.forget(4000.0)
