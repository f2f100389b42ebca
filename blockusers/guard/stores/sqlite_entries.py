"""The SQL of entries, aliases and moves, as functions of a connection inside a transaction."""

# ruff: noqa: S608  # what is put into statements are names of columns and `?`

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from blockusers.guard.entries import Entry
from blockusers.guard.stores.protocol import Filter, Found
from blockusers.guard.stores.times import compact

WINDOW: Final = 2000
"""Rows that are looked at before others get a turn."""

Key: TypeAlias = tuple[str, str, str, str]
"""User, scope, action and origin."""
_Row: TypeAlias = tuple[Any, ...]
"""An entry as the table holds it; the first four columns are its key."""

_ENTRY: Final = """
    e.user, e.scope, CASE e.is_deny WHEN 1 THEN 'deny' ELSE 'allow' END,
    r.text, o.text, e.added_at, e.expires_at
"""
_TEXTS: Final = "JOIN texts AS o ON o.id = e.origin JOIN texts AS r ON r.id = e.reason"
_CLOCKS_DIFFER: Final = 300.0
"""Seconds by which our clock and Meta's may differ."""
_VALUES: Final = "(SELECT value FROM json_each(?))"
_KEY: Final = "user = ? AND scope = ? AND is_deny = ? AND origin = ?"


def listed(values: Iterable[str]) -> str:
    """Return *values* as the statements take a list of any length."""
    return json.dumps(list(values))


def entry_of(row: Sequence[Any]) -> Entry:
    """Return an entry from a row with the columns of `_ENTRY`."""
    user, scope, action, reason, origin, added_at, expires_at = row
    ends = None if expires_at is None else float(expires_at)
    return Entry(user, scope, action, reason, origin, float(added_at), ends)


def key_of(entry: Entry) -> Key:
    """Return what tells an entry from all others."""
    return entry.user, entry.scope, entry.action, entry.origin


# --------------------------------------------------------------------------- looking up


def find(connection: sqlite3.Connection, ids: Sequence[str], now: float) -> list[Found]:
    """Return the entries of *ids* and of what they are aliases of, but none that has expired."""
    of_ids = f"({','.join('?' * len(ids))})"
    alive = "(e.expires_at IS NULL OR e.expires_at > ?)"
    rows = connection.execute(
        f"""
        SELECT e.user, {_ENTRY} FROM entries AS e {_TEXTS} WHERE e.user IN {of_ids} AND {alive}
        UNION ALL
        SELECT a.id, {_ENTRY} FROM aliases AS a JOIN entries AS e ON e.user = a.user {_TEXTS}
        WHERE a.id IN {of_ids} AND {alive}
        """,
        (*ids, now, *ids, now),
    )
    return [Found(row[0], entry_of(row[1:])) for row in rows]


def page(
    connection: sqlite3.Connection, chosen: Filter, after: Key
) -> tuple[list[Entry], Key | None]:
    """Look at some entries in the order of their keys, from behind *after* on.

    Returns:
        Those that are chosen, and where to go on; None at the end.
    """
    users = [] if chosen.users is None else sorted({u for u in chosen.users if u >= after[0]})
    some = "" if chosen.users is None else f"e.user IN {_VALUES} AND"
    limit = WINDOW if chosen.users is None else -1
    rows = connection.execute(
        f"""
        SELECT {_ENTRY} FROM entries AS e {_TEXTS}
        WHERE {some} (e.user, e.scope, e.is_deny) >= (?, ?, ?)
          AND ((e.user, e.scope, e.is_deny) > (?, ?, ?) OR o.text > ?)
        ORDER BY e.user, e.scope, e.is_deny, o.text LIMIT {limit}
        """,
        (*([listed(users[:WINDOW])] if some else []), *_place(after) * 2, after[3]),
    )
    entries = list(map(entry_of, rows))
    found = [entry for entry in entries if _is_chosen(entry, chosen)]
    if users[WINDOW:]:
        return found, (users[WINDOW], "", "", "")
    return found, key_of(entries[-1]) if len(entries) == limit else None


def _place(key: Key) -> tuple[str, str, int]:
    user, scope, action, _ = key
    return user, scope, int(action == "deny")


def _is_chosen(entry: Entry, chosen: Filter) -> bool:
    return (
        chosen.scope in (None, entry.scope)
        and chosen.action in (None, entry.action)
        and chosen.origin in (None, entry.origin)
    )


def total(connection: sqlite3.Connection) -> int:
    """Return how many entries there are."""
    counted = connection.execute("SELECT sum(origins) FROM texts WHERE origins > 0")
    return counted.fetchone()[0] or 0


# --------------------------------------------------------------------------- changing


