"""The state of each user of a job: who was submitted, what each answer said, what is final.

A user is known here by the *index* at which they were submitted, and the state is kept in columns:
lists that have an entry for every index, and sets of the indexes where something is out of the
ordinary.  For a list of 64,000 that costs a tenth of an object for each user.

Whether an attempt is *open*, that is, was sent and may still take effect, because no answer about
the user has come since, decides between `UNKNOWN` and `REMAINING`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from blockusers.values.columns import Outcomes, Tally, Verdict, Verdicts
from blockusers.values.errors import ApiError, BlocklistFull, ClientClosed, RateLimited, known
from blockusers.values.outcome import Fault, Operation, Status, User, identify, named_by
from blockusers.values.report import Report
from blockusers.values.users import INTERNATIONAL, Identifiers, Reader


class JobState:
    """The state of each user of one job."""

    def __init__(self, operation: Operation, attempts: int, reader: Reader = INTERNATIONAL) -> None:
        self.operation = operation
        self._reader = reader
        self.to_retry: list[int] = []
        """Those that failed for a transient reason, to be sent again."""
        self.unreported: list[int] = []
        """Those whose outcome is final, and was not reported to the caller yet."""
        self.outcomes = Outcomes()
        """What is known about each."""
        self._most_attempts = attempts
        self._keys: list[str] = []
        self._wires: list[str] = []
        self._known: set[str] = set()
        self.unsettled: set[int] = set()
        """Those whose outcome is not final."""
        self.open: set[int] = set()
        """Those with an attempt that was sent and not answered."""
        self.full: BlocklistFull | None = None
        """Set once an answer said that the blocklist is full."""
        self._attempts: Counter[int] = Counter()
        self._repeats = self._requests = self._rate_limited = 0

    def admit(self, users: Sequence[User]) -> Sequence[int]:
        """Enter users; return the indexes of those to be sent: no repeats, nothing rejected."""
        all_text = set(map(type, users)) == {str}
        named = users if all_text else [named_by(user) for user in users]
        keys = self._reader.read_plain(named)
        if keys is not None:
            distinct = set(keys)
            if len(distinct) == len(keys) and self._known.isdisjoint(distinct):
                self._known |= distinct
                return self._enter(named, keys, named)
        return [index for user in users for index in self._admit_one(user)]

    def _admit_one(self, user: User) -> Iterable[int]:
        name = named_by(user)
        try:
            key, wire = identify(user, self._reader)
        except ValueError as error:
            (index,) = self._enter([name], [""], [""])
            fault = Fault(None, str(error))
            self.outcomes.verdicts[index] = Verdict(Status.FAILED, faults=(fault,))
            self._settle([index])
            return ()
        if key in self._known:
            self._repeats += 1
            return ()
        self._known.add(key)
        return self._enter([name], [key], [wire])

    def _enter(self, named: Sequence[Any], keys: list[str], wires: Sequence[Any]) -> range:
        first = len(self._keys)
        indexes = range(first, first + len(keys))
        self._keys += keys
        self._wires += wires
        self.outcomes.enter(named)
        self.unsettled.update(indexes)
        return indexes

    def keys(self, indexes: Iterable[int]) -> list[str]:
        """Return the keys of these users."""
        keys = self._keys
        return [keys[index] for index in indexes]

    def identifiers(self, chunk: Sequence[int]) -> Identifiers:
        """Return how the API is told about the users of a chunk."""
        wires = self._wires
        return Identifiers(self.keys(chunk), [wires[index] for index in chunk])

    def note_sent(self, chunk: Iterable[int]) -> set[int]:
        """Note that a chunk is sent; return those of it with an open attempt before."""
        was_open = self.open.intersection(chunk)
        self.open.update(chunk)
        return was_open

    def note_answer(self, chunk: Sequence[int], verdicts: Verdicts) -> Sequence[int]:
        """Note an answer; return those for whom it is final."""
        self._requests += 1
        self.open.difference_update(chunk)
        self.outcomes.verdicts.put(chunk, verdicts)
        if set(verdicts.statuses) <= {Status.DONE}:
            return self._settle(chunk)
        to_retry: set[int] = set()
        for index, status in zip(chunk, verdicts.statuses, strict=True):
            if status is Status.UNKNOWN:
                self.outcomes.uncertain.add(index)
            elif status is Status.FAILED:
                verdict = self.outcomes.verdicts[index]
                if self._count_try(index, verdict):
                    to_retry.add(index)
                self.full = self.full or blocklist_full(self.operation, verdict.faults)
        self.to_retry += sorted(to_retry)
        return self._settle([index for index in chunk if index not in to_retry])

    def _count_try(self, index: int, verdict: Verdict) -> bool:
        if not all(fault.transient for fault in verdict.faults):
            return False
        self._attempts[index] += 1
        return self._attempts[index] < self._most_attempts

    def note_no_answer(
        self, chunk: Sequence[int], was_open: Iterable[int], error: BaseException
    ) -> bool:
        """Note an attempt that ended in *error*; return whether it may still take effect."""
        self._requests += _was_sent(error)
        self._rate_limited += isinstance(error, RateLimited) and error.sent
        may_take_effect = _may_take_effect(error)
        if not may_take_effect:
            self.open.difference_update(chunk)
            self.open.update(was_open)
        self.outcomes.uncertain |= self.open.intersection(chunk)
        return may_take_effect

    def conclude(self, *, only_open: bool = False) -> Sequence[int]:
        """Make every outcome final; with *only_open*, of those who may be affected.

        Returns:
            Those for whom it is final now.
        """
        for index in self.open:
            self.outcomes.verdicts.statuses[index] = Status.UNKNOWN
        return self._settle(sorted(self.unsettled & self.open if only_open else self.unsettled))

    def tally(self, indexes: Sequence[int]) -> Tally:
        """Count statuses, and the codes of the faults that are their reasons."""
        all_statuses, reasons = self.outcomes.verdicts.statuses, self.outcomes.verdicts.reasons
        statuses = [all_statuses[index] for index in indexes]
        if statuses.count(Status.DONE) == len(statuses):
            return {(Status.DONE, None): len(statuses)}
        # `count` compares identities; to hash a member of an enum takes twenty times as long.
        tally = Counter[tuple[Status, int | None]]()
        tally.update({(status, None): statuses.count(status) for status in Status})
        for index in indexes:
            if index in reasons and (faults := reasons[index][1]):
                tally[all_statuses[index], None] -= 1
                tally[all_statuses[index], faults[0].code] += 1
        return +tally

    def _settle(self, indexes: Sequence[int]) -> Sequence[int]:
        self.unsettled.difference_update(indexes)
        self.unreported += indexes
        return indexes

    def report(self, elapsed: float) -> Report:
        """Return the report, in the order in which the users were submitted."""
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


def blocklist_full(operation: Operation, faults: Sequence[Fault]) -> BlocklistFull | None:
    """Return the error that a user's faults stand for, if they say that the list is full."""
    code = known(faults[0].code) if faults and operation is Operation.BLOCK else None
    if code is None or code.error is not BlocklistFull:
        return None
    return BlocklistFull(faults[0].message, faults[0].code, details=faults[0].details)


def _was_sent(error: BaseException) -> bool:
    """Say whether a request that ended with *error* may have left.

    `Session.send` sets `sent` on every exception that passes, cancellations included.
    """
    return bool(getattr(error, "sent", not isinstance(error, ClientClosed)))


def _may_take_effect(error: BaseException) -> bool:
    return _was_sent(error) and not (isinstance(error, ApiError) and error.not_applied)
