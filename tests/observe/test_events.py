"""What events say, to people and to programs."""

from __future__ import annotations

import asyncio

import pytest

from blockusers import (
    Event,
    Incomplete,
    JobEnded,
    JobStarted,
    Operation,
    PaceChanged,
    PaceState,
    RateLimited,
    Report,
    RequestEnded,
    RequestSent,
    RequestTimeout,
    Retrying,
    Status,
    UsersSettled,
)
from blockusers.jobs.state import JobState
from tests.support import number, numbers

DONE, FAILED = Status.DONE, Status.FAILED
URL = "https://graph.facebook.com/v25.0/106540352242922/block_users"
LIMITED = RateLimited("Too many", 130429, None, 400, trace_id="A1b2")
LOST = RequestTimeout("no answer in time; see request_timeout")


def report() -> Report:
    state = JobState(Operation.BLOCK, 1)
    state.admit(numbers(3))
    state.conclude()
    return state.report(0.0)


def state(mode: str, rate: float | None) -> PaceState:
    return PaceState(mode, rate, 1000, None, 0, 1200, 3)


CASES: list[tuple[Event, str, dict[str, object]]] = [
    (JobStarted("block", job=7), "block: started", {"operation": "block", "job": 7}),
    (
        JobEnded("block", 1.5, report(), None),
        "block: 3 remaining, after 1.5 s",
        {"operation": "block", "seconds": 1.5, "requests": 0, "rate_limited": 0, "remaining": 3},
    ),
    (
        JobEnded("block", 1.5, report(), Incomplete(report(), LIMITED)),
        (
            "block: ended by RateLimited: too many requests in a short time, or too many users in"
            " one: wait, send fewer per second, or use smaller chunks (130429, trace A1b2)"
            " (3 remaining), after 1.5 s"
        ),
        {
            "operation": "block",
            "seconds": 1.5,
            "requests": 0,
            "rate_limited": 0,
            "remaining": 3,
            "error.type": "RateLimited",
            "code": 130429,
            "trace_id": "A1b2",
        },
    ),
    (
        JobEnded("block", 1.5, None, asyncio.CancelledError()),
        "block: ended by CancelledError, after 1.5 s",
        {"operation": "block", "seconds": 1.5, "error.type": "CancelledError"},
    ),
    (
        RequestSent("unblock", 9, 1000, "DELETE", URL, job=7),
        "unblock: request 9 sent, users: 1,000",
        {
            "operation": "unblock",
            "request": 9,
            "users": 1000,
            "job": 7,
            "http.request.method": "DELETE",
            "url.full": URL,
        },
    ),
    (
        RequestSent("list", 9, 0, "GET", URL),
        "list: request 9 sent",
        {
            "operation": "list",
            "request": 9,
            "users": 0,
            "http.request.method": "GET",
            "url.full": URL,
        },
    ),
    (
        RequestEnded("block", 9, 1000, 0.25, 200, None),
        "block: request 9: HTTP 200, after 0.25 s",
        {
            "operation": "block",
            "request": 9,
            "users": 1000,
            "seconds": 0.25,
            "http.response.status_code": 200,
        },
    ),
    (
        RequestEnded("block", 9, 1000, 30, None, LOST),
        (
            "block: request 9: no answer, RequestTimeout: no answer in time; see request_timeout,"
            " after 30 s"
        ),
        {
            "operation": "block",
            "request": 9,
            "users": 1000,
            "seconds": 30,
            "error.type": "RequestTimeout",
        },
    ),
    (
        Retrying("block", LOST, 0.5),
        "block: again in 0.5 s, after RequestTimeout: no answer in time; see request_timeout",
        {"operation": "block", "wait": 0.5, "error.type": "RequestTimeout"},
    ),
    (
        PaceChanged("hold", state("steady", 3.25)),
        (
            "pace: hold -> steady, 3.25 requests/s, at most 1,000 users each;"
            " 1,200 requests admitted, 3 rate limited so far"
        ),
        {"pace.mode": "steady", "pace.rate": 3.25, "pace.max_users": 1000},
    ),
    (
        PaceChanged("hold", state("hold", None)),
        (
            "pace: hold, no rate, at most 1,000 users each;"
            " 1,200 requests admitted, 3 rate limited so far"
        ),
        {"pace.mode": "hold", "pace.max_users": 1000},
    ),
    (
        UsersSettled("block", {(DONE, None): 1200, (FAILED, 131047): 2, (FAILED, None): 1}),
        "block: 1,200 done, 2 failed with 131047, 1 failed",
        {"operation": "block", "done": 1200, "failed": 3},
    ),
]


@pytest.mark.parametrize(("event", "line", "values"), CASES, ids=[line for _, line, _ in CASES])
def test_events(event: Event, line: str, values: dict[str, object]) -> None:
    """An event prints as one line, and gives plain values under OpenTelemetry's names or ours."""
    assert str(event) == line
    assert event.attributes() == {
        name if name.startswith(("http.", "url.", "error.")) else f"blockusers.{name}": value
        for name, value in values.items()
    }


def test_no_person_is_named() -> None:
    """An error of the caller's own may name anybody; what is made of an event does not."""
    event = JobEnded("block", 1.0, None, LookupError(f"{number(1)} is in no table"))

    assert str(event) == "block: ended by LookupError: +4915…01 is in no table, after 1 s"
    assert number(1)[1:] not in str(event.attributes())