def add(
    connection: sqlite3.Connection,
    entries: Iterable[Entry],
    spellings: Mapping[str, Sequence[str]],
) -> tuple[int, int]:
    """Add entries; return how many are new, and how many have another reason or expiry now."""
    rows = {row[:4]: row for row in _rows(connection, entries)}
    there = {row[:4]: row for row in _rows_of(connection, {key[0] for key in rows})}
    new = [row for key, row in rows.items() if key not in there]
    old = [(row, there[key]) for key, row in rows.items() if key in there]
    changed = [(row, before) for row, before in old if (row[4], row[6]) != (before[4], before[6])]
    connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", new)
    connection.executemany(
        f"UPDATE entries SET reason = ?, expires_at = ? WHERE {_KEY}",
        [(row[4], row[6], *row[:4]) for row, _ in changed],
    )
    _count_texts(connection, new, 1)
    _count_texts(connection, (row for row, _ in changed), 1)
    _count_texts(connection, (before for _, before in changed), -1)
    users = {row[0] for row in (*new, *(row for row, _ in changed))}
    mark(connection, {*users, *(key for user in users for key in spellings.get(user, ()))})
    return len(new), len(changed)


def _rows(connection: sqlite3.Connection, entries: Iterable[Entry]) -> Iterator[_Row]:
    """Yield entries as the table holds them."""
    text_ids = _TextIds(connection)
    for entry in entries:
        ends = None if entry.expires_at is None else compact(entry.expires_at)
        origin, reason = text_ids[entry.origin], text_ids[entry.reason]
        yield (*_place(key_of(entry)), origin, reason, compact(entry.added_at), ends)


def _rows_of(connection: sqlite3.Connection, users: Iterable[str]) -> list[_Row]:
    columns = "user, scope, is_deny, origin, reason, added_at, expires_at"
    return connection.execute(
        f"SELECT {columns} FROM entries WHERE user IN {_VALUES}", (listed(users),)
    ).fetchall()


