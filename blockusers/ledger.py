"""The books of a job: who was handed in, what each answer said, and so what became of each user.

A user is known here by the *place* at which they were handed in, and the books are columns: lists
that have an entry for every place, and sets of the places where something is out of the ordinary.
For a list of 64,000 that costs a tenth of an object for each user.

Between `UNKNOWN` and `REMAINING` decides whether an attempt is *open*, that is, was sent and never
answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from blockusers.errors import ApiError, ClientClosed, RateLimited, TransportError
from blockusers.identifiers import INTERNATIONAL, Identifiers, Reader
from blockusers.models import Fault, Operation, Reaction, Status, known
from blockusers.report import (
    Outcomes,
    Report,
    Tally,
    User,
    Verdict,
    Verdicts,
    identify,
    named_by,
)


class Ledger:
    """The books of one job: who was handed in, and what each answer said."""

    def __init__(self, operation: Operation, attempts: int, reader: Reader = INTERNATIONAL) -> None:
        self.operation = operation
        self._reader = reader
        self.pool: list[int] = []
        """Those that failed for a passing reason, to be sent again."""
        self.news: list[int] = []
        """Who became final and was not handed on yet."""
        self.outcomes = Outcomes()
        """What is known about each; final for those that were in the news."""
        self._most_attempts = attempts
        self._keys: list[str] = []
        self._wires: list[str] = []
        self._known: set[str] = set()
        self.unsettled: set[int] = set()
        """Those of whom the last is not heard."""
        self.open: set[int] = set()
        """Those with an attempt that was sent and not answered."""
        self.full: Fault | None = None
        """The fault by which an answer said that the blocklist is full."""
        self._attempts: Counter[int] = Counter()
        self._repeats = self._requests = self._rate_limited = 0

    def admit(self, users: Sequence[User]) -> Sequence[int]:
        """Enter users; return the places of those to be sent: no repeats, nothing refused."""
        named = users if _all_text(users) else [named_by(user) for user in users]
        keys = self._reader.read_plain(named)
        if keys is not None:
            distinct = set(keys)
            if len(distinct) == len(keys) and self._known.isdisjoint(distinct):
                self._known |= distinct
                return self._enter(named, keys, named)
        return [place for user in users for place in self._admit_one(user)]

    def _admit_one(self, user: User) -> Iterable[int]:
        name = named_by(user)
        try:
            key, wire = identify(user, self._reader)
        except ValueError as error:
            (place,) = self._enter([name], [""], [""])
            fault = Fault(None, str(error))
            self.outcomes.verdicts[place] = Verdict(Status.FAILED, faults=(fault,))
            self._settle([place])
            return ()
        if key in self._known:
            self._repeats += 1
            return ()
        self._known.add(key)
        return self._enter([name], [key], [wire])

    def _enter(self, named: Sequence[Any], keys: list[str], wires: Sequence[Any]) -> range:
        first = len(self._keys)
        places = range(first, first + len(keys))
        self._keys += keys
        self._wires += wires
        self.outcomes.enter(named)
        self.unsettled.update(places)
        return places

    def keys(self, places: Iterable[int]) -> list[str]:
        """Return the keys of these users."""
        keys = self._keys
        return [keys[place] for place in places]

    def named(self, chunk: Sequence[int]) -> Identifiers:
        """Return how the API is told about the users of a chunk."""
        wires = self._wires
        return Identifiers(self.keys(chunk), [wires[place] for place in chunk])

    def send(self, chunk: Iterable[int]) -> set[int]:
        """Book that a chunk is sent; return those of it with an open attempt before."""
        was_open = self.open.intersection(chunk)
        self.open.update(chunk)
        return was_open

    def answered(self, chunk: Sequence[int], verdicts: Verdicts) -> Sequence[int]:
        """Book an answer; return those for whom it is final."""
        self._requests += 1
        self.open.difference_update(chunk)
        self.outcomes.verdicts.put(chunk, verdicts)
        if set(verdicts.statuses) <= {Status.DONE}:
            return self._settle(chunk)
        pooled: set[int] = set()
        for place, status in zip(chunk, verdicts.statuses, strict=True):
            if status is Status.UNKNOWN:
                self.outcomes.uncertain.add(place)
            elif status is Status.FAILED:
                verdict = self.outcomes.verdicts[place]
                if self._has_another_try(place, verdict):
                    pooled.add(place)
                self.full = self.full or self._says_full(verdict)
        self.pool += sorted(pooled)
        return self._settle([place for place in chunk if place not in pooled])

    def _has_another_try(self, place: int, verdict: Verdict) -> bool:
        if not all(fault.transient for fault in verdict.faults):
            return False
        self._attempts[place] += 1
        return self._attempts[place] < self._most_attempts

    def _says_full(self, verdict: Verdict) -> Fault | None:
        fault = verdict.faults[0] if verdict.faults else None
        code = known(fault.code) if fault else None
        full = code is not None and code.reaction is Reaction.STOP_BLOCKING
        return fault if full and self.operation is Operation.BLOCK else None

    def unanswered(
        self, chunk: Sequence[int], was_open: Iterable[int], error: BaseException
    ) -> None:
        """Book an attempt that ended in *error*."""
        self._requests += _was_sent(error)
        self._rate_limited += isinstance(error, RateLimited) and error.sent
        if _had_no_effect(error):
            self.open.difference_update(chunk)
            self.open.update(was_open)
        self.outcomes.uncertain |= self.open.intersection(chunk)

    def conclude(self, *, only_open: bool = False) -> Sequence[int]:
        """Make every outcome final; with *only_open*, of those who may be affected.

        Returns:
            Those for whom it is final now.
        """
        for place in self.open:
            self.outcomes.verdicts.statuses[place] = Status.UNKNOWN
        return self._settle(sorted(self.unsettled & self.open if only_open else self.unsettled))

    def tally(self, places: Sequence[int]) -> Tally:
        """Count statuses, and the codes of the faults that are their reasons."""
        all_statuses, reasons = self.outcomes.verdicts.statuses, self.outcomes.verdicts.reasons
        statuses = [all_statuses[place] for place in places]
        if statuses.count(Status.DONE) == len(statuses):
            return {(Status.DONE, None): len(statuses)}
        # `count` compares identities; to hash a member of an enum takes twenty times as long.
        tally = Counter[tuple[Status, int | None]]()
        tally.update({(status, None): statuses.count(status) for status in Status})
        for place in places:
            if place in reasons and (faults := reasons[place][1]):
                tally[all_statuses[place], None] -= 1
                tally[all_statuses[place], faults[0].code] += 1
        return +tally

    def _settle(self, places: Sequence[int]) -> Sequence[int]:
        self.unsettled.difference_update(places)
        self.news += places
        return places

    def report(self, elapsed: float) -> Report:
        """Draw up the report, in the order in which the users were handed in."""
        return Report(
            self.operation,
            self.outcomes,
            repeats=self._repeats,
            requests=self._requests,
            rate_limited=self._rate_limited,
            elapsed=elapsed,
            keys=self._keys,
            reader=self._reader,
        )


def _all_text(users: Sequence[object]) -> bool:
    return set(map(type, users)) == {str}


def _was_sent(error: BaseException) -> bool:
    match error:
        case TransportError() | ApiError():
            return error.sent
        case _:
            return not isinstance(error, ClientClosed)


def _had_no_effect(error: BaseException) -> bool:
    return not _was_sent(error) or (isinstance(error, ApiError) and error.refused)
