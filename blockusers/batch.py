"""Bulk jobs: cuts a list into chunks, sends them, and accounts for every user on it.

Workers draw chunks from one shared source, never further ahead than they send.  What an answer
settles is handed on at once.  Users that failed for a passing reason are pooled, and when the
source is at its end the pool is sent again, in chunks of its own.

A job that cannot go on is *drained*: no new request starts, those on the wire finish, and then
`Incomplete` says for each user what became of it.  Between `UNKNOWN` and `REMAINING` decides one
flag per user: whether an attempt is *open*, that is, was sent and never answered.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from blockusers import identifiers
from blockusers.checks import number
from blockusers.errors import ApiError, BlocklistFull, ClientClosed, RateLimited, TransportError
from blockusers.identifiers import Identifier
from blockusers.models import Fault, Operation, Reaction, Status, known
from blockusers.pacing import LARGEST_REQUEST, Pace, Priority, Slot
from blockusers.report import Incomplete, Outcome, Report, User, named_by
from blockusers.retry import RetryPolicy
from blockusers.sources import Source, Users
from blockusers.wire import Verdict

_LOG: Final = logging.getLogger("blockusers")

Transact: TypeAlias = Callable[[Operation, Sequence[Identifier]], Awaitable[dict[str, Verdict]]]
"""Sends one request that names these users; returns a verdict for each, by its key."""

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
    chunk_size: int = attrs.field(
        default=LARGEST_REQUEST,
        kw_only=True,
        validator=number(whole=True, least=1, most=LARGEST_REQUEST),
    )
    """Most users in one request."""

    async def run(
        self, operation: Operation, users: Users, on_settled: OnSettled | None = None
    ) -> Report:
        """Carry out *operation* on *users*.

        Raises:
            TypeError: *users* is no list of users.
            Incomplete: The job ended early; its report accounts for every user.
        """
        source = Source(users)
        ledger = _Ledger(operation, self.retry.attempts)
        started = self.retry.clock()
        try:
            error = await _Job(self, ledger, source, _Crier(ledger, on_settled)).run()
        finally:
            await source.close()
        report = ledger.report(self.retry.clock() - started)
        if error is not None:
            raise Incomplete(report, error) from error
        return report


@attrs.define(eq=False)
class _Entry:
    """One distinct user of a job, before its outcome is final."""

    input: Any
    identifier: Identifier
    verdict: Verdict = Verdict(Status.REMAINING)
    """The last answer about this user."""
    attempts: int = 0
    """Answers so far that named a passing fault."""
    open: bool = False
    """Whether an attempt was sent and not answered since."""
    uncertain: bool = False
    """Whether any attempt was left without an answer."""
    outcome: Outcome | None = None
    """The final word."""

    def conclude(self) -> Outcome:
        verdict = self.verdict
        status = Status.UNKNOWN if self.open else verdict.status
        uncertain = self.uncertain and status is not Status.DONE
        self.outcome = Outcome(
            self.input, status, verdict.wa_id, verdict.user_id, verdict.faults, uncertain
        )
        return self.outcome


class _Ledger:
    """The books of one job: who was handed in, and what each answer said."""

    def __init__(self, operation: Operation, attempts: int) -> None:
        self.operation = operation
        self.pool: list[_Entry] = []
        """Those that failed for a passing reason, to be sent again."""
        self.news: list[Outcome] = []
        """What became final and was not handed on yet."""
        self._attempts = attempts
        self._entries: dict[str, _Entry] = {}
        self._order: list[_Entry | Outcome] = []
        self._repeats = self._requests = self._rate_limited = 0

    def admit(self, user: User) -> _Entry | None:
        """Enter a user; return None for a repeat, and for what names nobody."""
        named = named_by(user)
        try:
            identifier = identifiers.read(named)
        except ValueError as error:
            refused = Outcome(named, Status.FAILED, faults=(Fault(None, str(error)),))
            self._order.append(refused)
            self.news.append(refused)
            return None
        if identifier.key in self._entries:
            self._repeats += 1
            return None
        entry = self._entries[identifier.key] = _Entry(named, identifier)
        self._order.append(entry)
        return entry

    def answered(self, chunk: Sequence[_Entry], verdicts: dict[str, Verdict]) -> Fault | None:
        """Book an answer; return the fault by which it says that the blocklist is full."""
        self._requests += 1
        full = None
        for entry in chunk:
            entry.verdict, entry.open = verdicts[entry.identifier.key], False
            if not self._pooled(entry):
                outcome = entry.conclude()
                self.news.append(outcome)
                full = full or self._full(outcome)
        return full

    def _pooled(self, entry: _Entry) -> bool:
        verdict = entry.verdict
        if verdict.status is not Status.FAILED or not all(f.transient for f in verdict.faults):
            return False
        entry.attempts += 1
        if entry.attempts >= self._attempts:
            return False
        self.pool.append(entry)
        return True

    def _full(self, outcome: Outcome) -> Fault | None:
        code = known(outcome.fault.code) if outcome.fault else None
        full = code is not None and code.reaction is Reaction.STOP_BLOCKING
        return outcome.fault if full and self.operation is Operation.BLOCK else None

    def unanswered(
        self, chunk: Sequence[_Entry], was_open: Sequence[bool], error: BaseException
    ) -> None:
        """Book an attempt that ended in *error*."""
        self._requests += _was_sent(error)
        self._rate_limited += isinstance(error, RateLimited)
        harmless = _had_no_effect(error)
        for entry, before in zip(chunk, was_open, strict=True):
            entry.open = before if harmless else True
            entry.uncertain = entry.uncertain or entry.open

    def conclude(self, *, only_open: bool = False) -> None:
        """Make every outcome final; with *only_open*, of those who may be affected."""
        for entry in self._entries.values():
            if entry.outcome is None and (entry.open or not only_open):
                self.news.append(entry.conclude())

    def report(self, elapsed: float) -> Report:
        outcomes = (
            entry if isinstance(entry, Outcome) else entry.outcome or entry.conclude()
            for entry in self._order
        )
        return Report(
            self.operation,
            tuple(outcomes),
            repeats=self._repeats,
            requests=self._requests,
            rate_limited=self._rate_limited,
            elapsed=elapsed,
        )


def _was_sent(error: BaseException) -> bool:
    match error:
        case TransportError():
            return error.sent
        case ApiError():
            return error.status is not None
        case _:
            return not isinstance(error, ClientClosed)


def _had_no_effect(error: BaseException) -> bool:
    return not _was_sent(error) or (isinstance(error, ApiError) and error.refused)


class _Drained(Exception):
    """The job is ending; this chunk is not tried again."""


class _Job:
    """One run: the workers, and how they end."""

    def __init__(self, settings: Batcher, ledger: _Ledger, source: Source, crier: _Crier) -> None:
        self._settings = settings
        self._ledger = ledger
        self._source = source
        self._crier = crier
        self._error: Exception | None = None
        self._aside: deque[_Entry] = deque()  # drawn already, and to be sent before all others
        self._drawing = asyncio.Lock()
        self._workers: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None] | None] = (
            set()
        )  # those which the end of the job must await

    async def run(self) -> Exception | None:
        """Work off the source; return what ended the job early."""
        try:
            await self._work_off()
            await self._wind_up()
        except asyncio.CancelledError:
            self._ledger.conclude(only_open=True)
            await self._crier.last_words()
            raise
        return self._error or self._source.error

    async def _work_off(self) -> None:
        await self._round()
        rounds = 0
        while self._ledger.pool and self._error is None:
            rounds += 1
            await self._settings.retry.pause(rounds)
            self._aside.extend(self._ledger.pool)
            self._ledger.pool.clear()
            await self._round()

    async def _round(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._workers = {
                group.create_task(self._work()) for _ in range(self._settings.pace.max_in_flight)
            }

    async def _wind_up(self) -> None:
        """Enter the rest of a plain source; hand on what is final only now."""
        while self._source.is_plain and not self._source.at_end:
            await self._source.read(self._settings.chunk_size, self._admit)
            await asyncio.sleep(0)
        self._ledger.conclude()
        try:
            await self._crier.announce()
        except Exception as error:
            self._end(error)

    async def _work(self) -> None:
        try:
            while self._error is None and (chunk := await self._draw()):
                await self._settle(chunk)
        except _Drained:
            pass
        except Exception as error:
            self._end(error)

    def _end(self, error: Exception) -> None:
        """Let nothing start any more: who has no request on the wire stops waiting for one."""
        if self._error is None:
            self._error = error
            for worker in self._workers - self._busy - {asyncio.current_task()}:
                worker.cancel()

    async def _draw(self) -> list[_Entry]:
        """Return the next chunk, an empty one at the end."""
        async with self._drawing:
            while len(self._aside) < self._settings.chunk_size and not self._source.at_end:
                await self._source.read(self._settings.chunk_size - len(self._aside), self._admit)
                await asyncio.sleep(0)
            size = min(self._settings.chunk_size, len(self._aside))
            return [self._aside.popleft() for _ in range(size)]

    def _admit(self, user: User) -> None:
        if entry := self._ledger.admit(user):
            self._aside.append(entry)

    async def _settle(self, chunk: list[_Entry]) -> None:
        async def attempt(slot: Slot) -> None:
            self._aside.extendleft(reversed(chunk[slot.max_users :]))
            del chunk[slot.max_users :]
            await self._send(chunk)

        try:
            await self._settings.retry.run(attempt, self._settings.pace, Priority.BULK)
            await self._crier.announce()
        finally:
            self._busy.discard(asyncio.current_task())

    async def _send(self, chunk: Sequence[_Entry]) -> None:
        was_open = [entry.open for entry in chunk]
        for entry in chunk:
            entry.open = True
        self._busy.add(asyncio.current_task())
        try:
            verdicts = await self._settings.transact(
                self._ledger.operation, [entry.identifier for entry in chunk]
            )
        except BaseException as error:
            self._busy.discard(asyncio.current_task())
            self._ledger.unanswered(chunk, was_open, error)
            if self._error is not None and isinstance(error, Exception):
                raise _Drained from None
            raise
        if fault := self._ledger.answered(chunk, verdicts):
            self._end(BlocklistFull(fault.message, fault.code, details=fault.details))


class _Crier:
    """Hands outcomes on as they become final, one call at a time."""

    def __init__(self, ledger: _Ledger, on_settled: OnSettled | None) -> None:
        self._ledger = ledger
        self._on_settled = on_settled
        self._one_at_a_time = asyncio.Lock()

    async def announce(self) -> None:
        """Hand on the news. An error of the caller's function is raised, and ends the calls."""
        async with self._one_at_a_time:
            try:
                result = self._tell()
                if inspect.isawaitable(result):
                    await result
            except Exception:
                self._on_settled = None
                raise

    async def last_words(self) -> None:
        """Hand on the news although the job is cancelled; wait a second at most."""
        try:
            result = self._tell()
            if inspect.isawaitable(result):
                await _shielded(result)
        except Exception:
            _LOG.exception("on_settled failed after the job was cancelled")

    def _tell(self) -> object:
        outcomes = tuple(self._ledger.news)
        self._ledger.news.clear()
        return self._on_settled(outcomes) if outcomes and self._on_settled else None


async def _shielded(result: Awaitable[object]) -> None:
    task = asyncio.ensure_future(result)
    try:
        await asyncio.wait({task}, timeout=_LAST_WORDS)
    finally:
        if task.done():
            task.result()
        task.cancel()
