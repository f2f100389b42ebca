"""`Report`: what became of every user of a job, and the errors that carry one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, overload

import attrs

from blockusers.values.columns import Outcomes, in_columns
from blockusers.values.errors import BlocklistFull, BlockUsersError
from blockusers.values.masking import mask_all
from blockusers.values.outcome import (
    Operation,
    Outcome,
    Status,
    User,
    identify,
    named_by,
    why,
    written,
)
from blockusers.values.users import INTERNATIONAL, Reader


@attrs.frozen(repr=False, slots=False)
class Report(Sequence[Outcome]):
    """What became of every distinct user of a job, each once, in the order of the input.

    That some of them failed is normal, and no exception; `raise_for_failures()` makes it one.
    A report is true even if it is empty; ask `len(report)`, or `report.failed`.
    """

    operation: Operation
    """What was done to the users."""
    _outcomes: Outcomes = attrs.field(alias="outcomes", converter=in_columns, eq=tuple)
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
        for index, (_, faults) in sorted(self._outcomes.verdicts.reasons.items()):
            if faults:
                code = faults[0].message if faults[0].code is None else faults[0].code
                groups.setdefault(code, []).append(index)
        return {code: self._outcomes.at(indexes) for code, indexes in groups.items()}

    def get(self, user: User) -> Outcome | None:
        """Return the outcome of *user*, in any spelling; None if the user was not passed."""
        index = self._indexes.get(self._key_of(user))
        return None if index is None else self[index]

    @overload
    def __getitem__(self, index: int) -> Outcome: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Outcome, ...]: ...

    def __getitem__(self, index: int | slice) -> Outcome | tuple[Outcome, ...]:
        """Return the outcome at *index*, or a tuple of those in a slice."""
        if isinstance(index, slice):
            return self._outcomes.at(range(len(self))[index])
        try:
            index = range(len(self))[index]
        except IndexError:
            raise IndexError(f"the report has {len(self)} outcomes") from None
        except TypeError:
            raise TypeError(
                "report[…] takes an index or a slice; report.get(user) looks a user up"
            ) from None
        return self._outcomes.at((index,))[0]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __bool__(self) -> bool:
        """Return True, also without outcomes: there is a report."""
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
    def _indexes(self) -> dict[object, int]:
        inputs = self._outcomes.inputs
        keys = self._keys or map(self._key_of, inputs)
        return {
            key or _rejected(name): index
            for index, (name, key) in enumerate(zip(inputs, keys, strict=True))
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
    """A job ended early. Every user that was read from the input is in its *report*."""

    report: Report
    """What is done and what is not: `remaining` and `unknown` can be submitted again."""
    error: Exception = attrs.field(repr=lambda error: mask_all(repr(error)))
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
    """What became of all users of the job."""

    def __str__(self) -> str:
        worst = sorted(self.report.faults_by_code.values(), key=len, reverse=True)[:3]
        faults = [f"{len(group)} x {group[0].fault}" for group in worst]
        return "; ".join([f"{self.report.operation.value}: {self.report.summary()}", *faults])
