"""What became of each user, and the errors that carry it.

A `Report` accounts for every distinct user that was handed in, exactly once.  That some of them
failed is normal and no exception; `raise_for_failures()` makes it one for those who like.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeAlias

import attrs

from blockusers import identifiers
from blockusers.errors import BlockUsersError
from blockusers.models import BlockedUser, Fault, Operation, Status


@attrs.frozen(repr=False)
class Outcome:
    """What became of one user."""

    input: Any
    """The user as first handed in: text or a number, or whatever was handed in and refused.
    (For a `BlockedUser` its `wa_id` or `user_id`, for an `Outcome` its *input*.)"""
    status: Status
    wa_id: str | None = None
    """The WhatsApp id that the server named. In Brazil, Mexico and Argentina its digits can
    differ from those that were sent."""
    user_id: str | None = None
    """The business-scoped user id that the server named."""
    faults: tuple[Fault, ...] = ()
    """Why the user failed: from the last answer about this user, or from our own check."""
    uncertain: bool = False
    """Whether some attempt got no answer, so that an effect cannot be excluded although the user
    is not `DONE`."""

    @property
    def ok(self) -> bool:
        """Whether the user is certainly blocked (or unblocked)."""
        return self.status is Status.DONE

    @property
    def fault(self) -> Fault | None:
        """The first fault, if there is one."""
        return self.faults[0] if self.faults else None

    def raise_for_failure(self) -> None:
        """Raise `UserFailed` unless the user is `DONE`."""
        if not self.ok:
            raise UserFailed(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON or CSV; the fault's fields stand beside the user's."""
        fault = self.fault
        return {
            "input": _written(self.input),
            "status": self.status.value,
            "wa_id": self.wa_id,
            "user_id": self.user_id,
            "code": fault and fault.code,
            "message": fault and fault.message,
            "details": fault and fault.details,
            "uncertain": self.uncertain,
        }

    def __repr__(self) -> str:
        # Phone numbers are people's; a repr ends up in logs.
        text = f"<Outcome {identifiers.mask(_written(self.input))} {self.status.value}"
        return f"{text} {self.fault}>" if self.fault else f"{text}>"


User: TypeAlias = str | int | Outcome | BlockedUser
"""What names a user: a phone number or WhatsApp id, a BSUID, or a value from an earlier call."""


def _written(named: object) -> str:
    """Return as text whatever was handed in; that can be an int too long for Python to write."""
    try:
        return str(named)
    except Exception:
        return f"<{type(named).__name__}>"


def named_by(user: object) -> object:
    """Return what names *user*: the text or number itself, taken out of an earlier value."""
    if isinstance(user, Outcome):
        return user.input
    if isinstance(user, BlockedUser):
        return user.wa_id or user.user_id
    return user


@attrs.frozen(repr=False, slots=False)
class Report:
    """What became of every user of a job."""

    operation: Operation
    outcomes: tuple[Outcome, ...]
    """One for each distinct user, in the order in which they were handed in."""
    repeats: int = 0
    """Inputs that were dropped because they named a user handed in before."""
    requests: int = 0
    """Requests that were sent for this job."""
    rate_limited: int = 0
    """How many of them the server refused for its rate limit."""
    elapsed: float = 0.0
    """Seconds that the job took."""

    @property
    def succeeded(self) -> tuple[Outcome, ...]:
        """Those that are `DONE`."""
        return self._with(Status.DONE)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that are `FAILED`."""
        return self._with(Status.FAILED)

    @property
    def unknown(self) -> tuple[Outcome, ...]:
        """Those that are `UNKNOWN`. To hand them in again does no harm."""
        return self._with(Status.UNKNOWN)

    @property
    def remaining(self) -> tuple[Outcome, ...]:
        """Those that are `REMAINING`. Hand them in again: `client.block(report.remaining)`."""
        return self._with(Status.REMAINING)

    @property
    def faults_by_code(self) -> dict[int | None, tuple[Outcome, ...]]:
        """The outcomes with a fault, grouped by the code of their first; None is our own check."""
        groups: dict[int | None, list[Outcome]] = {}
        for outcome in self.outcomes:
            if outcome.fault:
                groups.setdefault(outcome.fault.code, []).append(outcome)
        return {code: tuple(group) for code, group in groups.items()}

    def __getitem__(self, user: User) -> Outcome:
        """Return the outcome of *user*, in any spelling.

        Raises:
            KeyError: The user was not handed in.
        """
        named = named_by(user)
        try:
            return self._by_name[_name_key(named)]
        except KeyError:
            raise KeyError(identifiers.mask(_written(named))) from None

    def __contains__(self, user: object) -> bool:
        return _name_key(named_by(user)) in self._by_name

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each outcome as plain values, fit for JSON or CSV."""
        return [outcome.to_dict() for outcome in self.outcomes]

    def raise_for_failures(self) -> None:
        """Raise `PartialFailure` unless every user is `DONE`."""
        if not all(outcome.ok for outcome in self.outcomes):
            raise PartialFailure(self)

    def summary(self) -> str:
        """Return the counts in a few words, such as `3 done, 1 failed`."""
        counts = {status: len(self._with(status)) for status in Status}
        return ", ".join(f"{n} {status.value}" for status, n in counts.items() if n) or "no users"

    def __repr__(self) -> str:
        return f"<Report {self.operation.value}: {self.summary()}>"

    def _with(self, status: Status) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if outcome.status is status)

    @cached_property
    def _by_name(self) -> dict[object, Outcome]:
        return {_name_key(outcome.input): outcome for outcome in self.outcomes}


def _name_key(named: object) -> object:
    try:
        return identifiers.read(named).key
    except ValueError:
        return ("refused", type(named).__name__, _written(named))


@attrs.define(slots=False)
class Incomplete(BlockUsersError):
    """A job ended early. Every user that was drawn is in its *report*."""

    report: Report
    """What is done and what is not: `remaining` and `unknown` can be handed in again."""
    error: Exception = attrs.field(repr=lambda error: identifiers.mask_all(repr(error)))
    """What ended the job; also the `__cause__`."""

    def __str__(self) -> str:
        why = f"{type(self.error).__name__}: {identifiers.mask_all(str(self.error))}"
        return (
            f"the job ended early ({self.report.summary()}): {why};"
            " hand in report.unknown and report.remaining again"
        )


@attrs.define(slots=False)
class PartialFailure(BlockUsersError):
    """Not every user of a job is `DONE`."""

    report: Report

    def __str__(self) -> str:
        worst = sorted(self.report.faults_by_code.values(), key=len, reverse=True)[:3]
        faults = [f"{len(group)} x {group[0].fault}" for group in worst]
        return "; ".join([f"{self.report.operation.value}: {self.report.summary()}", *faults])


@attrs.define(slots=False)
class UserFailed(BlockUsersError):
    """One user is not `DONE`."""

    outcome: Outcome

    def __str__(self) -> str:
        name = identifiers.mask(_written(self.outcome.input))
        return (
            f"{name} is {self.outcome.status.value}: {self.outcome.fault or 'no answer about it'}"
        )
