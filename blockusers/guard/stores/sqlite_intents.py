"""The SQL of intents and records, as functions of a connection inside a transaction."""

# ruff: noqa: S608  # what is put into statements are names of columns and `?`

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs

from blockusers.guard.intents import Counts, Intent, Rank, Record, Result
from blockusers.guard.stores.intent_state import OPPOSITE, IntentRow
from blockusers.guard.stores.protocol import CHANGES_KEPT
from blockusers.guard.stores.sqlite_entries import listed, next_number
from blockusers.guard.stores.times import compact
from blockusers.values.outcome import Operation

_SCRUBBED_EVERY: Final = 24 * 3600.0
_SCRUBBED_AT_ONCE: Final = 10_000
"""Rows, which takes some hundredths of a second."""
_Key: TypeAlias = tuple[str, str]
_VALUES: Final = "(SELECT value FROM json_each(?))"


_COLUMNS: Final = ", ".join(field.name for field in attrs.fields(IntentRow))
_PLACES: Final = ", ".join("?" for _ in attrs.fields(IntentRow))


def _load(connection: sqlite3.Connection, number: str, person: str) -> IntentRow | None:
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM intents WHERE person = ? AND number = ?", (person, number)
    ).fetchone()
    return None if row is None else IntentRow(*row)


def _save(connection: sqlite3.Connection, row: IntentRow) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO intents ({_COLUMNS}) VALUES ({_PLACES})",
        attrs.astuple(row),
    )


# --------------------------------------------------------------------------- for everybody


def want(connection: sqlite3.Connection, intents: Iterable[Intent], now: float) -> list[Intent]:
    """Write intents; return those that are open now."""
    opened = []
    for intent in intents:
        number, person = intent.phone_number_id, intent.person
        row = _load(connection, number, person) or IntentRow(person, number)
        if not row.has_seen(intent):
            row.want(intent, next_number(connection), now)
            _save(connection, row)
            opened.append(row.intent())
    return opened


def counts(connection: sqlite3.Connection, number: str) -> Counts:
    """Return how many intents and records there are of one number."""
    rows = connection.execute(
        """
        SELECT operation, count(*), min(made_at) FROM intents
        WHERE number = ? AND state > 0 GROUP BY operation
        """,
        (number,),
    ).fetchall()
    open_of = {operation: count for operation, count, _ in rows}
    blocked = connection.execute("SELECT count(*) FROM records WHERE number = ?", (number,))
    return Counts(
        blocks=open_of.get("block", 0),
        unblocks=open_of.get("unblock", 0),
        blocked=blocked.fetchone()[0],
        oldest=min((float(made_at) for _, _, made_at in rows), default=None),
    )


def forget(connection: sqlite3.Connection, before: float, now: float) -> bool:
    """Delete intents that were settled, and notes of moves that were made, before this moment.

    Returns:
        Whether it is time to scrub.
    """
    connection.execute("DELETE FROM intents WHERE state = 0 AND settled_at < ?", (before,))
    connection.execute("DELETE FROM moves WHERE made_at < ?", (before - CHANGES_KEPT,))
    scrubbed = connection.execute(
        "UPDATE sequence SET scrubbed_at = ? WHERE scrubbed_at <= ?", (now, now - _SCRUBBED_EVERY)
    )
    return scrubbed.rowcount > 0


def scrub(connection: sqlite3.Connection, table: str, after: tuple[str, str]) -> _Key | None:
    """Write some rows of a table anew, so that no copy of deleted ones is left in their pages.

    SQLite overwrites what is deleted (`secure_delete`), but not what it copied to another page
    before.  A page that no table uses any more is overwritten whole.

    Returns:
        The key of the last row; None if there are no more rows.
    """
    found = connection.execute(
        f"SELECT * FROM {table} WHERE (person, number) > (?, ?) ORDER BY person, number LIMIT ?",
        (*after, _SCRUBBED_AT_ONCE),
    )
    places = ", ".join("?" * len(found.description))
    rows = found.fetchall()
    if not rows:
        return None
    last: _Key = rows[-1][:2]
    connection.execute(
        f"DELETE FROM {table} WHERE (person, number) > (?, ?) AND (person, number) <= (?, ?)",
        (*after, *last),
    )
    connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
    return last


