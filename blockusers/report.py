"""What became of each user, and the errors that carry it.

A `Report` accounts for every distinct user that was passed, exactly once.  That some of them
failed is normal and no exception; `raise_for_failures()` makes it one for those who like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeAlias, overload

import attrs

from blockusers import identifiers
from blockusers.errors import BlocklistFull, BlockUsersError
from blockusers.identifiers import INTERNATIONAL, Identifier, Reader
from blockusers.models import BlockedUser, Fault, Operation, Status


@attrs.frozen(repr=False)
class Outcome:
    """What became of one user."""

    input: Any
    """The user as first passed: text or a number, or whatever was passed and rejected.
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
            "input": written(self.input),
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
        text = f"<Outcome {identifiers.mask(written(self.input))} {self.status.value}"
        return f"{text}: {self.fault}>" if self.fault else f"{text}>"


User: TypeAlias = str | int | Outcome | BlockedUser
"""What names a user: a phone number or WhatsApp id, a BSUID, or a value from an earlier call."""


Tally: TypeAlias = Mapping[tuple[Status, int | None], int]
"""How many users have a status and, as its reason, one of Meta's error codes (None: no such)."""


def written(named: object) -> str:
    """Return as text whatever was passed; that can be an int too long for Python to write."""
    try:
        return str(named)
    except Exception:
        return f"<{type(named).__name__}>"


def why(error: Exception) -> str:
    """Return what went wrong, with numbers masked; of what is not ours, its class as well."""
    text = identifiers.mask_all(written(error))
    if isinstance(error, BlockUsersError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def named_by(user: object) -> object:
    """Return what names *user*: the text or number itself, taken out of an earlier value."""
    if isinstance(user, Outcome):
        return user.input
    if isinstance(user, BlockedUser):
        return user.wa_id or user.user_id
    return user


def identify(user: object, reader: Reader = INTERNATIONAL) -> Identifier:
    """Read a user; whom the server has named is known by the whole number.

    Raises:
        ValueError: It names nobody, or may be two.
    """
    reader = INTERNATIONAL if isinstance(user, BlockedUser) else reader
    return reader.read(named_by(user))


def names_of(user: object, reader: Reader = INTERNATIONAL) -> tuple[str, ...]:
    """Return all keys under which the list may hold a user, the first the one that was read.

    Raises:
        ValueError: There is none.
    """
    known: tuple[str | None, ...] = ()
    if isinstance(user, Outcome | BlockedUser):
        known = (user.wa_id, user.user_id, getattr(user, "parent_user_id", None))
    try:
        known = (identify(user, reader).key, *known)
    except ValueError:
        if not any(known):
            raise
    return tuple(name for name in known if name)


class Verdict(NamedTuple):
    """What one answer says about one user."""

    status: Status
    wa_id: str | None = None
    user_id: str | None = None
    faults: tuple[Fault, ...] = ()

    def __repr__(self) -> str:
        return f"<Verdict {self.status.value} {self.faults}>"


@attrs.define(eq=False, repr=False)
class Verdicts(Sequence[Verdict]):
    """What is said about many users, in columns; a `Verdict` for whoever looks at one."""

    statuses: list[Status] = attrs.field(factory=list[Status])
    wa_ids: list[str | None] = attrs.field(factory=list[Any])
    reasons: dict[int, tuple[str | None, tuple[Fault, ...]]] = attrs.field(factory=dict[int, Any])
    """The `user_id` and the faults by place, where there are any."""

    def enter(self, count: int, status: Status) -> None:
        """Add users of whom no more is known."""
        self.statuses += [status] * count
        self.wa_ids += [None] * count

    def put(self, places: Iterable[int], verdicts: Verdicts) -> None:
        """Replace what is said about the users at *places*."""
        statuses, wa_ids = self.statuses, self.wa_ids
        for place, status, wa_id in zip(places, verdicts.statuses, verdicts.wa_ids, strict=True):
            statuses[place] = status
            wa_ids[place] = wa_id
        if verdicts.reasons or self.reasons:
            for at, place in enumerate(places):
                self.reasons[place] = verdicts.reasons.get(at, _NO_REASON)

    def __len__(self) -> int:
        return len(self.statuses)

    def __getitem__(self, place: Any) -> Any:
        user_id, faults = self.reasons.get(place, _NO_REASON)
        return Verdict(self.statuses[place], self.wa_ids[place], user_id, faults)

    def __setitem__(self, place: int, verdict: Verdict) -> None:
        self.statuses[place], self.wa_ids[place], user_id, faults = verdict
        self.reasons[place] = (user_id, faults)


_NO_REASON: Final[tuple[None, tuple[Fault, ...]]] = (None, ())


@attrs.define(eq=False, repr=False)
class Outcomes:
    """The outcomes of a job, in columns; each is built when somebody looks at it first."""

    inputs: list[Any] = attrs.field(factory=list[Any])
    verdicts: Verdicts = attrs.field(factory=Verdicts)
    uncertain: set[int] = attrs.field(factory=set[int])
    """The places of those that are uncertain."""
    _built: dict[int, Outcome] = attrs.field(factory=dict[int, Outcome], alias="built")

    def enter(self, inputs: Sequence[Any]) -> None:
        """Add users of whom nothing is known yet."""
        self.inputs += inputs
        self.verdicts.enter(len(inputs), Status.REMAINING)

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.at(range(len(self))))

    def at(self, places: Iterable[int]) -> tuple[Outcome, ...]:
        """Return the outcomes at these places."""
        return tuple([self._built.get(place) or self._build(place) for place in places])

    def _build(self, place: int) -> Outcome:
        status, wa_id, user_id, faults = self.verdicts[place]
        uncertain = place in self.uncertain and status is not Status.DONE
        outcome = Outcome(self.inputs[place], status, wa_id, user_id, faults, uncertain)
        self._built[place] = outcome
        return outcome

    def with_status(self, status: Status) -> tuple[Outcome, ...]:
        """Return those of one status."""
        statuses = self.verdicts.statuses
        return self.at([place for place, each in enumerate(statuses) if each is status])


