"""Single calls: those that are made at the same time share a request.

A request is formed when the pace grants a slot, from all calls that are waiting by then.  So an
idle client sends at once, and under a rate limit requests grow instead of queueing.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import attrs

from blockusers.batch import Transact
from blockusers.cancelling import no_foreign_cancellation
from blockusers.controller import LARGEST_REQUEST, Slot
from blockusers.errors import ClientClosed, QueueFull
from blockusers.events import UsersSettled
from blockusers.identifiers import INTERNATIONAL, Reader, mask
from blockusers.ledger import Ledger
from blockusers.models import Fault, Operation, Status
from blockusers.observing import Observers, not_of_a_job
from blockusers.pacing import Pace, Priority
from blockusers.report import Outcome, User, identify, named_by, written
from blockusers.retry import RetryPolicy
from blockusers.turns import Turns

_SUPERSEDED: Final = Fault(None, "superseded by an opposite call before it was sent")


@attrs.define(eq=False)
class _Entry:
    """One user to be blocked or unblocked, and all who asked for it."""

    operation: Operation
    user: User
    key: str
    coalescer: Coalescer
    callers: dict[asyncio.Future[Outcome], None] = attrs.field(factory=dict[Any, None])

    def comes(self, key: str) -> None:  # noqa: ARG002
        self.coalescer.ready(self)

    def hurry(self) -> None:
        """Do nothing: it is sent as soon as it may be."""

    def waiting(self) -> list[asyncio.Future[Outcome]]:
        return [caller for caller in self.callers if not caller.done()]

    def answer(self, outcome: Outcome) -> None:
        for caller in self.waiting():
            caller.set_result(outcome)

    def fail(self, error: Exception) -> None:
        for caller in self.waiting():
            caller.set_exception(copy.copy(error))


class Coalescer:
    """Gathers single calls into requests."""

    def __init__(
        self,
        transact: Transact,
        *,
        retry: RetryPolicy,
        pace: Pace,
        turns: Turns,
        max_queued: int,
        chunk_size: int = LARGEST_REQUEST,
        observers: Observers | None = None,
        reader: Reader = INTERNATIONAL,
    ) -> None:
        self.transact = transact
        self.retry = retry
        self.pace = pace
        self.turns = turns
        self.observers = observers or Observers()
        self.reader = reader
        self.max_queued = max_queued
        self.chunk_size = chunk_size
        self._calls_queued = 0
        self._queued: dict[_Entry, None] = {}
        self._latest: dict[str, _Entry] = {}
        self._ready: dict[Operation, dict[str, _Entry]] = {each: {} for each in Operation}
        # The requests that wait for their slot.
        self._forming: dict[Operation, asyncio.Task[None]] = {}
        self._requests: dict[asyncio.Task[None], _Request] = {}

    async def call(self, operation: Operation, user: User) -> Outcome:
        """Carry out *operation* on one user.

        Raises:
            ValueError: *user* names nobody.
            QueueFull: Too many calls wait already.
            BlockUsersError: The request failed; each caller gets an error of its own.
        """
        try:
            key = identify(user, self.reader).key
        except ValueError as error:
            raise ValueError(f"{mask(written(named_by(user)))}: {error}") from None
        caller: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        entry = self._enter(operation, user, key, caller)
        try:
            return await caller
        except asyncio.CancelledError:
            self._withdraw(entry, caller)
            if caller.done() and not caller.cancelled():
                caller.exception()  # it came too late; asyncio would complain that nobody saw it
            raise

    def _enter(
        self, operation: Operation, user: User, key: str, caller: asyncio.Future[Outcome]
    ) -> _Entry:
        if self._calls_queued >= self.max_queued:
            raise QueueFull(
                f"{self._calls_queued:,} calls are waiting already: make fewer at a time, or hand"
                " in a list with block() or unblock()"
            )
        entry = self._latest.get(key)
        if entry is not None and entry.operation is not operation:
            self._drop(entry)
            entry.answer(Outcome(named_by(entry.user), Status.FAILED, faults=(_SUPERSEDED,)))
            entry = None
        self._calls_queued += 1
        # Behind a job that drew the user meanwhile, the same operation is another one.
        if entry is not None and self.turns.is_last(entry, key):
            entry.callers[caller] = None
            return entry
        entry = self._latest[key] = _Entry(operation, user, key, self, {caller: None})
        self._queued[entry] = None
        if not self.turns.join(entry, [key]):
            self.ready(entry)
        return entry

    def _withdraw(self, entry: _Entry, caller: asyncio.Future[Outcome]) -> None:
        """Forget a caller who does not wait any more, and what only it had asked for."""
        del entry.callers[caller]
        if entry not in self._queued:
            return
        self._calls_queued -= 1
        if not entry.callers:
            self._drop(entry)

    def ready(self, entry: _Entry) -> None:
        """Note that an entry may be sent."""
        self._ready[entry.operation][entry.key] = entry
        self._form(entry.operation)

    def _form(self, operation: Operation) -> None:
        """Let one request wait for a slot, if there is something to send."""
        if operation not in self._forming and self._ready[operation]:
            request = _Request(self, operation)
            task = asyncio.get_running_loop().create_task(request.run())
            self._forming[operation] = task
            self._requests[task] = request
            task.add_done_callback(self._requests.pop)

    def draw(self, operation: Operation, count: int) -> list[_Entry]:
        """Return what goes into a request that leaves now, and begin to form the next."""
        del self._forming[operation]
        entries = list(islice(self._ready[operation].values(), count))
        for entry in entries:
            self._leave_queue(entry)
        self._form(operation)
        return entries

    def _drop(self, entry: _Entry) -> None:
        """Take an entry back that was not sent, and with the last the request that waits."""
        self._leave_queue(entry)
        self.turns.leave(entry, [entry.key])
        if not self._ready[entry.operation]:
            forming = self._forming.pop(entry.operation, None)
            if forming is not None:
                forming.cancel()

    def _leave_queue(self, entry: _Entry) -> None:
        del self._queued[entry]
        self._calls_queued -= len(entry.callers)
        for register in (self._latest, self._ready[entry.operation]):
            if register.get(entry.key) is entry:
                del register[entry.key]

    async def close(self, drain_timeout: float) -> None:
        """Let all callers be answered, for so many seconds; the others get `ClientClosed`."""
        entries = [*self._queued]
        for request in self._requests.values():
            entries += request.entries
        callers = [caller for entry in entries for caller in entry.waiting()]
        try:
            if callers and drain_timeout > 0:
                await asyncio.wait(callers, timeout=drain_timeout)
        finally:
            requests = self._give_up(ClientClosed("the client was closed before the answer came"))
            if requests:
                await asyncio.wait(requests)

    def _give_up(self, error: Exception) -> list[asyncio.Task[None]]:
        """Tell all callers of *error*, and end the requests, whose tasks are returned."""
        for entry in list(self._queued):
            self._drop(entry)
            entry.fail(error)
        requests = dict(self._requests)
        for task, request in requests.items():
            task.cancel()
            request.fail(error)
        return list(requests)


class _Request:
    """Calls that share a request, and what is tried again of it."""

    def __init__(self, coalescer: Coalescer, operation: Operation) -> None:
        self._coalescer = coalescer
        self._operation = operation
        self.entries: list[_Entry] = []
        self._ledger = Ledger(operation, coalescer.retry.attempts, coalescer.reader)
        self._to_send: list[int] = []

    async def run(self) -> None:
        """Send it, until it is final what became of each."""
        not_of_a_job()  # though one of its callers may be part of a job
        coalescer, rounds = self._coalescer, 0
        on_retry = coalescer.observers.retrying(self._operation.value)
        try:
            while True:
                await coalescer.retry.run(self._attempt, coalescer.pace, Priority.SINGLE, on_retry)
                if self._to_send:
                    continue
                if not self._ledger.pool:
                    return
                rounds += 1
                await coalescer.retry.pause(rounds)
                self._to_send = self._ledger.pool.copy()
                self._ledger.pool.clear()
        except Exception as error:
            if not self.entries:  # no slot came, nor would it for the others
                self._draw(self._coalescer.max_queued)
            self.fail(error)

    def _draw(self, count: int) -> None:
        self.entries = self._coalescer.draw(self._operation, count)
        self._to_send = list(self._ledger.admit([entry.user for entry in self.entries]))

    async def _attempt(self, slot: Slot) -> None:
        most = min(slot.max_users, self._coalescer.chunk_size)
        if not self.entries:
            self._draw(most)
        chunk = self._to_send[:most]
        slot.users = len(chunk)
        was_open = self._ledger.send(chunk)
        try:
            with no_foreign_cancellation():
                verdicts = await self._coalescer.transact(
                    self._operation, self._ledger.named(chunk)
                )
        except BaseException as error:
            self._ledger.unanswered(chunk, was_open, error)
            raise
        del self._to_send[: len(chunk)]
        settled = self._ledger.answered(chunk, verdicts)
        for place, outcome in zip(settled, self._ledger.outcomes.at(settled), strict=True):
            entry = self.entries[place]
            entry.answer(outcome)
            self._coalescer.turns.leave(entry, [entry.key])
        self._tell(settled)

    def _tell(self, settled: Sequence[int]) -> None:
        if settled:
            tally = self._ledger.tally(settled)
            self._coalescer.observers.tell(UsersSettled(self._operation.value, tally))

    def fail(self, error: Exception) -> None:
        """Tell the callers of all that is not final."""
        settled = self._ledger.conclude()
        self._tell(settled)
        for place in settled:
            entry = self.entries[place]
            entry.fail(error)
            unanswered = place in self._ledger.open
            self._coalescer.turns.leave(entry, [entry.key], unanswered=unanswered)