def erase(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """Delete the intents and records of these persons, and of those with these entries."""
    them = listed(keys)
    for table in ("intents", "records"):
        for column in ("person", "entry"):
            connection.execute(f"DELETE FROM {table} WHERE {column} IN {_VALUES}", (them,))


# --------------------------------------------------------------------------- for a drain


def take_over(connection: sqlite3.Connection, number: str, now: float) -> None:
    """Open what an earlier drain had taken; what it sent may take effect for a while."""
    for row in _select(connection, "number = ? AND state = 2", (number,)):
        for operation in OPPOSITE:
            row.lost(operation, now)
            row.end(operation)
        row.put_off(row.due_at)
        _save(connection, row)


def take(
    connection: sqlite3.Connection,
    number: str,
    *,
    limit: int,
    late: float,
    ranks: Collection[Rank],
    now: float,
) -> list[Intent]:
    """Return the oldest intents that are due, of one operation and of the first rank."""
    rows = _due(connection, number, limit, ranks, now)
    for row in rows:
        row.take(late)
        _save(connection, row)
    return [row.intent() for row in rows]


def _due(
    connection: sqlite3.Connection, number: str, limit: int, ranks: Collection[Rank], now: float
) -> list[IntentRow]:
    for rank in sorted(ranks):
        pages = [
            _select(
                connection,
                "number = ? AND rank = ? AND operation = ? AND state = 1 AND due_at <= ?"
                " ORDER BY due_at, place LIMIT ?",
                (number, rank.value, operation, now, limit),
            )
            for operation in OPPOSITE
        ]
        if pages := [page for page in pages if page]:
            return min(pages, key=lambda page: (page[0].due_at, page[0].place))
    return []


def due_at(connection: sqlite3.Connection, number: str, ranks: Collection[Rank]) -> float | None:
    """Return when the next open intent is due."""
    found = [
        connection.execute(
            """
            SELECT min(due_at) FROM intents
            WHERE number = ? AND rank = ? AND operation = ? AND state = 1
            """,
            (number, rank.value, operation),
        ).fetchone()[0]
        for rank in ranks
        for operation in OPPOSITE
    ]
    return min((float(due) for due in found if due is not None), default=None)


def settle(connection: sqlite3.Connection, results: Iterable[Result], now: float) -> None:
    """Note what became of intents, and who is blocked now."""
    for result in results:
        intent = result.intent
        row = _load(connection, intent.phone_number_id, intent.person)
        if row is None:  # somebody has erased it meanwhile
            continue
        row.settle(result, now)
        _save(connection, row)
        if intent.operation is Operation.BLOCK:
            if result.may_be_blocked and intent.entry:
                _record(connection, intent, now)
        elif result.done:
            _delete_record(connection, intent)
        elif result.retry_at is None:
            _put_last(connection, intent, now)


def _delete_record(connection: sqlite3.Connection, intent: Intent) -> None:
    key = intent.person, intent.phone_number_id
    connection.execute("DELETE FROM records WHERE person = ? AND number = ?", key)


def _put_last(connection: sqlite3.Connection, intent: Intent, now: float) -> None:
    """Let others make room before somebody who could not be unblocked."""
    values = compact(now), intent.person, intent.phone_number_id
    connection.execute("UPDATE records SET blocked_at = ? WHERE person = ? AND number = ?", values)


def _record(connection: sqlite3.Connection, intent: Intent, now: float) -> None:
    """Note that somebody is blocked, to be checked again: the list may have changed meanwhile."""
    connection.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            intent.person,
            intent.phone_number_id,
            intent.user,
            json.dumps(intent.ids),
            intent.entry,
            compact(now),
            next_number(connection),
        ),
    )


def make_room(
    connection: sqlite3.Connection, number: str, count: int, keep: Collection[str], now: float
) -> int:
    """Want to unblock so many people, those blocked longest ago; return how many are wanted."""
    counted = connection.execute(
        "SELECT count(*) FROM intents WHERE number = ? AND rank = 0 AND state > 0", (number,)
    )
    already = int(counted.fetchone()[0])
    rows = connection.execute(
        f"""
        SELECT person, user, ids, entry FROM records AS r
        WHERE number = ? AND person NOT IN {_VALUES} AND NOT EXISTS (
            SELECT 1 FROM intents AS i
            WHERE i.person = r.person AND i.number = r.number AND i.state > 0
        )
        ORDER BY blocked_at LIMIT ?
        """,
        (number, listed(keep), max(0, count - already)),
    ).fetchall()
    intents = [
        Intent(
            number, person, Operation.UNBLOCK, user, tuple(json.loads(ids)), entry,
            wrote_at=now, rank=Rank.MAKE_ROOM,
        )
        for person, user, ids, entry in rows
    ]  # fmt: skip
    return already + len(want(connection, intents, now))


def rechecks(connection: sqlite3.Connection, number: str, limit: int) -> list[tuple[Record, int]]:
    """Return records that are to be checked again, each with the change that concerned it."""
    rows = connection.execute(
        """
        SELECT person, user, ids, entry, blocked_at, recheck FROM records
        WHERE number = ? AND recheck IS NOT NULL ORDER BY recheck LIMIT ?
        """,
        (number, limit),
    )
    return [
        (Record(number, person, user, tuple(json.loads(ids)), entry, float(at)), change)
        for person, user, ids, entry, at, change in rows
    ]


def rechecked(
    connection: sqlite3.Connection,
    number: str,
    *,
    denied: Mapping[str, str],
    unblock: Iterable[Intent],
    changes: Mapping[str, int],
    now: float,
) -> None:
    """Note the verdicts; a record that was marked again after *changes* stays marked."""
    for person, entry in denied.items():
        connection.execute(
            "UPDATE records SET entry = ? WHERE person = ? AND number = ?", (entry, person, number)
        )
        row = _load(connection, number, person)
        if row is not None and row.is_needless_unblock:
            row.close(now)
            _save(connection, row)
    want(connection, (unblocks := list(unblock)), now)
    checked = {*denied, *(intent.person for intent in unblocks)}
    connection.executemany(
        "UPDATE records SET recheck = NULL WHERE person = ? AND number = ? AND recheck <= ?",
        [(person, number, changes.get(person, 0)) for person in checked],
    )


def _select(
    connection: sqlite3.Connection, condition: str, values: Sequence[Any]
) -> list[IntentRow]:
    rows = connection.execute(f"SELECT {_COLUMNS} FROM intents WHERE {condition}", values)
    return [IntentRow(*row) for row in rows]
