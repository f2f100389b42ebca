"""What `stress` checks: the rules for requests, effects, outcomes and callers of one scenario.

A check counts only what cannot be otherwise.  Where the log leaves two readings open, it takes the
one in the client's favor: the server's clock is late by a few turns of the event loop, and who sent
a request is known only as far as its users' spelling, its operation and its time tell.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final, NamedTuple

import attrs

from benchmarks.stress_server import REFUSALS, Request
from blockusers import (
    BlockUsersError,
    Incomplete,
    Outcome,
    Report,
    Status,
)

_MARGIN: Final = 0.002  # timers of uvloop are exact to a millisecond
_GRACE: Final = 0.005
_NEVER: Final = float("inf")


class Kind(enum.Enum):
    """The ways in which a promise can be broken."""

    OVERLAP = "two requests in flight name one user"
    EARLY = "an opposite request left before a late effect was over"
    UNDONE = "a late effect undid a newer operation"
    OVERTAKEN = "a newer operation was sent before an older one"
    NOBODY = "a request for a user whose callers had all ended"
    AFTER_CLOSE = "a request after close() had returned"
    LOST = "a caller never returned"
    LOST_AFTER_CLOSE = "a caller still waited after close()"
    CLOSE_SLOW = "close() took half a second more than it may"
    SWALLOWED = "a cancelled call went on, or returned"
    AFTER_CANCEL = "a request for a job that had been cancelled"
    LATE = "a call outlived its cancellation or its time-out"
    TASKS = "tasks of the client were left after close()"
    DONE = "DONE, but no answer said so"
    FAILED = "FAILED, but the last answer did not say so"
    REMAINING = "REMAINING, but a request may have had an effect"
    REPORT = "a report does not name each user once"
    BLOCKLIST = "the blocklist contradicts the newest outcome"
    ERROR = "an error of an unexpected class"
    UNSEEN = "an exception that nobody retrieved, or a warning"


class Violation(NamedTuple):
    """A broken promise."""

    kind: Kind
    text: str


class Scripted(Exception):
    """What a source, a callback or a token function of a scenario raises."""


@attrs.define(eq=False)
class Call:
    """One call of a method of the client, and what came of it."""

    number: int
    what: str
    """`single`, `job` or `listing`."""
    block: bool
    started: float
    details: str = ""
    drawn: dict[str, tuple[int, float]] = attrs.field(factory=dict[str, Any])
    """When each user was drawn from the caller: the place in the order, and the time."""
    handed_in: frozenset[str] = frozenset()
    """All users of a plain list, which is read to its end."""
    may_hang: bool = False
    """Whether its source or its callback never ends."""
    ended: float = _NEVER
    result: object = None
    error: BaseException | None = None
    cancelled: float = _NEVER
    """When the task was told to cancel it."""
    ends_within: float = 0.3
    """Seconds that it gets to end, once it is cancelled or its time is over."""
    must_end: float = _NEVER
    """When it must have ended because of a cancellation or a time-out."""

    @property
    def released(self) -> float:
        """When no further request may be sent for it; a single call's may go on without it."""
        abandoned = self.what == "single" and isinstance(self.error, asyncio.CancelledError)
        return _NEVER if abandoned else self.ended

    @property
    def report(self) -> Report | None:
        """The report of a job."""
        if isinstance(self.error, Incomplete):
            return self.error.report
        return self.result if isinstance(self.result, Report) else None

    def outcomes(self) -> dict[str, Outcome]:
        """Return what it said of each user."""
        outcomes = [self.result] if isinstance(self.result, Outcome) else self.report or ()
        return {digits(outcome): outcome for outcome in outcomes}

    @property
    def came(self) -> str:
        """Return what came of it, for people."""
        if self.error is None and self.report is None:
            return repr(self.result)
        ended = f"{type(self.error).__name__}({self.error})" if self.error else "report"
        return f"{ended} {[*self.outcomes().values()]}"

    def __str__(self) -> str:
        operation = "" if self.what == "listing" else ("block" if self.block else "unblock")
        users = ",".join(user[-1] for user in self.drawn)
        words = (self.what, operation, users, self.details.strip())
        return f"call {self.number} ({' '.join(filter(None, words))})"


def digits(outcome: Outcome) -> str:
    """Return the digits of the user of an outcome."""
    return str(outcome.input).removeprefix("+")


