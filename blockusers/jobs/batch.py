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
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import attrs

from blockusers._tools.arguments import number
from blockusers._tools.cancellation import Running, no_foreign_cancellation
from blockusers.jobs.notifier import Notifier, OnSettled
from blockusers.jobs.outbox import Outbox
from blockusers.jobs.source import Source, Users
from blockusers.jobs.state import JobState
from blockusers.jobs.user_order import UserOrder
from blockusers.observe.observers import Observers
from blockusers.pace.protocol import LARGEST_REQUEST, Pace, Priority, Slot
from blockusers.protocol.retry import RetryPolicy
from blockusers.values.columns import Verdicts
from blockusers.values.errors import JobTimedOut, RateLimited
from blockusers.values.outcome import Operation
from blockusers.values.report import Incomplete, Report
from blockusers.values.users import INTERNATIONAL, Identifiers, Reader

_LOG: Final = logging.getLogger("blockusers")

Transact: TypeAlias = Callable[[Operation, Identifiers], Awaitable[Verdicts]]
"""Sends one request that names these users; returns a verdict for each, in their order."""

GRACE: Final = 1.0
"""Seconds that a caller's own code (a source, an async `on_settled`) gets to end when the job is
cancelled or aborted."""

_READ_ON: Final = 1_000_000
"""So many users of a plain iterable are read after an early end: it may be endless."""


@attrs.frozen
class Batcher:
    """Sends lists of users in chunks."""

    transact: Transact
    """Sends one request."""
    retry: RetryPolicy = attrs.field(kw_only=True)
    """When to try again."""
    pace: Pace = attrs.field(kw_only=True)
    """When a request may leave, and how many users it may name."""
    order: UserOrder = attrs.field(factory=UserOrder, kw_only=True)
    """The order of operations on the same user."""
    chunk_size: int = attrs.field(
        default=LARGEST_REQUEST,
        kw_only=True,
        validator=number(whole=True, least=1, most=LARGEST_REQUEST),
    )
    """Most users in one request."""
    observers: Observers = attrs.field(factory=Observers, kw_only=True)
    """Who is told of retries, and of how many users are settled."""
    reader: Reader = attrs.field(default=INTERNATIONAL, kw_only=True)
    """Reads what users are named."""
    _running: Running = attrs.field(factory=Running, init=False, repr=False)

    async def run(
        self,
        operation: Operation,
        users: Users,
        on_settled: OnSettled | None = None,
        time_limit: float | None = None,
    ) -> Report:
        """Carry out *operation* on *users*, in at most *time_limit* seconds.

        Raises:
            TypeError: *users* is no list of users.
            Incomplete: The job ended early; its report accounts for every user.
        """
        source = Source(users)
        state = JobState(operation, self.retry.attempts, self.reader)
        job = _Job(self, state, source, on_settled)
        started = self.retry.clock()
        with self._running.note(job):
            error = await job.run(time_limit)
        report = state.report(self.retry.clock() - started)
        if error is not None:
            raise Incomplete(report, error) from error
        return report

    def drain(self, error: Exception) -> None:
        """End all jobs early, with *error*, as soon as their requests on the wire are answered."""
        for job in self._running:
            if not job.is_over():
                job.drain(error)

    def abort(self, error: Exception) -> None:
        """End all jobs now, with *error*."""
        for job in self._running:
            job.abort(error)

    async def ended(self, within: float) -> None:
        """Wait until no job is running, for at most so many seconds."""
        await self._running.ended(within)


class _Drained(Exception):
    """The job is ending; this chunk is not tried again."""