def _in_columns(outcomes: Iterable[Outcome]) -> Outcomes:
    if isinstance(outcomes, Outcomes):
        return outcomes
    given = tuple(outcomes)
    columns = Outcomes(built=dict(enumerate(given)))
    columns.enter([each.input for each in given])
    for place, each in enumerate(given):
        verdict = Verdict(each.status, each.wa_id, each.user_id, each.faults)
        columns.verdicts[place] = verdict
    return columns


@attrs.frozen(repr=False, slots=False)
class Report(Sequence[Outcome]):
    """What became of every user of a job: a sequence of outcomes in the order of the input.

    It is true even if it is empty; ask `len(report)`, or `report.failed`.
    """

    operation: Operation
    _outcomes: Outcomes = attrs.field(alias="outcomes", converter=_in_columns, eq=tuple)
    repeats: int = 0
    """Inputs that were dropped because they named a user who was passed before."""
    requests: int = 0
    """Requests that were sent for this job."""
    rate_limited: int = 0
    """How many of them the server refused for its rate limit."""
    elapsed: float = 0.0
    """Seconds that the job took."""
    _keys: Sequence[str] = attrs.field(alias="keys", default=(), kw_only=True, eq=False)
    """Who is meant by each input, where that is known; empty for what was rejected."""
    _reader: Reader = attrs.field(alias="reader", default=INTERNATIONAL, kw_only=True, eq=False)
    """Reads other spellings."""

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """One for each distinct user, in the order in which they were passed."""
        return tuple(self._outcomes)

    @property
    def counts(self) -> Counter[Status]:
        """How many users have each status."""
        return Counter(self._outcomes.verdicts.statuses)

    @property
    def succeeded(self) -> tuple[Outcome, ...]:
        """Those that are `DONE`."""
        return self._outcomes.with_status(Status.DONE)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that are `FAILED`."""
        return self._outcomes.with_status(Status.FAILED)

    @property
    def unknown(self) -> tuple[Outcome, ...]:
        """Those that are `UNKNOWN`. To submit them again does no harm."""
        return self._outcomes.with_status(Status.UNKNOWN)

    @property
    def remaining(self) -> tuple[Outcome, ...]:
        """Those that are `REMAINING`. Submit them again: `client.block(report.remaining)`."""
        return self._outcomes.with_status(Status.REMAINING)

    @property
    def faults_by_code(self) -> dict[int | str, tuple[Outcome, ...]]:
        """The outcomes with a fault, grouped by the first one's code, or its message without one.

        Our own checks have no code: inputs that were rejected are grouped by the reason.
        """
        groups: dict[int | str, list[int]] = {}
        for place, (_, faults) in sorted(self._outcomes.verdicts.reasons.items()):
            if faults:
                code = faults[0].message if faults[0].code is None else faults[0].code
                groups.setdefault(code, []).append(place)
        return {code: self._outcomes.at(places) for code, places in groups.items()}

    def get(self, user: User) -> Outcome | None:
        """Return the outcome of *user*, in any spelling; None if the user was not passed."""
        place = self._places.get(self._key_of(user))
        return None if place is None else self[place]

    @overload
    def __getitem__(self, index: int) -> Outcome: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome, ...]: ...

    def __getitem__(self, index: int | slice) -> Outcome | tuple[Outcome, ...]:
        """Return the outcome at *index*, or a tuple of those in a slice.

        Raises:
            IndexError: There are not so many.
            TypeError: *index* is no index; a user is looked up by `get`.
        """
        if isinstance(index, slice):
            return self._outcomes.at(range(len(self))[index])
        try:
            place = range(len(self))[index]
        except IndexError:
            raise IndexError(f"the report has {len(self)} outcomes") from None
        except TypeError:
            raise TypeError(
                "report[…] takes an index or a slice; report.get(user) looks a user up"
            ) from None
        return self._outcomes.at((place,))[0]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __bool__(self) -> bool:
        """Be true, also without outcomes: a report is there."""
        return True

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each outcome as plain values, fit for JSON or CSV."""
        return [outcome.to_dict() for outcome in self._outcomes]

    def raise_for_failures(self) -> None:
        """Raise `PartialFailure` unless every user is `DONE`."""
        if self.counts.keys() - {Status.DONE}:
            raise PartialFailure(self)

    def summary(self) -> str:
        """Return the counts in a few words, such as `3 done, 1 failed`."""
        counts = self.counts
        words = (f"{counts[status]} {status.value}" for status in Status if counts[status])
        return ", ".join(words) or "no users"

    def __repr__(self) -> str:
        return f"<Report {self.operation.value}: {self.summary()}>"

    @cached_property
    def _places(self) -> dict[object, int]:
        inputs = self._outcomes.inputs
        keys = self._keys or map(self._key_of, inputs)
        return {
            key or _rejected(name): place
            for place, (name, key) in enumerate(zip(inputs, keys, strict=True))
        }

    def _key_of(self, user: object) -> object:
        try:
            return identify(user, self._reader).key
        except ValueError:
            return _rejected(named_by(user))


def _rejected(name: object) -> object:
    return ("rejected", type(name).__name__, written(name))


@attrs.define(slots=False)
class Incomplete(BlockUsersError):
    """A job ended early. Every user that was drawn is in its *report*."""

    report: Report
    """What is done and what is not: `remaining` and `unknown` can be submitted again."""
    error: Exception = attrs.field(repr=lambda error: identifiers.mask_all(repr(error)))
    """What ended the job; also the `__cause__`."""

    def __str__(self) -> str:
        report, again = self.report, ""
        if isinstance(self.error, BlocklistFull):
            return (
                f"the blocklist is full (64,000): {len(report) - len(report.succeeded):,} were not"
                " blocked; unblock somebody and submit them again"
            )
        if rest := [f"report.{name}" for name in ("unknown", "remaining") if getattr(report, name)]:
            again = f"; submit {' and '.join(rest)} again"
        return f"the job ended early ({report.summary()}): {why(self.error)}{again}"


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
        name, status = identifiers.mask(written(self.outcome.input)), self.outcome.status
        became = "failed" if status is Status.FAILED else f"is {status.value}"
        return f"{name} {became}: {self.outcome.fault or 'no answer about it'}"
