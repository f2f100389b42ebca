"""Single calls: those that are made at the same time share a request.

A request is formed when the pace grants a slot, from all calls that are waiting by then.  So an
idle client sends at once, and under a rate limit requests grow instead of queueing.

All calls for one user and one operation are one *entry*, in one of these states:

| state | it waits for | next |
| --- | --- | --- |
| queued | an earlier operation on the same user | ready, or superseded by an opposite call |
| ready | a slot, for which one request of its operation waits | sent, or superseded likewise |
| sent | the answer; attempts and the waits between them included | answered |
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import attrs

from blockusers._tools.cancellation import Running
from blockusers.jobs.sender import Sender
from blockusers.jobs.state import blocklist_full
from blockusers.observe.observers import not_of_a_job
from blockusers.pace.protocol import Priority, Slot
from blockusers.values.errors import ClientClosed, InvalidUser, QueueFull, fresh
from blockusers.values.masking import mask
from blockusers.values.outcome import (
    Fault,
    Operation,
    Outcome,
    Status,
    User,
    identify,
    named_by,
    written,
)

_SUPERSEDED: Final = Fault(None, "superseded by an opposite call before it was sent")


@attrs.define(eq=False)
class _Entry:
    """One user to be blocked or unblocked, and all who asked for it."""

    operation: Operation
    user: User
    key: str
    coalescer: Coalescer
    callers: dict[asyncio.Future[Outcome], None] = attrs.field(factory=dict[Any, None])

    def granted(self, key: str) -> None:  # noqa: ARG002
        self.coalescer.ready(self)

    def flush(self, key: str) -> None:
        """Do nothing: it is sent as soon as it may be."""

    def waiting(self) -> list[asyncio.Future[Outcome]]:
        return [caller for caller in self.callers if not caller.done()]

    def answer(self, outcome: Outcome) -> None:
        for caller in self.waiting():
            caller.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        for caller in self.waiting():
            caller.set_exception(fresh(error))


class Coalescer(Running):
    """Gathers single calls into requests."""

    def __init__(self, sender: Sender, max_queued: int) -> None:
        super().__init__()
        self.sender = sender
        self.max_queued = max_queued
        self._calls_queued = 0
        self._queued: dict[_Entry, None] = {}
        self._latest: dict[str, _Entry] = {}
        self._ready: dict[Operation, dict[str, _Entry]] = {each: {} for each in Operation}
        # The requests that wait for their slot.
        self._forming: dict[Operation, _Request] = {}

    async def call(self, operation: Operation, user: User) -> Outcome:
        """Carry out *operation* on one user; what fails is an error of this caller's own."""
        try:
            key = identify(user, self.sender.reader).key
        except ValueError as error:
            raise InvalidUser(f"{mask(written(named_by(user)))}: {error}") from None
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
                f"{self._calls_queued:,} calls are waiting already: make fewer at a time, or pass"
                " a list to block() or unblock()"
            )
        entry = self._latest.get(key)
        if entry is not None and entry.operation is not operation:
            self._drop(entry)
            entry.answer(Outcome(named_by(entry.user), Status.FAILED, faults=(_SUPERSEDED,)))
            entry = None
        self._calls_queued += 1
        # Behind a job that drew the user meanwhile, the same operation is another one.
        if entry is not None and self.sender.order.is_last(entry, key):
            entry.callers[caller] = None
            return entry
        entry = self._latest[key] = _Entry(operation, user, key, self, {caller: None})
        self._queued[entry] = None
        if not self.sender.order.enqueue(entry, [key]):
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
            request = self._forming[operation] = _Request(self, operation)
            request.task = asyncio.get_running_loop().create_task(request.run())

    def draw(self, operation: Operation, count: int) -> list[_Entry]:
        """Return what goes into a request that leaves now, and begin to form the next."""
        del self._forming[operation]
        entries = list(islice(self._ready[operation].values(), count))
        for entry in entries:
            self._leave_queue(entry)
        self._form(operation)
        return entries

    def _drop(self, entry: _Entry) -> None:
        """Remove an entry that was not sent; cancel the request that forms if it has none left."""
        self._leave_queue(entry)
        self.sender.order.release(entry, [entry.key])
        if not self._ready[entry.operation]:
            forming = self._forming.pop(entry.operation, None)
            if forming is not None:
                forming.task.cancel()

    def _leave_queue(self, entry: _Entry) -> None:
        del self._queued[entry]
        self._calls_queued -= len(entry.callers)
        for register in (self._latest, self._ready[entry.operation]):
            if register.get(entry.key) is entry:
                del register[entry.key]

    async def wait_answered(self, within: float) -> None:
        """Wait until all callers have their answers, for at most so many seconds."""
        sent = (entry for request in self for entry in request.entries)
        callers = [caller for entry in (*self._queued, *sent) for caller in entry.waiting()]
        if callers and within > 0:
            await asyncio.wait(callers, timeout=within)

    def abort(self, error: Exception) -> None:
        """Tell all callers of *error* at once, and cancel the requests."""
        for entry in list(self._queued):
            self._drop(entry)
            entry.fail(error)
        for request in self:
            request.task.cancel()  # its users are released once it has ended
            for entry in request.entries:
                entry.fail(error)


class _Request:
    """Calls that share a request, and what is tried again of it."""

    def __init__(self, coalescer: Coalescer, operation: Operation) -> None:
        self.entries: list[_Entry] = []
        self.task: asyncio.Task[None]
        self._coalescer = coalescer
        self._sender = coalescer.sender
        self._state = self._sender.new_state(operation)
        self._to_send: list[int] = []

    async def run(self) -> None:
        """Send it, until the outcome of each user is final."""
        not_of_a_job()  # though one of its callers may be part of a job
        with self._coalescer.note(self):
            try:
                await self._work_off()
            except asyncio.CancelledError:
                error = ClientClosed("the request was cancelled before its answer came")
                self._settle(self._state.conclude(), error)
                raise
            except BaseException as error:  # a caller's code may raise anything
                if not self.entries:  # no slot came, nor would it for the others
                    self._draw(self._coalescer.max_queued)
                self._settle(self._state.conclude(), error)

    async def _work_off(self) -> None:
        operation, rounds = self._state.operation.value, 0
        while True:
            await self._sender.with_retries(operation, self._attempt, Priority.SINGLE)
            if self._to_send:
                continue
            if not self._state.to_retry:
                return
            rounds += 1
            await self._sender.retry.pause(rounds)
            self._to_send = self._state.to_retry.copy()
            self._state.to_retry.clear()

    def _draw(self, count: int) -> None:
        self.entries = self._coalescer.draw(self._state.operation, count)
        # Each user is valid and in but one entry, so the state's indexes are those of the entries.
        self._to_send = list(self._state.admit([entry.user for entry in self.entries]))

    async def _attempt(self, slot: Slot) -> None:
        most = max(1, min(slot.max_users, self._sender.chunk_size))
        if not self.entries:
            self._draw(most)
        chunk = self._to_send[:most]
        slot.users = len(chunk)
        settled = await self._sender.send(self._state, chunk)
        del self._to_send[: len(chunk)]
        self._settle(settled)

    def _settle(self, indexes: Sequence[int], error: BaseException | None = None) -> None:
        """Tell the callers what is final: the outcome, or *error* if there is none."""
        for index, outcome in zip(indexes, self._state.outcomes.at(indexes), strict=True):
            entry = self.entries[index]
            if failure := error or blocklist_full(self._state.operation, outcome.faults):
                entry.fail(failure)
            else:
                entry.answer(outcome)
            self._sender.order.release(entry, [entry.key])
        self._sender.tell_settled(self._state, indexes)
