"""Bulk jobs: cuts a list into chunks, sends them, and merges the answers into one report.

One task reads the source, never further ahead than is sent, and a bounded number of workers sends
chunks of users from an `Outbox`, whose docstring has the states of a user.

A job that cannot go on is *drained*: no new request starts, those on the wire finish, and then
`Incomplete` says for each user what became of it.  A job whose time is over, or whose client is
closed, is *aborted*: its requests on the wire are cancelled, too.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from blockusers._tools.cancellation import GRACE, Running, no_foreign_cancellation
from blockusers.jobs.notifier import Notifier, OnSettled
from blockusers.jobs.outbox import Chunk, Outbox
from blockusers.jobs.sender import Sender
from blockusers.jobs.source import Source, Users
from blockusers.jobs.state import JobState
from blockusers.pace.protocol import Priority, Slot
from blockusers.values.errors import JobTimedOut, RateLimited
from blockusers.values.outcome import Operation
from blockusers.values.report import Incomplete, Report

_LOG: Final = logging.getLogger("blockusers")

_READ_ON: Final = 1_000_000
"""So many users of a plain iterable are read after an early end: it may be endless."""


class Batcher(Running):
    """Runs jobs: sends lists of users in chunks."""

    def __init__(self, sender: Sender) -> None:
        super().__init__()
        self._sender = sender

    async def run(
        self,
        operation: Operation,
        users: Users,
        on_settled: OnSettled | None = None,
        time_limit: float | None = None,
    ) -> Report:
        """Carry out *operation* on *users*, in at most *time_limit* seconds."""
        sender, source = self._sender, Source(users)
        state = sender.new_state(operation)
        job = _Job(sender, state, source, on_settled)
        started = sender.retry.clock()
        with self.note(job):
            error = await job.run(time_limit)
        report = state.report(sender.retry.clock() - started)
        if error is None:
            return report
        if isinstance(error, Exception):
            raise Incomplete(report, error) from error
        raise error  # a caller's code may raise anything, such as what ends a test

    def drain(self, error: Exception) -> None:
        """End all jobs early, with *error*, as soon as their requests on the wire are answered."""
        for job in self:
            if not job.is_over():
                job.drain(error)

    def abort(self, error: Exception) -> None:
        """End all jobs now, with *error*."""
        for job in self:
            job.abort(error)


class _Drained(Exception):
    """The job is ending; this chunk is not tried again."""


class _Job:
    """One run: the reader, the workers, and how they end."""

    def __init__(
        self, sender: Sender, state: JobState, source: Source, on_settled: OnSettled | None
    ) -> None:
        self._sender = sender
        self._state = state
        self._source = source
        self._outbox = Outbox(source, state, sender)
        self._notifier = Notifier(sender, state, on_settled, self.drain)
        self._error: BaseException | None = None
        self._reads_on_until = math.inf
        self._chunks_in_flight = 0
        self._retries = 0
        self._backing_off = False
        self._users_needed = asyncio.Event()
        self._one_waits = asyncio.Lock()
        self._workers = 0
        self._group: asyncio.TaskGroup
        # All that end at once if the job ends early, and those of them that finish first, for
        # they have a request on the wire, or outcomes of one to report.
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_the_wire: set[asyncio.Task[None] | None] = set()

    # ------------------------------------------------------------------ beginning and end

    async def run(self, time_limit: float | None) -> BaseException | None:
        """Work off the source; return what ended the job early."""
        with ExitStack() as at_end:
            reading = asyncio.ensure_future(self._guard(self._read))
            at_end.callback(reading.cancel)
            if time_limit is not None:
                error = JobTimedOut(f"the job took longer than {time_limit:g} s")
                alarm = asyncio.get_running_loop().call_later(time_limit, self.abort, error)
                at_end.callback(alarm.cancel)
            try:
                await self._work_off(reading)
                # Only a source that nobody reads any more can be read to its end here.
                await self._wait_for_source(reading)
                await self._read_on()
                self._state.conclude()
                await self._notifier.finish()
            except asyncio.CancelledError:
                # There will be no report: of who was not sent there is nothing to say.
                self._state.conclude(only_open=True)
                await self._notifier.finish_within(GRACE)
                await self._wait_for_source(reading)
                raise
        return self._error or self._source.error

    async def _work_off(self, reading: asyncio.Future[None]) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                self._start_worker()
        finally:
            if not self._source.at_end:
                reading.cancel()
            self._outbox.close()

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        task = self._group.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work*; what goes wrong in it ends the job."""
        try:
            with no_foreign_cancellation():
                await work()
        except (asyncio.CancelledError, _Drained):
            pass
        except BaseException as error:
            self.drain(error)

    def drain(self, error: BaseException) -> None:
        """Let nothing start any more: who has no request on the wire stops waiting for one."""
        if self._error is None:
            self._error = error
            for task in self._tasks - self._on_the_wire - {asyncio.current_task()}:
                task.cancel()

    def abort(self, error: Exception) -> None:
        """End now: cancel the requests on the wire, and soon the caller's code."""
        self._error = self._error or error
        self._reads_on_until = asyncio.get_running_loop().time() + GRACE
        for task in self._tasks:
            task.cancel()
        self._notifier.end_within(GRACE)

    async def _wait_for_source(self, reading: asyncio.Future[None]) -> None:
        """Wait until the source is closed, at most GRACE seconds."""
        await asyncio.wait({reading}, timeout=GRACE)
        if not reading.done():
            _LOG.warning("the source of users goes on although its job has ended")

    async def _read_on(self) -> None:
        """Read the rest of a plain source, so that the report names who was not sent.

        It may be endless, unless it has a length. So it is read so far only, and of a job that is
        aborted, for so long.
        """
        loop, at_once = asyncio.get_running_loop(), self._sender.reader.at_once
        left = math.inf if self._source.is_sized else _READ_ON
        while self._source.is_plain and not self._source.at_end and left > 0:
            await self._source.read(int(min(at_once, left)), self._state.admit)
            left -= at_once
            await asyncio.sleep(0)
            if loop.time() > self._reads_on_until and not self._source.is_sized:
                return

    # ------------------------------------------------------------------ what there is to send

    async def _read(self) -> None:
        """Read the source, when a worker needs users, all of it in this one task."""
        try:
            while not self._source.at_end:
                await self._users_needed.wait()
                self._users_needed.clear()
                await self._outbox.fill()
                await asyncio.sleep(0)
        finally:
            await self._source.close()

    async def _next_chunk(self) -> Chunk | None:
        """Wait for users to send, and take them; None is the end of the job."""
        async with self._one_waits:
            while not self.is_over():
                if chunk := self._outbox.take():
                    # The reader may not have seen it; it never reads ahead of what is sent.
                    self._users_needed.clear()
                    return chunk
                self._outbox.changed.clear()
                self._ask_for_more()
                await self._outbox.changed.wait()
        return None

    def is_over(self) -> bool:
        """Say whether there is nothing more to send."""
        if self._error is not None:
            return True
        return self._source.at_end and not self._outbox and not self._chunks_in_flight

    def _ask_for_more(self) -> None:
        """Wake the reader, and begin the pause before a retry if it is due."""
        if not self._source.at_end:
            self._users_needed.set()
        may_have_stalled = self._source.at_end or not self._source.is_plain
        if not self._backing_off and self._may_retry(source_stalls=may_have_stalled):
            self._backing_off = True
            self._start(self._back_off)

    def _may_retry(self, *, source_stalls: bool) -> bool:
        return self._outbox.may_retry(is_idle=source_stalls and not self._chunks_in_flight)

    async def _back_off(self) -> None:
        """Wait before those are sent again who failed for a transient reason.

        They go on waiting if the source turns out not to have stalled: there may be more of them.
        """
        drawn_before = self._outbox.drawn
        await self._sender.retry.pause(self._retries + 1)
        has_stalled = self._source.at_end or self._outbox.drawn == drawn_before
        if self._may_retry(source_stalls=has_stalled):
            self._retries += 1
            self._outbox.retry()
        self._backing_off = False
        self._outbox.changed.set()

    # ------------------------------------------------------------------ sending it

    async def _work(self) -> None:
        while (chunk := await self._next_chunk()) is not None:
            self._chunks_in_flight += 1
            try:
                self._start_worker()
                await self._send_with_retries(chunk)
            finally:
                self._chunks_in_flight -= 1
                self._outbox.changed.set()

    def _start_worker(self) -> None:
        """Start another worker, if there may be work for it and the pace has room."""
        there_is_more = self._outbox.is_ready or not self._source.at_end
        if there_is_more and self._workers < self._sender.pace.max_in_flight:
            self._workers += 1
            self._start(self._work)

    async def _send_with_retries(self, chunk: Chunk) -> None:
        operation, attempt = self._state.operation.value, partial(self._attempt, chunk)
        try:
            await self._sender.with_retries(operation, attempt, Priority.BULK)
            self._notifier.announce()
        finally:
            self._on_the_wire.discard(asyncio.current_task())

    async def _attempt(self, chunk: Chunk, slot: Slot) -> None:
        worker = asyncio.current_task()
        self._outbox.shorten(chunk, max(1, slot.max_users))
        slot.users = len(chunk.users)
        self._on_the_wire.add(worker)
        try:
            settled = await self._sender.send(self._state, chunk.users)
        except BaseException as error:
            self._on_the_wire.discard(worker)
            if self._error is None or not isinstance(error, Exception):
                raise
            if isinstance(error, RateLimited):
                slot.rate_limited(error.retry_after)
            raise _Drained from None
        self._outbox.release(settled)
        if self._state.full is not None:
            self.drain(self._state.full)
