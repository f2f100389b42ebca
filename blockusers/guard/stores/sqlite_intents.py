"""The SQL of intents and records, as functions of a connection inside a transaction."""

# ruff: noqa: S608  # what is put into statements are names of columns and `?`

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from blockusers.guard.intents import Counts, Intent, Rank, Record, Result
from blockusers.guard.stores.sqlite_entries import compact, listed, next_number, related
from blockusers.values.outcome import Operation

SETTLED: Final = 0
OPEN: Final = 1
TAKEN: Final = 2
_REMEMBERED: Final = 10
"""Messages of one second that are known again."""
_SCRUBBED_EVERY: Final = 24 * 3600.0
_VALUES: Final = "(SELECT value FROM json_each(?))"
_OPPOSITE: Final = {"block": "unblock", "unblock": "block"}


@attrs.define
class IntentRow:
    """What is known of one person on one number; the fields are the columns of the table."""

    person: str
    number: str
    state: int = SETTLED
    operation: str = ""
    user: str = ""
    ids: str = "[]"
    entry: str = ""
    wrote_at: float = 0
    messages: str = "[]"
    """Digests of the messages of `wrote_at`."""
    not_after: float | None = None
    rank: int = Rank.SINGLE
    version: int = 0
    tries: int = 0
    place: int = 0
    """In the queue: the version that it was opened with."""
    made_at: float = 0
    due_at: float = 0
    settled_at: float | None = None
    block_late: float | None = None
    """While a block of it is taken: for how long after its end it may take effect."""
    unblock_late: float | None = None
    block_until: float | None = None
    """Until when a block that got no answer may take effect; an unblock waits for that."""
    unblock_until: float | None = None
    seen_at: float | None = None
    """Of the newest settled block: its `wrote_at`."""
    seen: str = "[]"
    """Of the newest settled blocks: their `messages`."""

    def intent(self) -> Intent:
        """Return it as those see it who carry it out."""
        return Intent(
            phone_number_id=self.number,
            person=self.person,
            operation=Operation(self.operation),
            user=self.user,
            ids=tuple(json.loads(self.ids)),
            entry=self.entry,
            wrote_at=float(self.wrote_at),
            message="".join(json.loads(self.messages)[-1:]),
            not_after=None if self.not_after is None else float(self.not_after),
            rank=Rank(self.rank),
            version=self.version,
            tries=self.tries,
            uncertain=getattr(self, f"{self.operation}_until") is not None,
            made_at=float(self.made_at),
        )

    def has_seen(self, intent: Intent) -> bool:
        """Whether the message of *intent* is not newer than that of a settled block."""
        if intent.operation is not Operation.BLOCK or self.seen_at is None:
            return False
        if intent.wrote_at == self.seen_at:
            return intent.message in json.loads(self.seen)
        return intent.wrote_at < self.seen_at

    def want(self, intent: Intent, version: int, now: float) -> None:
        """Put *intent* in place of what was wanted."""
        operation = intent.operation.value
        if self.state == SETTLED or self.operation != operation:
            self.operation, self.place, self.tries = operation, version, 0
            self.made_at = self.due_at = compact(now)
            self.wrote_at, self.messages, self.rank = intent.wrote_at, "[]", intent.rank
            self.not_after = intent.not_after
        if intent.wrote_at > self.wrote_at:
            self.wrote_at, self.messages = intent.wrote_at, "[]"
        if intent.wrote_at == self.wrote_at and intent.message:
            self.messages = _union(self.messages, json.dumps([intent.message]))
        self.not_after = _later(self.not_after, intent.not_after)
        self.rank = min(self.rank, intent.rank)
        self.user, self.entry, self.ids = intent.user, intent.entry, json.dumps(intent.ids)
        self.version, self.settled_at = version, None
        self.state = max(self.state, OPEN)  # what is taken stays so
        self.put_off(min(self.due_at, now))

    def put_off(self, until: float) -> None:
        """Make it due then, or when what is opposite to it can have no effect any more."""
        opposite = getattr(self, f"{_OPPOSITE[self.operation]}_until")
        self.due_at = compact(max(until, opposite or until))

    def take(self, late: float) -> None:
        """Note that it is being sent, and may take effect *late* seconds after that has ended."""
        self.state = TAKEN
        setattr(self, f"{self.operation}_late", late)

    def lost(self, operation: str, now: float) -> None:
        """Note that the answer about *operation*, which was taken, did not come."""
        late = getattr(self, f"{operation}_late")
        if late is not None:
            setattr(self, f"{operation}_until", now + late)

    def end(self, operation: str) -> None:
        """Note that *operation* is not taken any more."""
        setattr(self, f"{operation}_late", None)
        self.state = min(self.state, OPEN)

    def settle(self, result: Result, now: float) -> None:
        """Note what became of it."""
        intent = result.intent
        operation = intent.operation.value
        if result.lost:
            self.lost(operation, now)
        self.end(operation)
        if result.done:
            setattr(self, f"{_OPPOSITE[operation]}_until", None)
        if self.version != intent.version:
            self.put_off(self.due_at)
        elif result.retry_at is None:
            self.close(now)
        else:
            self.tries = result.tries
            self.put_off(result.retry_at)

    def close(self, now: float) -> None:
        """Note that nothing is wanted any more; forget what names the user."""
        if self.operation == "block":
            self.seen_at, self.seen = self.wrote_at, _union(self.seen, self.messages)
        self.state, self.settled_at = SETTLED, compact(now)
        self.user, self.ids, self.messages = "", "[]", "[]"

    @property
    def is_needless_unblock(self) -> bool:
        """Whether it would unblock somebody who is denied again, and was never sent."""
        is_sent = self.unblock_late is not None or self.unblock_until is not None
        is_wanted = self.state != SETTLED and self.operation == "unblock"
        return is_wanted and not is_sent and self.rank != Rank.MAKE_ROOM


_COLUMNS: Final = ", ".join(field.name for field in attrs.fields(IntentRow))
_PLACES: Final = ", ".join("?" for _ in attrs.fields(IntentRow))


def _union(before: str, more: str) -> str:
    """Return two lists as one, without repeats, and not too long."""
    return json.dumps([*dict.fromkeys(json.loads(before) + json.loads(more))][-_REMEMBERED:])


def _later(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


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
        for operation in _OPPOSITE:
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
            for operation in _OPPOSITE
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
        for operation in _OPPOSITE
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
