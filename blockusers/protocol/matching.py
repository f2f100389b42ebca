"""Matches the rows of an answer to the users who were asked for: who is done, failed or unknown.

Whatever is not as the API promises is read as "nobody knows", never as done:

- a user whom the answer forgot, names both as done and as failed, or as done with errors, is
  `UNKNOWN`;
- a row that is malformed makes the user it names `UNKNOWN`;
- a row for somebody who was not asked for is ignored and logged.

Rows and faults beyond what so many users can have are counted, logged and not kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from functools import cached_property
from itertools import chain
from typing import Any, Final

from blockusers.protocol.failures import fault_of
from blockusers.protocol.rows import Row, are_digits, structure
from blockusers.values import users as identifiers
from blockusers.values.columns import Verdict, Verdicts
from blockusers.values.outcome import Fault, Status
from blockusers.values.users import Identifiers

_LOG: Final = logging.getLogger("blockusers")

_MOST_ROWS_A_USER: Final = 2
_MOST_FAULTS_A_USER: Final = 4
# A BSUID has 131 characters at most; what is longer was not sent, and is not worth parsing.
_LONGEST_NAME: Final = 140


class Matcher:
    """Matches the rows of an answer to the users that were asked for."""

    def __init__(self, asked: Identifiers) -> None:
        self._asked = asked
        self._index_of_input = {wire: index for index, wire in enumerate(asked.wires)}
        self._ignored: list[str] = []
        self._faults_left_out = 0

    @cached_property
    def _index_of_key(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self._asked.keys)}

    def match(self, done: Sequence[Any], failed: Sequence[Any]) -> Verdicts:
        """Return a verdict for each user who was asked for."""
        done, failed = self._bounded(done), self._bounded(failed)
        verdicts = Verdicts()
        verdicts.enter(len(self._asked), Status.UNKNOWN)
        doubtful: set[int] = set()
        done_indexes = self._plainly_done(done, verdicts)
        if done_indexes is None:
            done_rows, doubtful = self._read(done)
            for index, rows in done_rows.items():
                faults = self._faults(rows)
                status = Status.UNKNOWN if faults else Status.DONE
                verdicts[index] = Verdict(status, rows[0].wa_id, rows[0].user_id, faults)
            done_indexes = done_rows.keys()
        failed_rows, doubtful_failed = self._read(failed)
        for index, rows in failed_rows.items():
            faults = self._faults(rows) or (fault_of(None),)
            verdicts[index] = Verdict(Status.FAILED, rows[0].wa_id, rows[0].user_id, faults)
        for index in doubtful | doubtful_failed | (failed_rows.keys() & done_indexes):
            verdicts.statuses[index] = Status.UNKNOWN
        self._log()
        return verdicts

    def _bounded(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the rows that are looked at: each user may be repeated once."""
        most = _MOST_ROWS_A_USER * len(self._asked)
        if len(rows) > most:
            why = f"there are {len(rows):,} rows for {len(self._asked):,} users"
            self._ignored += [why] * (len(rows) - most)
        return rows[:most]

    def _faults(self, rows: Iterable[Row]) -> tuple[Fault, ...]:
        entries = list(chain.from_iterable(_entries(row.errors) for row in rows))
        self._faults_left_out += len(entries[_MOST_FAULTS_A_USER:])
        return tuple(map(fault_of, entries[:_MOST_FAULTS_A_USER]))

    def _log(self) -> None:
        if self._ignored:
            _LOG.warning(
                "ignored rows of an answer: %d, the first because %s",
                len(self._ignored),
                self._ignored[0],
            )
        if self._faults_left_out:
            _LOG.warning(
                "ignored errors in an answer: %d, for there were more than %d of one user",
                self._faults_left_out,
                _MOST_FAULTS_A_USER,
            )

    def _plainly_done(self, entries: Sequence[Any], verdicts: Verdicts) -> AbstractSet[int] | None:
        """Read rows of nothing but an `input` that was sent and a `wa_id`, all at once.

        That is what nearly every row is, and it is a tenth of the work.

        Returns:
            The indexes of those that are done; None if any row is not so plain.
        """
        index_of = self._index_of_input
        try:
            indexes = [index_of[row["input"]] for row in entries]
            wa_ids = [row["wa_id"] for row in entries]
        except (KeyError, TypeError):
            return None
        distinct = set(indexes)
        if len(distinct) < len(indexes) or set(map(len, entries)) - {2} or not are_digits(wa_ids):
            return None
        done = Verdicts([Status.DONE] * len(indexes), wa_ids)
        verdicts.put(indexes, done)
        return distinct

    def _read(self, entries: Iterable[Any]) -> tuple[dict[int, list[Row]], set[int]]:
        """Return the rows by the user whom each names, and who is named by a malformed one."""
        rows: dict[int, list[Row]] = {}
        doubtful: set[int] = set()
        for entry in entries:
            try:
                row = structure(entry, Row)
            except ValueError as why:
                self._ignored.append(str(why))
                doubtful |= self._named_by_malformed(entry)
                continue
            if (index := self._match(row)) is None:
                self._ignored.append("it names a user who was not asked for")
            else:
                rows.setdefault(index, []).append(row)
        return rows, doubtful

    def _match(self, row: Row) -> int | None:
        """Match by `input`, then by the digits of `wa_id`, then by `user_id`; never by position.

        An `input` that names somebody else is not overruled by the ids beside it.
        """
        if row.input is not None:
            if (index := self._index_of_input.get(row.input)) is not None:
                return index
            with suppress(ValueError):
                return self._index_of_key.get(identifiers.read(row.input[:_LONGEST_NAME]).key)
        indexes = (self._index_of_key.get(name) for name in (row.wa_id, row.user_id) if name)
        return next((index for index in indexes if index is not None), None)

    def _named_by_malformed(self, entry: Any) -> set[int]:
        values = entry.values() if isinstance(entry, dict) else (entry,)
        texts = [value for value in values if isinstance(value, str)]
        by_key = self._index_of_key
        indexes = (self._index_of_input.get(t, by_key.get(t.removeprefix("+"))) for t in texts)
        return {index for index in indexes if index is not None}


def _entries(errors: Any) -> list[Any]:
    """Return the entries of a row's `errors`, which should be a list."""
    if isinstance(errors, list):
        return errors
    return [errors] if errors else []
