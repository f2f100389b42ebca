"""The books of a job: who was handed in, what each answer said, and so what became of each user.

Between `UNKNOWN` and `REMAINING` decides one flag per user: whether an attempt is *open*, that is,
was sent and never answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from blockusers import identifiers
from blockusers.errors import ApiError, ClientClosed, RateLimited, TransportError
from blockusers.identifiers import Identifier
from blockusers.models import Fault, Operation, Reaction, Status, known
from blockusers.report import Outcome, Report, User, named_by
from blockusers.wire import Verdict


@attrs.define(eq=False, repr=False)
class Entry:
    """One distinct user of a job, before its outcome is final."""

    input: Any
    identifier: Identifier
    verdict: Verdict = Verdict(Status.REMAINING)
    """The last answer about this user."""
    attempts: int = 0
    """Answers so far that named a passing fault."""
    open: bool = False
    """Whether an attempt was sent and not answered since."""
    uncertain: bool = False
    """Whether any attempt was left without an answer."""
    outcome: Outcome | None = None
    """The final word."""

    def conclude(self) -> Outcome:
        """Make the outcome final, from what is known now."""
        verdict = self.verdict
        status = Status.UNKNOWN if self.open else verdict.status
        uncertain = self.uncertain and status is not Status.DONE
        self.outcome = Outcome(
            self.input, status, verdict.wa_id, verdict.user_id, verdict.faults, uncertain
        )
        return self.outcome


class Ledger:
    """The books of one job: who was handed in, and what each answer said."""

    def __init__(self, operation: Operation, attempts: int) -> None:
        self.operation = operation
        self.pool: list[Entry] = []
        """Those that failed for a passing reason, to be sent again."""
        self.news: list[Outcome] = []
        """What became final and was not handed on yet."""
        self._attempts = attempts
        self._entries: dict[str, Entry] = {}
        self._order: list[Entry | Outcome] = []
        self._repeats = self._requests = self._rate_limited = 0

    def admit(self, user: User) -> Entry | None:
        """Enter a user; return None for a repeat, and for what names nobody."""
        named = named_by(user)
        try:
            identifier = identifiers.read(named)
        except ValueError as error:
            refused = Outcome(named, Status.FAILED, faults=(Fault(None, str(error)),))
            self._order.append(refused)
            self.news.append(refused)
            return None
        if identifier.key in self._entries:
            self._repeats += 1
            return None
        entry = self._entries[identifier.key] = Entry(named, identifier)
        self._order.append(entry)
        return entry

    def answered(self, chunk: Sequence[Entry], verdicts: dict[str, Verdict]) -> Fault | None:
        """Book an answer; return the fault by which it says that the blocklist is full."""
        self._requests += 1
        full = None
        for entry in chunk:
            entry.verdict, entry.open = verdicts[entry.identifier.key], False
            entry.uncertain = entry.uncertain or entry.verdict.status is Status.UNKNOWN
            if not self._pooled(entry):
                outcome = entry.conclude()
                self.news.append(outcome)
                full = full or self._full(outcome)
        return full

    def _pooled(self, entry: Entry) -> bool:
        verdict = entry.verdict
        if verdict.status is not Status.FAILED or not all(f.transient for f in verdict.faults):
            return False
        entry.attempts += 1
        if entry.attempts >= self._attempts:
            return False
        self.pool.append(entry)
        return True

    def _full(self, outcome: Outcome) -> Fault | None:
        code = known(outcome.fault.code) if outcome.fault else None
        full = code is not None and code.reaction is Reaction.STOP_BLOCKING
        return outcome.fault if full and self.operation is Operation.BLOCK else None

    def unanswered(
        self, chunk: Sequence[Entry], was_open: Sequence[bool], error: BaseException
    ) -> None:
        """Book an attempt that ended in *error*."""
        self._requests += _was_sent(error)
        self._rate_limited += isinstance(error, RateLimited) and error.sent
        harmless = _had_no_effect(error)
        for entry, before in zip(chunk, was_open, strict=True):
            entry.open = before if harmless else True
            entry.uncertain = entry.uncertain or entry.open

    def conclude(self, *, only_open: bool = False) -> None:
        """Make every outcome final; with *only_open*, of those who may be affected."""
        for entry in self._entries.values():
            if entry.outcome is None and (entry.open or not only_open):
                self.news.append(entry.conclude())

    def report(self, elapsed: float) -> Report:
        """Draw up the report, in the order in which the users were handed in."""
        outcomes = (
            entry if isinstance(entry, Outcome) else entry.outcome or entry.conclude()
            for entry in self._order
        )
        return Report(
            self.operation,
            tuple(outcomes),
            repeats=self._repeats,
            requests=self._requests,
            rate_limited=self._rate_limited,
            elapsed=elapsed,
        )


def _was_sent(error: BaseException) -> bool:
    match error:
        case TransportError() | ApiError():
            return error.sent
        case _:
            return not isinstance(error, ClientClosed)


def _had_no_effect(error: BaseException) -> bool:
    return not _was_sent(error) or (isinstance(error, ApiError) and error.refused)
