"""Sends one request for users of a job or of single calls, and notes what the answer says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

import attrs

from blockusers._tools.arguments import number
from blockusers.jobs.state import JobState
from blockusers.jobs.user_order import UserOrder
from blockusers.observe.events import UsersSettled
from blockusers.observe.observers import Observers
from blockusers.pace.protocol import LARGEST_REQUEST, Pace, Priority, Slot
from blockusers.protocol.retry import RetryPolicy
from blockusers.values.columns import Verdicts
from blockusers.values.outcome import Operation
from blockusers.values.users import INTERNATIONAL, Identifiers, Reader

T = TypeVar("T")
Transact: TypeAlias = Callable[[Operation, Identifiers], Awaitable[Verdicts]]
"""Sends one request that names these users; returns a verdict for each, in their order."""


@attrs.frozen
class Sender:
    """What the jobs, the single calls and the listings of one client have in common."""

    transact: Transact
    retry: RetryPolicy = attrs.field(kw_only=True)
    pace: Pace = attrs.field(kw_only=True)
    order: UserOrder = attrs.field(factory=UserOrder, kw_only=True)
    chunk_size: int = attrs.field(
        default=LARGEST_REQUEST,
        kw_only=True,
        validator=number(whole=True, least=1, most=LARGEST_REQUEST),
    )
    """Most users in one request."""
    observers: Observers = attrs.field(factory=Observers, kw_only=True)
    reader: Reader = attrs.field(default=INTERNATIONAL, kw_only=True)
    """Reads what users are named."""

    def new_state(self, operation: Operation) -> JobState:
        """Return the state of users of whom none is known yet."""
        return JobState(operation, self.retry.attempts, self.reader)

    async def with_retries(
        self, operation: str, attempt: Callable[[Slot], Awaitable[T]], priority: Priority
    ) -> T:
        """Call *attempt* in a slot of the pace, again and again while its error is transient."""
        on_retry = self.observers.retrying(operation)
        return await self.retry.run(attempt, self.pace, priority, on_retry)

    async def send(self, state: JobState, chunk: Sequence[int]) -> Sequence[int]:
        """Send one request that names the users of *chunk*; return those who are final now.

        Without an answer the request may still take effect, which the order is told.
        """
        users = state.identifiers(chunk)
        was_open = state.note_sent(chunk)
        try:
            verdicts = await self.transact(state.operation, users)
        except BaseException as error:
            if state.note_no_answer(chunk, was_open, error):
                self.order.note_lost(state.operation, users.keys)
            raise
        return state.note_answer(chunk, verdicts)

    def tell_settled(self, state: JobState, indexes: Sequence[int]) -> None:
        """Tell the observers how many users are final now."""
        if indexes:
            self.observers.tell(UsersSettled(state.operation.value, state.tally(indexes)))