@attrs.define
class History:
    """All that happened in a scenario."""

    request_timeout: float
    requests: list[Request] = attrs.field(factory=list[Any])
    calls: list[Call] = attrs.field(factory=list[Any])
    blocklist: set[str] = attrs.field(factory=set[str])
    """Who is blocked at the end."""
    lag: float = 0.0
    """The longest time that four turns of the event loop took."""
    closed: float = _NEVER
    """When close() returned."""

    @property
    def is_punctual(self) -> bool:
        """Whether the event loop was quick enough to tell in which order effects came."""
        return self.lag < self.request_timeout / 2

    def naming(self, user: str) -> list[Request]:
        """Return the requests that name a user, as they arrived."""
        return [request for request in self.requests if user in request.spelled]

    def users(self) -> set[str]:
        """Return everybody whom a request named."""
        return {user for request in self.requests for user in request.spelled}

    def senders(self, request: Request, user: str) -> list[Call]:
        """Return the calls that may have sent a request that names *user*.

        Jobs spell users with a `+`, single calls without.
        """
        what = "job" if request.spelled[user].startswith("+") else "single"
        return [
            call
            for call in self.calls
            if (call.what, call.block) == (what, request.block)
            and user in call.drawn
            and call.drawn[user][1] <= request.arrived
            and request.arrived_after <= call.released
        ]

    def requests_of(self, call: Call, user: str) -> list[Request]:
        """Return the requests that may have been sent for a call's user."""
        return [each for each in self.naming(user) if call in self.senders(each, user)]


def check(history: History) -> Iterator[Violation]:
    """Yield all violations that the log of a scenario shows."""
    for user in sorted(history.users()):
        requests = history.naming(user)
        yield from _check_pairs(history, user, requests)
        yield from _check_senders(history, user, requests)
        if history.is_punctual:
            yield from _check_blocklist(history, user)
    yield from _check_close(history)
    for call in history.calls:
        yield from _check_end(history, call)
        yield from _check_report(call)
        for user, outcome in call.outcomes().items():
            yield from _check_outcome(history, call, user, outcome)


# --------------------------------------------------------------------------- requests


def _check_pairs(history: History, user: str, requests: list[Request]) -> Iterator[Violation]:
    for first, second in combinations(requests, 2):
        both = f"user {user[-1]}: {describe(first)} and {describe(second)}"
        if second.arrived < first.ended_after:
            yield Violation(Kind.OVERLAP, both)
        elif first.block is not second.block:
            yield from _check_opposites(history, user, first, second, both)


def _check_opposites(
    history: History, user: str, first: Request, second: Request, both: str
) -> Iterator[Violation]:
    over = first.ended_after + history.request_timeout - _MARGIN
    if not first.answered and second.arrived < over:
        yield Violation(Kind.EARLY, f"{both}, {(over - second.arrived) * 1e3:.0f} ms too early")
    effects = first.effect_on(user), second.effect_on(user)
    if None not in effects and effects[0] > effects[1]:  # type: ignore[operator]
        yield Violation(Kind.UNDONE, both)
    older, newer = history.senders(second, user), history.senders(first, user)
    places = ([call.drawn[user][0] for call in calls] for calls in (older, newer))
    overtook = older and newer and max(next(places)) < min(next(places))
    if overtook and first.arrived < second.arrived_after:
        # Of callers who have all cancelled, one may still be served, but hardly so late.
        waits = any(second.arrived_after <= call.ended for call in older)
        yield Violation(Kind.OVERTAKEN if waits else Kind.NOBODY, both)


def _check_senders(history: History, user: str, requests: list[Request]) -> Iterator[Violation]:
    for request in requests:
        match history.senders(request, user):
            case []:
                yield Violation(Kind.NOBODY, f"user {user[-1]}: {describe(request)}")
            case [job] if job.what == "job" and request.arrived_after > job.cancelled + _GRACE:
                yield Violation(Kind.AFTER_CANCEL, f"{job}: {describe(request)}")


def _check_close(history: History) -> Iterator[Violation]:
    for request in history.requests:
        if request.arrived_after > history.closed:
            yield Violation(Kind.AFTER_CLOSE, describe(request))


def describe(request: Request) -> str:
    """Return a request as a line, with times in milliseconds on the scenario's clock."""
    operation = "block" if request.block else "unblock"
    users = ",".join(spelled[0].strip("1") + spelled[-1] for spelled in request.spelled.values())
    effects = [f"{moment * 1e3:.1f}" for moment, _ in request.effects]
    return (
        f"#{request.number} {operation} {users} [{request.arrived * 1e3:.1f} to"
        f" {request.ended * 1e3:.1f}, {request.fault},"
        f" {'answered' if request.answered else 'no answer'},"
        f" effect {' '.join(effects) or 'never'}]"
    )


