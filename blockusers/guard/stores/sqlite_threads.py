"""The two threads of a SQLite store: one writes and one reads, each in groups of jobs."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from blockusers.guard.stores.changes import Changes, call_in
from blockusers.guard.stores.sqlite_file import DatabaseFile
from blockusers.values.errors import fresh

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]

_LONGEST_GROUP: Final = 256
_OF_THE_FILE: Final = (sqlite3.OperationalError, sqlite3.DatabaseError)
"""Errors that are not one job's: a full disk, a damaged file. Their subclasses are."""
_POLLED_EVERY: Final = 0.2
"""Seconds between two looks whether another process has changed the file."""


@attrs.define(eq=False)
class Job:
    """Something to do with the connection of a thread, and who waits for it."""

    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    wakes: bool = False
    """Whether a result that is not empty is a change to wait for."""
    cleans: bool = False
    """Whether to leave nothing in the WAL of what was deleted."""
    result: Any = None
    error: Exception | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Do it, and keep its error if that is its own; raise one that is everybody's."""
        try:
            self.result = self.work(connection)
        except Exception as error:
            if type(error) in _OF_THE_FILE:
                raise
            self.error = error

    def deliver(self) -> None:
        """Tell who waits, in their event loop."""
        if self.future.done():  # they were cancelled
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class Worker(threading.Thread, ABC):
    """A thread with a connection of its own.  It does all jobs that are queued as one group.

    It connects when it has something to do, again after that has failed.  A job whose caller was
    cancelled is done all the same.
    """

    poll: float | None = None
    """Seconds after which `idle` is called when nothing is to do."""

    def __init__(self, file: DatabaseFile) -> None:
        super().__init__(name=f"blockusers-{type(self).__name__.lower()}", daemon=True)
        self.file = file
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def put(
        self, work: Work[Any], *, wakes: bool = False, cleans: bool = False
    ) -> asyncio.Future[Any]:
        """Queue a job; return a future of its result."""
        loop = asyncio.get_running_loop()
        job = Job(work, loop, loop.create_future(), wakes, cleans)
        self._jobs.put(job)
        return job.future

    def stop(self) -> asyncio.Future[None]:
        """Let it do what is queued, close the connection and end; return a future of that."""
        return self.put(_end)

    def run(self) -> None:
        """Do groups of jobs until one of them ends the thread."""
        connection: sqlite3.Connection | None = None
        opened: tuple[int, int] | None = None
        ends: list[Job] = []
        while not ends:
            jobs = self._next_group(connection)
            ends = [job for job in jobs if job.work is _end]
            works = [job for job in jobs if job.work is not _end]
            try:
                if connection is None:
                    connection, opened = self.connect(), self.file.identity()
                self.file.check_identity(opened)
                self.do_group(connection, works)
            except Exception as error:
                for job in works:
                    job.error = fresh(error)
            _deliver(works)
        if connection is not None:
            self.close(connection)
        _deliver(ends)

    def _next_group(self, connection: sqlite3.Connection | None) -> list[Job]:
        jobs = [self._next(connection)]
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _LONGEST_GROUP:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _next(self, connection: sqlite3.Connection | None) -> Job:
        while connection is not None and self.poll is not None:
            try:
                return self._jobs.get(timeout=self.poll)
            except queue.Empty:
                self.idle(connection)
        return self._jobs.get()

    @abstractmethod
    def connect(self) -> sqlite3.Connection:
        """Return a new connection."""

    @abstractmethod
    def do_group(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Do *jobs*; what it raises is the error of all of them."""

    def idle(self, connection: sqlite3.Connection) -> None:
        """Called now and then when there is nothing to do."""

    def close(self, connection: sqlite3.Connection) -> None:
        """Close the connection."""
        connection.close()


class Writer(Worker):
    """The thread that writes.  A group is a transaction, in which each job can fail by itself.

    When the commit fails, all of its jobs have failed, and none of them has been done.
    """

    poll = _POLLED_EVERY

    def __init__(self, file: DatabaseFile, changes: Changes) -> None:
        super().__init__(file)
        self._changes = changes
        self._data_version = 0

    def connect(self) -> sqlite3.Connection:
        """Open the file, and create it if there is none."""
        connection = self.file.connect_to_write()
        self._data_version = _data_version(connection)
        return connection

    def do_group(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Do *jobs* in one transaction."""
        try:
            with self.file.explained():
                connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    self._do_one(connection, job)
                connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                connection.execute("ROLLBACK")
            raise
        if any(job.wakes and job.result for job in jobs):
            self._changes.note()
        if any(job.cleans for job in jobs):
            _empty_wal(connection)
        self.idle(connection)  # also where there is always something to do

    def _do_one(self, connection: sqlite3.Connection, job: Job) -> None:
        connection.execute("SAVEPOINT job")
        job.run(connection)
        if job.error is not None:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")

    def idle(self, connection: sqlite3.Connection) -> None:
        """Look whether another process has committed something."""
        with contextlib.suppress(sqlite3.Error):
            before, self._data_version = self._data_version, _data_version(connection)
            if self._data_version != before:
                self._changes.note()

    def close(self, connection: sqlite3.Connection) -> None:
        """Close the connection, and leave nothing in the WAL."""
        _empty_wal(connection)
        super().close(connection)
        self._changes.note()


class Reader(Worker):
    """The thread that reads.  The jobs of a group see the same state."""

    def connect(self) -> sqlite3.Connection:
        """Open the file, which the writer has created."""
        return self.file.connect_to_read()

    def do_group(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Do *jobs* in one transaction, which writes nothing."""
        try:
            with self.file.explained():
                connection.execute("BEGIN")
                for job in jobs:
                    job.run(connection)
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")


class Connections:
    """The two threads of a file, while it is open; it may be opened several times."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self._opened = 0
        self._threads: tuple[Writer, Reader] | None = None
        self.changes = Changes()

    async def open(self) -> None:
        """Open the file, and create it if there is none.

        Raises:
            StoreUnavailable: It cannot be opened, or holds something else.
        """
        self._opened += 1
        if self._threads is None:
            self._threads = Writer(self._file, self.changes), Reader(self._file)
            for thread in self._threads:
                thread.start()
        try:
            await self.write(lambda _: None)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the file, unless it was opened more often."""
        self._opened -= 1
        if self._opened == 0:
            threads, self._threads = self.threads, None
            for ended in [thread.stop() for thread in threads]:
                await ended

    @property
    def threads(self) -> tuple[Writer, Reader]:
        """The threads.

        Raises:
            StoreUnavailable: It is not open.
        """
        if self._threads is None:
            raise self._file.unavailable("it is not open; use it inside `async with`")
        return self._threads

    async def write(self, work: Work[T], *, wakes: bool = False, cleans: bool = False) -> T:
        """Do *work* in a transaction; return what it returns.

        Raises:
            StoreUnavailable: It has not been done.
        """
        writer, _ = self.threads
        result: T = await writer.put(work, wakes=wakes, cleans=cleans)
        return result

    async def read(self, work: Work[T]) -> T:
        """Do *work*, which changes nothing; return what it returns.

        Raises:
            StoreUnavailable: The file cannot be read.
        """
        _, reader = self.threads
        result: T = await reader.put(work)
        return result


def _empty_wal(connection: sqlite3.Connection) -> None:
    """Bring the content of the WAL into the file; what was deleted stays in neither.

    Where another process reads just now, its WAL is left for the next time.
    """
    with contextlib.suppress(sqlite3.Error):
        (before,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.execute(f"PRAGMA busy_timeout = {before}")


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits."""
    (version,) = connection.execute("PRAGMA data_version").fetchone()
    return int(version)


def _deliver(jobs: Iterable[Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, those in by_loop.items():
        call_in(loop, _deliver_here, those)


def _deliver_here(jobs: Iterable[Job]) -> None:
    for job in jobs:
        job.deliver()


def _end(_: sqlite3.Connection) -> None:
    """Stand for the job that ends a thread."""
