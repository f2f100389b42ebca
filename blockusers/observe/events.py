"""The events that a client reports to its observers: jobs, requests, retries, changes of pace.

Events name no users, so they may be kept and shown; `on_settled` gets the users' outcomes.  Each
prints as a line for people, and gives `attributes()` to programs: plain values, under
OpenTelemetry's names where it has any.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple, TypeAlias

from blockusers.pace.protocol import PaceState
from blockusers.values.columns import Tally
from blockusers.values.masking import mask_all
from blockusers.values.report import Incomplete, Report


class JobStarted(NamedTuple):
    """A job to block or unblock a list of users has started."""

    operation: str
    """`block` or `unblock`."""
    phone_number_id: str = ""
    """Of the client's account."""
    job: int | None = None
    """Tells jobs of one process apart. Single calls and listings belong to none."""

    def __str__(self) -> str:
        return f"{self.operation}: started"

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        return _named(self, operation=self.operation)


class JobEnded(NamedTuple):
    """The job has returned, or raised."""

    operation: str
    """`block` or `unblock`."""
    seconds: float
    """Since it started."""
    report: Report | None
    """What became of the users; None if the job was cancelled or never began."""
    error: BaseException | None
    """What it raised; None if it returned its report."""
    phone_number_id: str = ""
    job: int | None = None

    def __str__(self) -> str:
        counts = self.report.summary() if self.report else ""
        if self.error is not None:
            reason = self.error.error if isinstance(self.error, Incomplete) else self.error
            counts = f"ended by {because(reason)}" + (f" ({counts})" if counts else "")
        return f"{self.operation}: {counts}, after {self.seconds:.3g} s"

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        sums: dict[str, int] = {}
        if self.report is not None:
            sums = {status.value: count for status, count in self.report.counts.items()}
            sums |= {"requests": self.report.requests, "rate_limited": self.report.rate_limited}
        return _named(
            self, operation=self.operation, seconds=self.seconds, **sums, **_reason(self.error)
        )


class RequestSent(NamedTuple):
    """A request leaves."""

    operation: str
    """`block` or `unblock`; `list` for a request that reads the blocklist."""
    request: int
    """Tells requests of one process apart."""
    users: int
    """How many it names; 0 if it reads the blocklist."""
    method: str
    """The HTTP method."""
    url: str
    """Without its query."""
    phone_number_id: str = ""
    job: int | None = None

    def __str__(self) -> str:
        users = f", users: {self.users:,}" if self.users else ""
        return f"{self.operation}: request {self.request} sent{users}"

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        return _named(
            self,
            operation=self.operation,
            request=self.request,
            users=self.users,
            **{"http.request.method": self.method, "url.full": self.url},
        )


class RequestEnded(NamedTuple):
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
    phone_number_id: str = ""
    job: int | None = None

    def __str__(self) -> str:
        status = f"HTTP {self.status}" if self.status else "no answer"
        result = f"{status}, {because(self.error)}" if self.error else status
        return f"{self.operation}: request {self.request}: {result}, after {self.seconds:.3g} s"

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        return _named(
            self,
            operation=self.operation,
            request=self.request,
            users=self.users,
            seconds=self.seconds,
            **{"http.response.status_code": self.status},
            **_reason(self.error),
        )


class Retrying(NamedTuple):
    """A request will be sent once more."""

    operation: str
    error: BaseException
    """Why."""
    wait: float
    """Seconds until then; the pace's next slot may come later."""
    phone_number_id: str = ""
    job: int | None = None

    def __str__(self) -> str:
        return f"{self.operation}: again in {self.wait:.3g} s, after {because(self.error)}"

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        return _named(self, operation=self.operation, wait=self.wait, **_reason(self.error))


class PaceChanged(NamedTuple):
    """The mode, the rate or the largest request of the pace changed.

    The first event of a client says what it begins with.
    """

    before: str
    """The mode before."""
    state: PaceState
    """What the pace is doing now."""
    phone_number_id: str = ""
    job: int | None = None

    def __str__(self) -> str:
        state = self.state
        rate = f"{state.rate:.3g} requests/s" if state.rate else "no rate"
        before = f"{self.before} -> " if self.before != state.mode else ""
        return (
            f"pace: {before}{state.mode}, {rate}, at most {state.max_users:,} users each;"
            f" {state.admitted:,} requests admitted, {state.rate_limited:,} rate limited so far"
        )

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        state = self.state
        values = {"mode": state.mode, "rate": state.rate, "max_users": state.max_users}
        return _named(self, **{f"pace.{name}": value for name, value in values.items()})


class UsersSettled(NamedTuple):
    """The outcomes of some users are final."""

    operation: str
    """`block` or `unblock`."""
    tally: Tally
    """How many users have each status and error code."""
    phone_number_id: str = ""
    job: int | None = None

    def __str__(self) -> str:
        counts = (
            f"{count:,} {status.value}{f' with {code}' if code else ''}"
            for (status, code), count in self.tally.items()
        )
        return f"{self.operation}: {', '.join(counts)}"

    def attributes(self) -> dict[str, Any]:
        """Return its values by name."""
        counts = Counter[str]()
        for (status, _), count in self.tally.items():
            counts[status.value] += count
        return _named(self, operation=self.operation, **counts)


Event: TypeAlias = (
    JobStarted | JobEnded | RequestSent | RequestEnded | Retrying | PaceChanged | UsersSettled
)
"""What an observer is called with: any of these events."""


def _named(event: Event, **values: object) -> dict[str, Any]:
    """Name values as OpenTelemetry does, or with a prefix of ours; drop what there is not.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/
    """
    values = {"phone_number_id": event.phone_number_id or None, "job": event.job, **values}
    return {
        name if name.startswith(("http.", "url.", "error.")) else f"blockusers.{name}": value
        for name, value in values.items()
        if value is not None
    }


def _reason(error: BaseException | None) -> dict[str, Any]:
    if error is None:
        return {}
    error = error.error if isinstance(error, Incomplete) else error
    return {
        "error.type": type(error).__name__,
        "code": getattr(error, "code", None),
        "trace_id": getattr(error, "trace_id", None) or None,
    }


def because(error: BaseException) -> str:
    """Say what went wrong; it may be an error of the caller's, and name anybody."""
    text = mask_all(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
