"""Bulk jobs: cuts a list into chunks, sends them, and accounts for every user on it.

Workers draw chunks from one shared source, never further ahead than they send.  What an answer
settles is handed on at once.  Users that failed for a passing reason are pooled, and when the
source is at its end the pool is sent again, in chunks of its own.

A job that cannot go on is *drained*: no new request starts, those on the wire finish, and then
`Incomplete` says for each user what became of it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

import attrs

from blockusers.cancelling import no_foreign_cancellation
from blockusers.checks import number
from blockusers.controller import LARGEST_REQUEST, Slot
from blockusers.errors import BlocklistFull, RateLimited
from blockusers.events import UsersSettled
from blockusers.identifiers import INTERNATIONAL, Identifiers, Reader
from blockusers.ledger import Ledger
from blockusers.models import Operation
from blockusers.observing import Observers
from blockusers.pacing import Pace, Priority
from blockusers.report import Incomplete, Outcome, Report, User, Verdicts
from blockusers.retry import RetryPolicy
from blockusers.sources import Source, Users
from blockusers.turns import Turns

_LOG: Final = logging.getLogger("blockusers")

Transact: TypeAlias = Callable[[Operation, Identifiers], Awaitable[Verdicts]]
"""Sends one request that names these users; returns a verdict for each, in their order."""

OnSettled: TypeAlias = Callable[[tuple[Outcome, ...]], object]
"""Called, and awaited if it is async, with outcomes as they become final; never twice at once."""

_LAST_WORDS: Final = 1.0
"""Seconds that an async `on_settled` gets when the job is cancelled."""


@attrs.frozen
class Batcher:
    """Works off lists of users in chunks."""

    transact: Transact
    """Sends one request."""
    retry: RetryPolicy = attrs.field(kw_only=True)
    """When to try again."""
    pace: Pace = attrs.field(kw_only=True)
    """When a request may leave, and how many users it may name."""
    turns: Turns = attrs.field(factory=Turns, kw_only=True)
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
    _running: set[_Job] = attrs.field(factory=set[Any], init=False, repr=False)

    async def run(
        self, operation: Operation, users: Users, on_settled: OnSettled | None = None
    ) -> Report:
        """Carry out *operation* on *users*.

        Raises:
            TypeError: *users* is no list of users.
            Incomplete: The job ended early; its report accounts for every user.
        """
        source = Source(users)
        ledger = Ledger(operation, self.retry.attempts, self.reader)
        job = _Job(self, ledger, source, on_settled)
        started = self.retry.clock()
        self._running.add(job)
        try:
            error = await job.run()
        finally:
            self._running.remove(job)
            await source.close()
        report = ledger.report(self.retry.clock() - started)
        if error is not None:
            raise Incomplete(report, error) from error
        return report

    def stop(self, error: Exception) -> None:
        """End all jobs early, with *error*."""
        for job in self._running:
            job.end(error)


class _Drained(Exception):
    """The job is ending; this chunk is not tried again."""


class _Job:
    """One run: the workers, and how they end."""

    def __init__(
        self, settings: Batcher, ledger: Ledger, source: Source, on_settled: OnSettled | None
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._source = source
        self._crier = _Crier(ledger, on_settled, settings.observers, self.end)
        self._error: Exception | None = None
        self.operation = ledger.operation
        # Drawn already, and to be sent before all others.
        self._aside: deque[int] = deque()
        # Drawn already, but another request that names them comes first.
        self._behind: dict[str, int] = {}
        self._turn_came = asyncio.Event()
        self._drawing = asyncio.Lock()
        self._workers: set[asyncio.Task[None]] = set()
        # Those with a request on the wire, or news of it to hand on: the end waits for them.
        self._busy: set[asyncio.Task[None] | None] = set()

    async def run(self) -> Exception | None:
        """Work off the source; return what ended the job early."""
        try:
            await self._work_off()
            self._give_users_up()
            await self._wind_up()
        except asyncio.CancelledError:
            self._give_users_up()
            self._ledger.conclude(only_open=True)
            await self._crier.last_words()
            raise
        return self._error or self._source.error

    def comes(self, key: str) -> None:
        """Hear that no other request names this user any more."""
        self._aside.append(self._behind.pop(key))
        self._turn_came.set()

    def hurry(self) -> None:
        """Send what was drawn, although the source has not given a whole chunk yet."""
        waits_for_source = self._drawing.locked() and not self._source.is_plain
        if waits_for_source and self._aside and self._error is None:
            work = self._work(self._take())
            try:
                self._workers.add(self._group.create_task(work))
            except RuntimeError:  # the job is being cancelled
                work.close()

    def _give_users_up(self) -> None:
        """Let others have the users that are not settled; those without an answer not at once."""
        ledger, turns = self._ledger, self._settings.turns
        turns.leave(self, ledger.keys(ledger.open), unanswered=True)
        turns.leave(self, ledger.keys(ledger.unsettled))

    async def _work_off(self) -> None:
        await self._round(self._work())
        rounds = 0
        while self._error is None:
            if self._ledger.pool:
                rounds += 1
                await self._round(self._work_pool_off(rounds))
            elif self._behind:
                await self._turn_came.wait()
                await self._round(self._work())
            elif not self._aside:
                return
            else:
                await self._round(self._work())

    async def _round(self, work: Coroutine[Any, Any, None]) -> None:
        self._turn_came.clear()
        self._workers.clear()
        async with asyncio.TaskGroup() as self._group:
            self._workers.add(self._group.create_task(work))

    async def _work_pool_off(self, rounds: int) -> None:
        await self._settings.retry.pause(rounds)
        self._aside.extend(self._ledger.pool)
        self._ledger.pool.clear()
        await self._work()

    def _hire(self) -> None:
        """Start another worker, if there may be work for it."""
        may_hire = len(self._workers) < self._settings.pace.max_in_flight
        if may_hire and (self._aside or not self._source.at_end):
            self._workers.add(self._group.create_task(self._work()))

    async def _wind_up(self) -> None:
        """Enter the rest of a plain source; hand on what is final only now."""
        while self._source.is_plain and not self._source.at_end:
            await self._source.read(self._settings.reader.at_once, self._ledger.admit)
            await asyncio.sleep(0)
        self._ledger.conclude()
        self._crier.announce()
        await self._crier.finish()

    async def _work(self, chunk: list[int] | None = None) -> None:
        try:
            while self._error is None and (chunk := chunk or await self._draw()):
                self._hire()
                await self._settle(chunk)
                chunk = None
        except _Drained:
            pass
        except Exception as error:
            self.end(error)

    def end(self, error: Exception) -> None:
        """Let nothing start any more: who has no request on the wire stops waiting for one."""
        if self._error is None:
            self._error = error
            self._turn_came.set()
            for worker in self._workers - self._busy - {asyncio.current_task()}:
                worker.cancel()

    async def _draw(self) -> list[int]:
        """Return the next chunk, an empty one at the end."""
        async with self._drawing:
            size, at_once = self._settings.chunk_size, self._settings.reader.at_once
            while (missing := size - len(self._aside)) > 0 and not self._source.at_end:
                await self._source.read(min(missing, at_once), self._admit)
                await asyncio.sleep(0)
            return self._take()

    def _take(self) -> list[int]:
        size = min(self._settings.chunk_size, len(self._aside))
        return [self._aside.popleft() for _ in range(size)]

    def _admit(self, users: Sequence[User]) -> None:
        places = self._ledger.admit(users)
        keys = self._ledger.keys(places)
        if waiting := self._settings.turns.join(self, keys):
            lined_up = dict(zip(keys, places, strict=True))
            self._behind.update({key: lined_up.pop(key) for key in waiting})
            places = list(lined_up.values())
        self._aside.extend(places)

    async def _settle(self, chunk: list[int]) -> None:
        async def attempt(slot: Slot) -> None:
            self._aside.extendleft(reversed(chunk[slot.max_users :]))
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
        on_retry = settings.observers.retrying(self._ledger.operation.value)
        try:
            await settings.retry.run(attempt, settings.pace, Priority.BULK, on_retry)
            self._crier.announce()
        finally:
            self._busy.discard(asyncio.current_task())

    async def _send(self, chunk: Sequence[int]) -> None:
        users = self._ledger.named(chunk)
        was_open = self._ledger.send(chunk)
        self._busy.add(asyncio.current_task())
        try:
            with no_foreign_cancellation():
                verdicts = await self._settings.transact(self._ledger.operation, users)
        except BaseException as error:
            self._busy.discard(asyncio.current_task())
            self._ledger.unanswered(chunk, was_open, error)
            raise
        settled = self._ledger.keys(self._ledger.answered(chunk, verdicts))
        self._settings.turns.leave(self, settled)
        if fault := self._ledger.full:
            self.end(BlocklistFull(fault.message, fault.code, details=fault.details))


class _Crier:
    """Hands outcomes on as they become final, one call at a time.

    The job goes on meanwhile: an async function may wait for single calls on users of the job.
    """

    def __init__(
        self,
        ledger: Ledger,
        on_settled: OnSettled | None,
        observers: Observers,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._ledger = ledger
        self._on_settled = on_settled
        self._observers = observers
        self._on_error = on_error
        self._telling: asyncio.Future[object] | None = None

    def announce(self) -> None:
        """Hand on the news, or do so once the call before has ended."""
        if self._telling is None:
            try:
                self._tell()
            except Exception as error:
                self._fail(error)

    def _tell(self) -> None:
        news = self._ledger.news.copy()
        self._ledger.news.clear()
        if news:
            tally = self._ledger.tally(news)
            self._observers.tell(UsersSettled(self._ledger.operation.value, tally))
        if news and self._on_settled is not None:
            with no_foreign_cancellation():
                result = self._on_settled(self._ledger.outcomes.at(news))
            if inspect.isawaitable(result):
                self._telling = asyncio.ensure_future(result)
                self._telling.add_done_callback(self._told)

    def _told(self, telling: asyncio.Future[object]) -> None:
        self._telling = None
        if telling.cancelled():
            self._fail(RuntimeError("on_settled was cancelled"))
        elif isinstance(error := telling.exception(), Exception):
            self._fail(error)
        self.announce()

    def _fail(self, error: Exception) -> None:
        self._on_settled = None
        self._on_error(error)

    async def finish(self) -> None:
        """Wait until all news are handed on."""
        while self._telling is not None:
            await asyncio.wait({self._telling})

    async def last_words(self) -> None:
        """Hand on the news although the job is cancelled; wait a second at most."""
        self._on_error = _log_last_error
        self.announce()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await self.finish()
        finally:
            if self._telling is not None:
                self._telling.remove_done_callback(self._told)
                self._telling.cancel()


def _log_last_error(error: Exception) -> None:
    # Its text may hold anybody's number.
    _LOG.warning("on_settled failed in a cancelled job: %s", type(error).__name__)
