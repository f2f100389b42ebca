"""The events that a client reports, and how each reads in the log: jobs, requests, retries, pace.

Events name no users, so whatever is made of them may be kept and shown; which user became what is
told to `on_settled`.  Each prints as one line for people, and gives `attributes()` to programs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import attrs

from blockusers.pace.protocol import PaceState
from blockusers.values.columns import Tally
from blockusers.values.masking import mask_all
from blockusers.values.report import Incomplete, Report


@attrs.frozen
class _Event:
    """What all events have in common."""

    phone_number_id: str = attrs.field(default="", kw_only=True)
    """Of the client's account."""
    job: int | None = attrs.field(default=None, kw_only=True)
    """Tells jobs of one process apart. Single calls and listings belong to none."""

    def attributes(self) -> dict[str, Any]:
        """Return its values by name, for logs and traces; what is None is left out.

        The names are OpenTelemetry's where it has one, else they begin with `blockusers.`:
        https://opentelemetry.io/docs/specs/semconv/http/http-spans/
        """
        values: dict[str, Any] = {}
        for field in attrs.fields(type(self)):
            values |= _attributes(field.name, getattr(self, field.name))
        return {
            name if name.startswith(("http.", "url.", "error.")) else f"blockusers.{name}": value
            for name, value in values.items()
            if value is not None
        }


@attrs.frozen
class JobStarted(_Event):
    """A list of users was passed to be blocked or unblocked."""

    operation: str
    """`block` or `unblock`."""

    def __str__(self) -> str:
        return f"{self.operation}: started"


@attrs.frozen
class JobEnded(_Event):
    """The job has returned, or raised."""

    operation: str
    seconds: float
    """Since it started."""
    report: Report | None
    """None if it has none, for it was cancelled or never began."""
    error: BaseException | None
    """What it raised."""

    def __str__(self) -> str:
        counts = self.report.summary() if self.report else ""
        if self.error is not None:
            reason = self.error.error if isinstance(self.error, Incomplete) else self.error
            counts = f"ended by {because(reason)}" + (f" ({counts})" if counts else "")
        return f"{self.operation}: {counts}, after {self.seconds:.3g} s"


@attrs.frozen
class RequestSent(_Event):
    """A request leaves."""

    operation: str
    request: int
    """Tells requests of one process apart."""
    users: int
    """How many it names; 0 if it reads the blocklist."""
    method: str
    url: str
    """Without its query."""

    def __str__(self) -> str:
        users = f", users: {self.users:,}" if self.users else ""
        return f"{self.operation}: request {self.request} sent{users}"


@attrs.frozen
class RequestEnded(_Event):
    """The answer to a request was read, or there will be none."""

    operation: str
    request: int
    users: int
    seconds: float
    """Since it was sent."""
    status: int | None
    """HTTP status; None if no answer came. 400 with results for each user is no error."""
    error: BaseException | None
    """What it raised; that of a cancelled one is a `CancelledError`."""

    def __str__(self) -> str:
        status = f"HTTP {self.status}" if self.status else "no answer"
        result = f"{status}, {because(self.error)}" if self.error else status
        return f"{self.operation}: request {self.request}: {result}, after {self.seconds:.3g} s"


@attrs.frozen
class Retrying(_Event):
    """A request will be sent once more."""

    operation: str
    error: BaseException
    """Why."""
    wait: float
    """Seconds until then; the pace's next slot may come later."""

    def __str__(self) -> str:
        return f"{self.operation}: again in {self.wait:.3g} s, after {because(self.error)}"


@attrs.frozen
class PaceChanged(_Event):
    """The pace changed. The first such event of a client is the pace that it begins with."""

    before: str
    """The mode before."""
    state: PaceState

    def __str__(self) -> str:
        state = self.state
        rate = f"{state.rate:.3g} requests/s" if state.rate else "no rate"
        before = f"{self.before} -> " if self.before != state.mode else ""
        return (
            f"pace: {before}{state.mode}, {rate}, at most {state.max_users:,} users each;"
            f" {state.admitted:,} requests admitted, {state.rate_limited:,} rate limited so far"
        )


@attrs.frozen
class UsersSettled(_Event):
    """The outcomes of some users are final."""

    operation: str
    tally: Tally

    def __str__(self) -> str:
        counts = (
            f"{count:,} {status.value}{f' with {code}' if code else ''}"
            for (status, code), count in self.tally.items()
        )
        return f"{self.operation}: {', '.join(counts)}"


@attrs.frozen
class SenderMatched(_Event):
    """A guard has looked up who wrote."""

    denied: bool
    """Whether the sender is on the deny list."""

    def __str__(self) -> str:
        return f"guard: a sender {'is' if self.denied else 'is not'} on the deny list"


@attrs.frozen
class IntentsAnswered(_Event):
    """A guard has sent a page of its intents, and knows what became of them."""

    operation: str
    done: int
    """Users who are blocked (or unblocked) now."""
    failed: int
    """Users with whom it is not tried again."""
    put_off: int
    """Users with whom it is tried again later."""

    def __str__(self) -> str:
        return (
            f"guard: {self.operation}: {self.done:,} done, {self.failed:,} failed,"
            f" {self.put_off:,} put off"
        )


@attrs.frozen
class DrainChanged(_Event):
    """A guard has begun to carry out the intents of a number, or has stopped, for some reason."""

    state: str
    """`draining`, `waiting`, `paused` or `full`; see `NumberStatus`."""
    reason: str = ""
    """Why it does not drain; empty if it does."""

    def __str__(self) -> str:
        return f"guard: {self.state}" + (f": {self.reason}" if self.reason else "")


Event: TypeAlias = (
    JobStarted
    | JobEnded
    | RequestSent
    | RequestEnded
    | Retrying
    | PaceChanged
    | UsersSettled
    | SenderMatched
    | IntentsAnswered
    | DrainChanged
)


_NAMES: Final = {
    "method": "http.request.method",
    "url": "url.full",
    "status": "http.response.status_code",
}


def _attributes(name: str, value: object) -> dict[str, Any]:
    """Return the plain values, by name, that the field *name* of an event stands for."""
    match value:
        case BaseException():
            error = value.error if isinstance(value, Incomplete) else value
            code, trace_id = getattr(error, "code", None), getattr(error, "trace_id", None)
            return {"error.type": type(error).__name__, "code": code, "trace_id": trace_id or None}
        case Report():
            counts = {status.value: count for status, count in value.counts.items()}
            return {**counts, "requests": value.requests, "rate_limited": value.rate_limited}
        case PaceState():
            return {f"pace.{each}": getattr(value, each) for each in ("mode", "rate", "max_users")}
        case Mapping():  # a tally
            sums = Counter[str]()
            for (status, _), count in value.items():
                sums[status.value] += count
            return dict(sums)
        case _ if name == "before" or value == "":
            return {}
        case _:
            return {_NAMES.get(name, name): value}


def because(error: BaseException) -> str:
    """Return class and text of *error*, masked: an error of the caller's may name anybody."""
    text = mask_all(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
