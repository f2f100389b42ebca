"""The SQL of intents and records, as functions of a connection inside a transaction."""

# ruff: noqa: S608  # what is put into statements are names of columns and `?`

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from blockusers.guard.intents import Counts, Intent, Rank, Record, Result
from blockusers.guard.stores.intent_state import OPPOSITE, IntentRow
from blockusers.guard.stores.sqlite_entries import listed, next_number, related
from blockusers.guard.stores.times import compact
from blockusers.values.outcome import Operation

_SCRUBBED_EVERY: Final = 24 * 3600.0
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


def forget(connection: sqlite3.Connection, before: float, now: float) -> None:
    """Delete intents that were settled, and notes of moves that were made, before this moment."""
    connection.execute("DELETE FROM intents WHERE state = 0 AND settled_at < ?", (before,))
    connection.execute("DELETE FROM moves WHERE made_at < ?", (before,))
    (scrubbed_at,) = connection.execute("SELECT scrubbed_at FROM sequence").fetchone()
    if now - scrubbed_at >= _SCRUBBED_EVERY:
        scrub(connection, now)


def scrub(connection: sqlite3.Connection, now: float) -> None:
    """Write the tables that hold plain numbers anew, so that no copy of deleted ones is left.

    SQLite overwrites what is deleted (`secure_delete`), but not what it copied to another page
    before.  A page that no table uses any more is overwritten whole.
    """
    for table in ("intents", "records"):
        selected = connection.execute(f"SELECT * FROM {table}")
        places = ", ".join("?" * len(selected.description))
        rows = selected.fetchall()
        connection.execute(f"DELETE FROM {table}")
        connection.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
    connection.execute("UPDATE sequence SET scrubbed_at = ?", (now,))


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
    connection: sqlite3.Connection, number: str, limit: int, late: float, now: float
) -> list[Intent]:
    """Return the oldest intents that are due, of one operation and of the first rank."""
    rows = _due(connection, number, limit, now)
    for row in rows:
        row.take(late)
        _save(connection, row)
    return [row.intent() for row in rows]


def _due(connection: sqlite3.Connection, number: str, limit: int, now: float) -> list[IntentRow]:
    for rank in Rank:
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


def due_at(connection: sqlite3.Connection, number: str) -> float | None:
    """Return when the next open intent is due."""
    found = [
        connection.execute(
            """
            SELECT min(due_at) FROM intents
            WHERE number = ? AND rank = ? AND operation = ? AND state = 1
            """,
            (number, rank.value, operation),
        ).fetchone()[0]
        for rank in Rank
        for operation in OPPOSITE
    ]
    return min((float(due) for due in found if due is not None), default=None)


def settle(connection: sqlite3.Connection, results: Iterable[Result], now: float) -> None:
    """Note what became of intents, and who is blocked now."""
    for result in results:
        intent = result.intent
        number, person = intent.phone_number_id, intent.person
        if result.done and intent.operation is Operation.BLOCK:
            _record(connection, intent, now)
        elif result.done:
            connection.execute(
                "DELETE FROM records WHERE person = ? AND number = ?", (person, number)
            )
        row = _load(connection, number, person)
        if row is not None:  # nobody has erased it meanwhile
            row.settle(result, now)
            _save(connection, row)


def _record(connection: sqlite3.Connection, intent: Intent, now: float) -> None:
    """Note that somebody is blocked; the list may have changed since that was decided."""
    keys = listed(related(connection, (intent.entry, intent.person)))
    (is_denied, is_allowed) = connection.execute(
        f"""
        SELECT EXISTS (SELECT 1 FROM entries WHERE user = ? AND is_deny = 1
                       AND (expires_at IS NULL OR expires_at > ?)),
               EXISTS (SELECT 1 FROM entries WHERE user IN {_VALUES} AND is_deny = 0)
        """,
        (intent.entry, now, keys),
    ).fetchone()
    recheck = next_number(connection) if is_allowed or not is_denied else None
    connection.execute(
        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            intent.person,
            intent.phone_number_id,
            intent.user,
            json.dumps(intent.ids),
            intent.entry,
            compact(now),
            recheck,
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
