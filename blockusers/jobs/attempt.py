"""One attempt: sends some users of a job or of single calls, and notes what the answer says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from blockusers._tools.cancellation import no_foreign_cancellation
from blockusers.jobs.state import JobState
from blockusers.jobs.user_order import UserOrder
from blockusers.values.columns import Verdicts
from blockusers.values.outcome import Operation
from blockusers.values.users import Identifiers

Transact: TypeAlias = Callable[[Operation, Identifiers], Awaitable[Verdicts]]
"""Sends one request that names these users; returns a verdict for each, in their order."""


async def send(
    transact: Transact, order: UserOrder, state: JobState, chunk: Sequence[int]
) -> Sequence[int]:
    """Send one request that names the users of *chunk*; return those whose outcome is final now.

    Without an answer the request may still take effect, which *order* is told.
    """
    users = state.identifiers(chunk)
    was_open = state.note_sent(chunk)
    try:
        with no_foreign_cancellation():
            verdicts = await transact(state.operation, users)
    except BaseException as error:
        if state.note_no_answer(chunk, was_open, error):
            order.note_lost(state.operation, users.keys)
        raise
    return state.note_answer(chunk, verdicts)