# --------------------------------------------------------------------------- outcomes


def _check_outcome(
    history: History, call: Call, user: str, outcome: Outcome
) -> Iterator[Violation]:
    requests = history.requests_of(call, user) if user in call.drawn else []
    alone = all(history.senders(request, user) == [call] for request in requests)
    what = f"{call}, user {user[-1]}: {outcome!r} after {[*map(describe, requests)]}"
    answers = [each for each in requests if each.answered and each.ended <= call.ended]
    match outcome.status:
        case Status.DONE if not any(user in each.done for each in answers):
            yield Violation(Kind.DONE, what)
        case Status.FAILED if not _says_failed(history, call, user, outcome, requests, alone=alone):
            yield Violation(Kind.FAILED, what)
        case Status.REMAINING if alone and any(_may_count(each, user) for each in requests):
            yield Violation(Kind.REMAINING, what)


def _says_failed(
    history: History,
    call: Call,
    user: str,
    outcome: Outcome,
    requests: list[Request],
    *,
    alone: bool,
) -> bool:
    answers = [each for each in requests if each.ended <= call.ended]
    fault = outcome.fault
    if fault is None:
        return False
    if fault.code is None:
        return call.what == "single" and _was_superseded(history, call, user)
    if alone:
        answers = [each for each in requests if each.fault not in REFUSALS][-1:]
    return any(each.failed.get(user) == fault.code for each in answers)


def _was_superseded(history: History, call: Call, user: str) -> bool:
    place, _ = call.drawn[user]
    return any(
        other.what == "single"
        and other.block is not call.block
        and user in other.drawn
        and other.drawn[user][0] > place
        and other.started <= call.ended
        for other in history.calls
    )


def _may_count(request: Request, user: str) -> bool:
    return not request.answered or request.effect_on(user) is not None


def _check_report(call: Call) -> Iterator[Violation]:
    report = call.report
    if report is None:
        return
    named = [digits(outcome) for outcome in report]
    if len(set(named)) < len(named) or set(named) != call.drawn.keys() | call.handed_in:
        yield Violation(Kind.REPORT, f"{call}: it names {named}")


def _check_blocklist(history: History, user: str) -> Iterator[Violation]:
    """Compare the list with the newest DONE, unless something newer may have had an effect."""
    calls = [call for call in history.calls if user in call.drawn]
    for call in sorted(calls, key=lambda call: call.drawn[user][0], reverse=True):
        outcome = call.outcomes().get(user)
        if outcome is not None and outcome.ok:
            if call.block is not (user in history.blocklist) and not _opposed(history, call, user):
                log = [*map(describe, history.naming(user))]
                yield Violation(Kind.BLOCKLIST, f"user {user[-1]}: {call} is DONE; {log}")
            return


def _opposed(history: History, newest: Call, user: str) -> bool:
    """Say whether an opposite operation newer than the newest DONE may have had an effect."""
    return any(
        call.block is not newest.block
        and user in call.drawn
        and call.drawn[user][0] > newest.drawn[user][0]
        and not _had_no_effect(call.outcomes().get(user))
        for call in history.calls
    )


def _had_no_effect(outcome: Outcome | None) -> bool:
    if outcome is None or outcome.uncertain:
        return False
    return outcome.status in (Status.REMAINING, Status.FAILED)


# --------------------------------------------------------------------------- callers


def _check_end(history: History, call: Call) -> Iterator[Violation]:
    cancelled = isinstance(call.error, asyncio.CancelledError)
    if call.cancelled < _NEVER and call.ended < _NEVER and not cancelled:
        yield Violation(Kind.SWALLOWED, f"{call}: {call.error or call.result!r}")
    late = call.ended - call.must_end - 4 * history.lag
    if 0 < late < _NEVER:
        yield Violation(Kind.LATE, f"{call}: {late * 1e3:.0f} ms beyond the bound")
    error = call.error.error if isinstance(call.error, Incomplete) else call.error
    if error is not None and not isinstance(
        error, BlockUsersError | Scripted | asyncio.CancelledError
    ):
        yield Violation(Kind.ERROR, f"{call}: {error!r}")
