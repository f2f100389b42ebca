"""Outcomes of many users in columns, because 64,000 objects would cost too much time and memory.

What one answer says about three users, as `Verdicts`; *reasons* is a dict with what is rare:

    index   statuses   wa_ids          reasons
    0       DONE       "16505551234"
    1       FAILED     "16505551235"   1: (None, (Fault(131047, …),))
    2       UNKNOWN    None

`verdicts[1]` is a `Verdict`: the values of one line.  `Outcomes` is what a job knows of its users:
the inputs in one more column, `verdicts` with what the last answers said, and the indexes of those
who are uncertain.  An `Outcome`, which callers see, is built when one is first looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import attrs

from blockusers.values.outcome import Fault, Outcome, Status

Tally: TypeAlias = Mapping[tuple[Status, int | None], int]
"""How many users have each status and, as its reason, an error code of Meta's (or None)."""


class Verdict(NamedTuple):
    """What one answer says about one user."""

    status: Status
    wa_id: str | None = None
    user_id: str | None = None
    faults: tuple[Fault, ...] = ()

    def __repr__(self) -> str:
        return f"<Verdict {self.status.value} {self.faults}>"


@attrs.define(eq=False, repr=False)
class Verdicts:
    """What answers say about many users; see the drawing above."""

    statuses: list[Status] = attrs.field(factory=list[Status])
    wa_ids: list[str | None] = attrs.field(factory=list[Any])
    reasons: dict[int, tuple[str | None, tuple[Fault, ...]]] = attrs.field(factory=dict[int, Any])
    """The `user_id` and the faults by index, where there are any."""

    def enter(self, count: int, status: Status) -> None:
        """Add users of whom no more is known."""
        self.statuses += [status] * count
        self.wa_ids += [None] * count

    def put(self, indexes: Iterable[int], verdicts: Verdicts) -> None:
        """Replace what is said about the users at *indexes* by *verdicts*, in that order."""
        statuses, wa_ids = self.statuses, self.wa_ids
        for index, status, wa_id in zip(indexes, verdicts.statuses, verdicts.wa_ids, strict=True):
            statuses[index] = status
            wa_ids[index] = wa_id
        if verdicts.reasons or self.reasons:
            for at, index in enumerate(indexes):
                if at in verdicts.reasons:
                    self.reasons[index] = verdicts.reasons[at]
                else:
                    self.reasons.pop(index, None)

    def __len__(self) -> int:
        return len(self.statuses)

    def __getitem__(self, index: int) -> Verdict:
        user_id, faults = self.reasons.get(index, _NO_REASON)
        return Verdict(self.statuses[index], self.wa_ids[index], user_id, faults)

    def __setitem__(self, index: int, verdict: Verdict) -> None:
        self.statuses[index], self.wa_ids[index], *reason = verdict
        if any(reason):
            self.reasons[index] = (verdict.user_id, verdict.faults)
        else:
            self.reasons.pop(index, None)


_NO_REASON: Final[tuple[None, tuple[Fault, ...]]] = (None, ())


@attrs.define(eq=False, repr=False)
class Outcomes:
    """What a job knows of its users; see the drawing above."""

    inputs: list[Any] = attrs.field(factory=list[Any])
    verdicts: Verdicts = attrs.field(factory=Verdicts)
    uncertain: set[int] = attrs.field(factory=set[int])
    """The indexes of those that are uncertain."""
    _built: dict[int, Outcome] = attrs.field(factory=dict[int, Outcome], alias="built")

    def enter(self, inputs: Sequence[Any]) -> None:
        """Add users of whom nothing is known yet."""
        self.inputs += inputs
        self.verdicts.enter(len(inputs), Status.REMAINING)

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.at(range(len(self))))

    def at(self, indexes: Iterable[int]) -> tuple[Outcome, ...]:
        """Return the outcomes at these indexes, which are kept: only for those that are final."""
        return tuple([self._built.get(index) or self._build(index) for index in indexes])

    def _build(self, index: int) -> Outcome:
        status, wa_id, user_id, faults = self.verdicts[index]
        uncertain = index in self.uncertain and status is not Status.DONE
        outcome = Outcome(self.inputs[index], status, wa_id, user_id, faults, uncertain)
        return self._built.setdefault(index, outcome)

    def with_status(self, status: Status) -> tuple[Outcome, ...]:
        """Return those of one status."""
        statuses = self.verdicts.statuses
        return self.at([index for index, each in enumerate(statuses) if each is status])


def in_columns(outcomes: Iterable[Outcome]) -> Outcomes:
    """Put *outcomes* into columns, unless they are there already."""
    if isinstance(outcomes, Outcomes):
        return outcomes
    given = tuple(outcomes)
    columns = Outcomes(built=dict(enumerate(given)))
    columns.enter([each.input for each in given])
    for index, each in enumerate(given):
        columns.verdicts[index] = Verdict(each.status, each.wa_id, each.user_id, each.faults)
    return columns