class _TextIds(dict[str, int]):
    """The ids of texts; a text that is new gets one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection

    def __missing__(self, text: str) -> int:
        self._connection.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (text,))
        found = self._connection.execute("SELECT id FROM texts WHERE text = ?", (text,))
        self[text] = int(found.fetchone()[0])
        return self[text]


def _count_texts(connection: sqlite3.Connection, rows: Iterable[_Row], sign: int) -> None:
    """Note that so many rows more (or less) have these texts; delete those that none has."""
    rows = list(rows)
    for column, index in (("origins", 3), ("reasons", 4)):
        counts = Counter(row[index] for row in rows)
        connection.executemany(
            f"UPDATE texts SET {column} = {column} + ? WHERE id = ?",
            [(sign * count, text) for text, count in counts.items()],
        )
        connection.executemany(
            "DELETE FROM texts WHERE id = ? AND origins = 0 AND reasons = 0",
            [(text,) for text in counts],
        )


def remove(
    connection: sqlite3.Connection, chosen: Filter, after: Key, now: float
) -> tuple[int, Key | None]:
    """Remove some entries; return how many, and where to go on."""
    entries, following = page(connection, chosen, after)
    return _delete(connection, list(_rows(connection, entries)), now), following


def expire(connection: sqlite3.Connection, now: float) -> int:
    """Remove some of the entries that have expired; return how many."""
    columns = "user, scope, is_deny, origin, reason, added_at, expires_at"
    rows = connection.execute(
        f"SELECT {columns} FROM entries WHERE expires_at <= ? LIMIT {WINDOW}", (now,)
    ).fetchall()
    return _delete(connection, rows, now)


def _delete(connection: sqlite3.Connection, rows: list[_Row], now: float) -> int:
    connection.executemany(f"DELETE FROM entries WHERE {_KEY}", [row[:4] for row in rows])
    _count_texts(connection, rows, -1)
    users = {row[0] for row in rows}
    connection.execute(
        f"""
        UPDATE aliases SET orphaned_at = ? WHERE user IN {_VALUES}
        AND NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.user = aliases.user)
        """,
        (now, listed(users)),
    )
    mark(connection, users)
    return len(rows)


# --------------------------------------------------------------------------- aliases and moves


def learn(connection: sqlite3.Connection, aliases: Mapping[str, str], now: float) -> None:
    """Note of ids, the user of the entry that they stand for, unless they stand for another."""
    connection.executemany(
        """
        INSERT INTO aliases
        VALUES (?, ?, CASE WHEN EXISTS (SELECT 1 FROM entries WHERE user = ?) THEN NULL ELSE ? END)
        ON CONFLICT (id) DO UPDATE SET user = excluded.user, orphaned_at = excluded.orphaned_at
        WHERE NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.user = aliases.user)
        """,
        [(id_, user, user, now) for id_, user in aliases.items()],
    )


def forget(connection: sqlite3.Connection, before: float) -> None:
    """Delete the aliases whose user has had no entry since *before*."""
    connection.execute(
        """
        DELETE FROM aliases WHERE orphaned_at < ?
        AND NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.user = aliases.user)
        """,
        (before,),
    )


def related(connection: sqlite3.Connection, keys: Iterable[str]) -> set[str]:
    """Return *keys*, what they are aliases of, and all aliases of those."""
    found, last = set(keys), set(keys)
    while last:
        rows = connection.execute(
            f"""
            SELECT user FROM aliases WHERE id IN {_VALUES}
            UNION SELECT id FROM aliases WHERE user IN {_VALUES}
            """,
            (listed(last), listed(last)),
        )
        last = {key for (key,) in rows} - found
        found |= last
    return found


def mark(connection: sqlite3.Connection, users: Iterable[str]) -> None:
    """Mark the records of those whom changed entries of *users* concern."""
    if connection.execute("SELECT 1 FROM records LIMIT 1").fetchone() is None:
        return  # as in the first import, which is long
    concerned, change = listed(related(connection, users)), next_number(connection)
    for column in ("entry", "person"):
        connection.execute(
            f"UPDATE records SET recheck = ? WHERE {column} IN {_VALUES}", (change, concerned)
        )


def next_number(connection: sqlite3.Connection) -> int:
    """Return a number that is larger than all before it."""
    connection.execute("UPDATE sequence SET last = last + 1")
    row = connection.execute("SELECT last FROM sequence").fetchone()
    return int(row[0])


def move(
    connection: sqlite3.Connection,
    old: Sequence[str],
    new: str,
    at: float,
    *,
    message: str,
    scopes: Collection[str] | None,
    now: float,
) -> bool:
    """Move the entries of *old* that were added before *at* to *new*, once for each message."""
    olds = [id_ for id_ in old if id_ != new]
    if _is_outdated(connection, olds, at, message):
        return False
    rows = [
        row
        for row in _rows_of(connection, olds)
        if row[5] <= at + _CLOCKS_DIFFER and (scopes is None or row[1] in scopes)
    ]
    _move_entries(connection, rows, new, now)
    moved = scopes is None and _move_aliases(connection, olds, new, rows)
    # That somebody on the list came by the new id is noted, too: an older change may come late.
    if rows or moved or _rows_of(connection, [new]):
        values = message, new, compact(at), now
        connection.execute("INSERT OR IGNORE INTO moves VALUES (?, ?, ?, ?)", values)
    return bool(rows or moved)


def _is_outdated(
    connection: sqlite3.Connection, olds: Sequence[str], at: float, message: str
) -> bool:
    """Return whether the change was applied already, or one of *olds* was taken since."""
    later = f"SELECT 1 FROM moves WHERE target IN {_VALUES} AND at > ?"
    applied = "SELECT 1 FROM moves WHERE message = ? AND message != ''"
    return bool(
        connection.execute(later, (listed(olds), at)).fetchone()
        or connection.execute(applied, (message,)).fetchone()
    )


def _move_entries(connection: sqlite3.Connection, rows: list[_Row], new: str, now: float) -> None:
    there = {row[:4]: row for row in _rows_of(connection, [new])}
    targets = dict(there)
    for row in rows:
        target = (new, *row[1:])
        targets[target[:4]] = _longer(targets.get(target[:4], target), target)
    changed = [row for key, row in targets.items() if row != there.get(key)]
    connection.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", changed)
    _count_texts(connection, changed, 1)
    _count_texts(connection, (there[row[:4]] for row in changed if row[:4] in there), -1)
    connection.execute(
        f"UPDATE records SET entry = ? WHERE entry IN {_VALUES}",
        (new, listed({row[0] for row in rows})),
    )
    _delete(connection, rows, now)
    mark(connection, [new])


def _longer(row: _Row, other: _Row) -> _Row:
    """Return *row*, with the later expiry of both."""
    ends = None if None in (row[6], other[6]) else max(row[6], other[6])
    return (*row[:6], ends)


def _move_aliases(
    connection: sqlite3.Connection, old: Sequence[str], new: str, rows: Iterable[_Row]
) -> bool:
    connection.execute(
        f"UPDATE aliases SET user = ?, orphaned_at = NULL WHERE user IN {_VALUES}",
        (new, listed({row[0] for row in rows})),
    )
    mark(connection, old)
    moved = connection.execute(
        f"UPDATE OR REPLACE aliases SET id = ? WHERE id IN {_VALUES}", (new, listed(old))
    )
    connection.execute("DELETE FROM aliases WHERE id = ? AND user = ?", (new, new))
    return moved.rowcount > 0


def erase(connection: sqlite3.Connection, keys: Iterable[str], now: float) -> int:
    """Delete entries, aliases and moves of *keys*; return how many entries there were."""
    keys = list(keys)
    count = _delete(connection, _rows_of(connection, keys), now)
    for table, column in (("aliases", "id"), ("aliases", "user"), ("moves", "target")):
        connection.execute(f"DELETE FROM {table} WHERE {column} IN {_VALUES}", (listed(keys),))
    return count


def setting(connection: sqlite3.Connection, name: str, value: str | None) -> str | None:
    """Return what is stored under *name*; if there is nothing, store *value*, if given."""
    if value is not None:
        connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])
