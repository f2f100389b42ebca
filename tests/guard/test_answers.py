"""What an answer means for an intent."""

from __future__ import annotations

import attrs
import pytest

from blockusers import (
    AuthenticationError,
    BlocklistFull,
    BlockUsersError,
    ConnectionFailed,
    Fault,
    InvalidRequest,
    Outcome,
    RateLimited,
    RequestTimeout,
    ServiceError,
    Status,
)
from blockusers.guard.answers import Answer, is_full, refuses_all, result_of
from blockusers.guard.intents import Rank
from tests.guard.support import block, unblock

ANNA = "16505550001"
INTENT = block(ANNA, 1000.0)


def outcome(status: Status, code: int | None = None, *, uncertain: bool = False) -> Outcome:
    faults = () if code is None else (Fault(code, "No"),)
    return Outcome(ANNA, status, faults=faults, uncertain=uncertain)


@pytest.mark.parametrize(
    ("answer", "done", "is_retried", "lost"),
    [
        (outcome(Status.DONE), True, False, False),
        (outcome(Status.FAILED, 131047), False, False, False),
        (outcome(Status.FAILED, 131047, uncertain=True), False, False, True),
        (outcome(Status.FAILED, 139103), False, True, False),
        (outcome(Status.UNKNOWN), False, True, True),
        (outcome(Status.REMAINING), False, True, False),
        (outcome(Status.REMAINING, uncertain=True), False, True, True),
        (RequestTimeout("no answer"), False, True, True),
        (ConnectionFailed("refused", sent=False), False, True, False),
        (ServiceError("Internal error", 139103), False, True, True),
        (RateLimited("too many", 130429), False, True, False),
        (AuthenticationError("invalid", 190), False, True, False),
        (BlocklistFull("full", 139101), False, True, False),
        (InvalidRequest("Invalid parameter", 100), False, True, False),
    ],
    ids=str,
)
def test_results(answer: Answer, done: bool, is_retried: bool, lost: bool) -> None:
    """An intent is done, settled, or tried again; lost is what may still take effect."""
    result = result_of(INTENT, answer, 1000.0)

    assert (result.done, result.retry_at is not None, result.lost) == (done, is_retried, lost)
    assert bool(result.reason) is not done
    assert ANNA not in result.reason


@pytest.mark.parametrize(
    ("error", "all_"),
    [
        (InvalidRequest("no such object", 100, subcode=33), True),
        (InvalidRequest("no such object", 803), True),
        (InvalidRequest("Invalid parameter", 100), False),
        (RateLimited("too many", 130429), False),
    ],
)
def test_refuses_all(error: BlockUsersError, all_: bool) -> None:
    """An unknown phone number id stops the number; a bad parameter may be one user's."""
    assert refuses_all(error) is all_


def test_is_full() -> None:
    """A full blocklist is told for the whole request, or for single users."""
    assert is_full(BlocklistFull("full", 139101))
    assert is_full(outcome(Status.FAILED, 139101))
    assert not is_full(outcome(Status.DONE))


def test_a_full_list() -> None:
    """A block waits for the room that is made; without any it is tried again after longer waits."""
    full = BlocklistFull("full", 139101)
    made, none = result_of(INTENT, full, 1000.0, room_after=2.0), result_of(INTENT, full, 1000.0)

    assert (made.retry_at, made.tries) == (1002.0, 0)
    assert (none.retry_at, none.tries) == (1001.0, 1)


def test_unblocks_that_fail() -> None:
    """An unblock that failed is tried again; one that was to make room leaves that to others."""
    failed = outcome(Status.FAILED, 131047)

    assert result_of(unblock(ANNA, 1000.0), failed, 1000.0).retry_at == 1001.0
    assert result_of(unblock(ANNA, 1000.0, Rank.MAKE_ROOM), failed, 1000.0).retry_at is None


def test_who_may_be_blocked() -> None:
    """A block that failed after a lost answer may have taken effect."""
    uncertain = attrs.evolve(INTENT, uncertain=True)
    failed = outcome(Status.FAILED, 131047)

    assert result_of(uncertain, failed, 1000.0).may_be_blocked
    assert not result_of(INTENT, failed, 1000.0).may_be_blocked
    assert result_of(INTENT, outcome(Status.DONE), 1000.0).may_be_blocked