class _Job:
    """One run: the reader, the workers, and how they end."""

    def __init__(
        self, settings: Batcher, state: JobState, source: Source, on_settled: OnSettled | None
    ) -> None:
        self._settings = settings
        self._state = state
        self._source = source
        self._outbox = Outbox(state, settings.order, settings.chunk_size)
        self._notifier = Notifier(state, on_settled, settings.observers, self.drain)
        self._error: Exception | None = None
        self._chunks_in_flight = 0
        self._retries = 0
        self._backing_off = False
        self._users_needed = asyncio.Event()
        self._one_waits = asyncio.Lock()
        self._workers: set[asyncio.Task[None]] = set()
        # All that end at once if the job ends early, and those of them that finish first, for
        # they have a request on the wire, or outcomes of one to report.
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_the_wire: set[asyncio.Task[None] | None] = set()

    # ------------------------------------------------------------------ beginning and end

    async def run(self, time_limit: float | None) -> Exception | None:
        """Work off the source; return what ended the job early."""
        reading = asyncio.ensure_future(self._read())
        with self._time_limit(time_limit):
            try:
                await self._work_off(reading)
                await self._end(reading)
                await self._read_on()
                self._state.conclude()
                await self._notifier.finish()
            except asyncio.CancelledError:
                self._state.conclude(only_open=True)
                await self._notifier.finish(within=GRACE)
                await self._end(reading)
                raise
            finally:
                reading.cancel()
        return self._error or self._source.error

    @contextmanager
    def _time_limit(self, seconds: float | None) -> Iterator[None]:
        if seconds is None:
            yield
            return
        error = JobTimedOut(f"the job took longer than {seconds:g} s")
        alarm = asyncio.get_running_loop().call_later(seconds, self.abort, error)
        try:
            yield
        finally:
            alarm.cancel()

    async def _work_off(self, reading: asyncio.Future[None]) -> None:
        try:
            async with asyncio.TaskGroup() as self._group:
                self._start(self._work(), self._workers)
        finally:
            if not self._source.at_end:
                reading.cancel()
            self._outbox.close()

    def _start(self, work: Coroutine[Any, Any, None], *registers: set[asyncio.Task[None]]) -> None:
        task = self._group.create_task(work)
        for register in (self._tasks, *registers):
            register.add(task)
            task.add_done_callback(register.discard)

    def drain(self, error: Exception) -> None:
        """Let nothing start any more: who has no request on the wire stops waiting for one."""
        if self._error is None:
            self._error = error
            for task in self._tasks - self._on_the_wire - {asyncio.current_task()}:
                task.cancel()

    def abort(self, error: Exception) -> None:
        """End now: cancel the requests on the wire, and soon the caller's code."""
        self._error = self._error or error
        for task in self._tasks:
            task.cancel()
        self._notifier.end_within(GRACE)

    async def _end(self, reading: asyncio.Future[None]) -> None:
        """Wait until the source is closed."""
        await asyncio.wait({reading}, timeout=GRACE)
        if not reading.done():
            _LOG.warning("the source of users goes on although its job has ended")

    async def _read_on(self) -> None:
        """Read the rest of a plain source, so that the report names who was not sent."""
        at_once, left = self._settings.reader.at_once, _READ_ON
        while self._source.is_plain and not self._source.at_end and left > 0:
            await self._source.read(min(at_once, left), self._outbox.add)
            left -= at_once
            await asyncio.sleep(0)

    # ------------------------------------------------------------------ what there is to send

    async def _read(self) -> None:
        """Read the source, when a worker needs users, all of it in this one task."""
        try:
            while not self._source.at_end:
                await self._users_needed.wait()
                self._users_needed.clear()
                count = min(self._outbox.missing, self._settings.reader.at_once)
                await self._source.read(count, self._outbox.add)
                self._outbox.changed.set()
                await asyncio.sleep(0)
        finally:
            await self._source.close()

    async def _next_queue(self) -> deque[int] | None:
        """Wait for users to send, and return where they are; None is the end of the job."""
        async with self._one_waits:
            while not self.is_over():
                if queue := self._outbox.sendable(all_drawn=self._source.at_end):
                    self._users_needed.clear()
                    return queue
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
        """See to it that there will be something to send."""
        if not self._source.at_end:
            self._users_needed.set()
        may_have_stalled = self._source.at_end or not self._source.is_plain
        is_idle = may_have_stalled and not self._chunks_in_flight
        is_time = is_idle or self._outbox.is_retry_wanted
        if self._state.to_retry and is_time and not self._backing_off:
            self._backing_off = True
            self._start(self._back_off())

    async def _back_off(self) -> None:
        """Wait before those are sent again who failed for a transient reason.

        They go on waiting if the source turns out not to have stalled: there may be more of them.
        """
        drawn_before = self._outbox.drawn
        await self._settings.retry.pause(self._retries + 1)
        has_stalled = self._source.at_end or self._outbox.drawn == drawn_before
        if self._outbox.is_retry_wanted or (has_stalled and not self._chunks_in_flight):
            self._retries += 1
            self._outbox.retry()
        self._backing_off = False
        self._outbox.changed.set()

    # ------------------------------------------------------------------ sending it

    async def _work(self) -> None:
        try:
            while (queue := await self._next_queue()) is not None:
                chunk = self._outbox.cut(queue)
                self._chunks_in_flight += 1
                try:
                    self._hire()
                    await self._settle(chunk, queue)
                finally:
                    self._chunks_in_flight -= 1
                    self._outbox.changed.set()
        except _Drained:
            pass
        except Exception as error:
            self.drain(error)

    def _hire(self) -> None:
        """Start another worker, if there may be work for it."""
        there_is_more = self._outbox.is_ready or not self._source.at_end
        if there_is_more and len(self._workers) < self._settings.pace.max_in_flight:
            self._start(self._work(), self._workers)

    async def _settle(self, chunk: list[int], queue: deque[int]) -> None:
        async def attempt(slot: Slot) -> None:
            if len(chunk) > slot.max_users:
                self._outbox.put_back(chunk[slot.max_users :], queue)
                del chunk[slot.max_users :]
            slot.users = len(chunk)
            try:
                await self._send(chunk)
            except Exception as error:
                if self._error is None:
                    raise
                if isinstance(error, RateLimited):
                    slot.rate_limited(error.retry_after)
                raise _Drained from None

        settings = self._settings
        on_retry = settings.observers.retrying(self._state.operation.value)
        try:
            await settings.retry.run(attempt, settings.pace, Priority.BULK, on_retry)
            self._notifier.announce()
        finally:
            self._on_the_wire.discard(asyncio.current_task())

    async def _send(self, chunk: Sequence[int]) -> None:
        users = self._state.named(chunk)
        was_open = self._state.send(chunk)
        self._on_the_wire.add(asyncio.current_task())
        try:
            with no_foreign_cancellation():
                verdicts = await self._settings.transact(self._state.operation, users)
        except BaseException as error:
            self._on_the_wire.discard(asyncio.current_task())
            if self._state.unanswered(chunk, was_open, error):
                self._settings.order.lost(self._state.operation, users.keys)
            raise
        self._outbox.settle(self._state.answered(chunk, verdicts))
        if self._state.full is not None:
            self.drain(self._state.full)
