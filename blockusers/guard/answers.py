"""What the answer of the server means for an intent: settled, tried again later, or paused.

| answer | the intent |
| --- | --- |
| done | is settled; the record says that the user is blocked (or nobody any more) |
| failed for good, such as 131047 | is settled; the next message of the user makes another |
| a transient error, no answer | is tried again after growing waits, until `not_after` |
| the blocklist is full (139101) | is tried again, at once if somebody is evicted |
| 190, no permission, restricted | waits; the whole number is paused |
"""

from __future__ import annotations

from typing import Final, TypeAlias

from blockusers.guard.intents import Intent, Rank, Result
from blockusers.values.errors import (
    AccountRestricted,
    ApiError,
    AuthenticationError,
    BlocklistFull,
    BlockUsersError,
    InvalidRequest,
    PermissionDenied,
    TransportError,
)
from blockusers.values.outcome import Operation, Outcome, Status

Answer: TypeAlias = Outcome | BlockUsersError
"""What became of one user, or the error of the request that named the user."""

NO_ROOM: Final = "the blocklist is full, and there is nobody whom the guard may evict"
_MAKES_ROOM: Final = "the blocklist is full; others are unblocked to make room"
_BLOCKLIST_FULL: Final = 139101
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 600.0


def is_full(answer: Answer) -> bool:
    """Return whether the blocklist had no room for the user."""
    if isinstance(answer, Outcome):
        return not answer.ok and any(fault.code == _BLOCKLIST_FULL for fault in answer.faults)
    return isinstance(answer, BlocklistFull)


def refuses_all(answer: Answer) -> bool:
    """Return whether the server would refuse every request for this number."""
    if isinstance(answer, InvalidRequest):
        return 33 in (answer.code, answer.subcode) or answer.code == 803
    return isinstance(answer, AuthenticationError | PermissionDenied | AccountRestricted)


def is_invalid(answer: Answer) -> bool:
    """Return whether the server refused the request because of what it said."""
    return isinstance(answer, InvalidRequest) and not refuses_all(answer)


def result_of(
    intent: Intent, answer: Answer, now: float, *, room_after: float | None = None
) -> Result:
    """Return what *answer* means for *intent*.

    Args:
        intent: What was sent.
        answer: What was answered.
        now: The time.
        room_after: In how many seconds a full list will have room; None if it will not.
    """
    if isinstance(answer, Outcome) and answer.ok:
        return Result(intent, done=True)
    if is_full(answer):
        if room_after is None:
            return _put_off(intent, now, NO_ROOM, lost=False)
        return Result(intent, retry_at=now + room_after, tries=intent.tries, reason=_MAKES_ROOM)
    if refuses_all(answer):
        return Result(intent, retry_at=now, tries=intent.tries, reason=str(answer))
    if isinstance(answer, Outcome):
        return _of_outcome(intent, answer, now)
    return _put_off(intent, now, str(answer), lost=_may_take_effect(answer))


def _of_outcome(intent: Intent, outcome: Outcome, now: float) -> Result:
    fault = outcome.fault
    reason = str(fault or "no answer about it")
    # An unblock has all the time in the world; but others can make room as well.
    is_final = intent.operation is Operation.BLOCK or intent.rank is Rank.MAKE_ROOM
    if outcome.status is Status.FAILED and is_final and not (fault and fault.transient):
        return Result(intent, reason=reason, lost=outcome.uncertain or intent.uncertain)
    lost = outcome.uncertain or outcome.status is Status.UNKNOWN
    return _put_off(intent, now, reason, lost=lost)


def _put_off(intent: Intent, now: float, reason: str, *, lost: bool) -> Result:
    retry_at = now + wait_after(intent.tries)
    return Result(intent, retry_at=retry_at, tries=intent.tries + 1, lost=lost, reason=reason)


def wait_after(tries: int) -> float:
    """Return the seconds until an intent is tried again that had failed *tries* times before."""
    return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tries, 64))


def _may_take_effect(error: BlockUsersError) -> bool:
    if isinstance(error, ApiError):
        return not error.not_applied
    return not isinstance(error, TransportError) or error.sent
