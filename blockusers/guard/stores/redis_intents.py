"""Changes of intents and records in Redis: read rows, change them here, write them if unchanged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import attrs

from blockusers.guard.intents import Intent, Rank, Record, Result
from blockusers.guard.stores.intent_state import OPPOSITE, IntentRow
from blockusers.guard.stores.redis_connection import Connection
from blockusers.guard.stores.times import compact
from blockusers.values.outcome import Operation

T = TypeVar("T")

Lease: TypeAlias = Mapping[str, str]
"""The number and the token of a lease, or nothing."""
NO_LEASE: Final[Lease] = {}


@attrs.define
class Transaction:
    """Rows that were read, and what is to be written if they are still as they were."""

    now: float
    lease: Lease = NO_LEASE
    _rows: dict[tuple[str, str], IntentRow] = attrs.field(factory=dict)
    _read: list[tuple[str, str, str, str]] = attrs.field(factory=list)
    _changed: dict[tuple[str, str], IntentRow] = attrs.field(factory=dict)
    _effects: list[tuple[Any, ...]] = attrs.field(factory=list)

    def read(self, raws: Iterable[str]) -> list[IntentRow]:
        """Take rows as Redis has them, and return them."""
        rows = []
        for raw in raws:
            row = IntentRow(**json.loads(raw))
            self.relies_on("intents", row.number, row.person, raw)
            self._rows[row.number, row.person] = row
            rows.append(row)
        return rows

    def relies_on(self, kind: str, number: str, person: str, raw: str | None) -> None:
        """Write nothing if Redis has something else now."""
        digest = hashlib.sha1((raw or "").encode(), usedforsecurity=False).hexdigest()
        self._read.append((kind, number, person, digest if raw else ""))

    def row(self, number: str, person: str) -> IntentRow | None:
        """Return what was read, and changed since."""
        return self._rows.get((number, person))

    def save(self, row: IntentRow) -> None:
        """Write a row."""
        self._rows[row.number, row.person] = self._changed[row.number, row.person] = row

    def effect(self, name: str, *arguments: Any) -> None:
        """Write something else; see `effects` in `redis.lua`."""
        self._effects.append((name, *arguments))

    def want(self, intents: Iterable[Intent], versions: Iterable[int]) -> list[Intent]:
        """Write intents; return those that are open now."""
        opened = []
        for intent, version in zip(intents, versions, strict=True):
            number, person = intent.phone_number_id, intent.person
            row = self.row(number, person) or IntentRow(person, number)
            if not row.has_seen(intent):
                row.want(intent, version, self.now)
                self.save(row)
                opened.append(row.intent())
        return opened

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not self._changed and not self._effects

    async def commit(self, connection: Connection) -> bool:
        """Write all of it, if everything is still as it was read; return whether it was."""
        saved = [
            ("save", row.number, row.person, json.dumps(attrs.asdict(row)))
            for row in self._changed.values()
        ]
        effects = [*saved, *self._effects]
        run = connection.call if self.lease else connection.change
        arguments = {**self.lease, "read": self._read, "effects": effects, "now": self.now}
        return bool(await run("commit", **arguments))


async def _write(
    connection: Connection, prepare: Callable[[], Awaitable[tuple[Transaction, T]]]
) -> T:
    """Prepare a transaction until it can be written: until nobody has changed what it read."""
    while True:
        transaction, result = await prepare()
        if transaction.is_empty or await transaction.commit(connection):
            return result


async def _read_rows(
    connection: Connection,
    people: Iterable[tuple[str, str]],
    lease: Lease = NO_LEASE,
    versions: int = 0,
) -> tuple[Transaction, range]:
    """Read the rows of people, each a number and a person; return new versions as well."""
    asked = list(dict.fromkeys(people))
    transaction = Transaction(connection.clock(), lease)
    last, raws = await connection.call("rows", **lease, people=asked, versions=versions)
    for (number, person), raw in zip(asked, raws, strict=True):
        if raw is None:
            transaction.relies_on("intents", number, person, None)
        else:
            transaction.read([raw])
    return transaction, range(last - versions + 1, last + 1)


async def want(
    connection: Connection, intents: Collection[Intent], aliases: Mapping[str, str]
) -> list[Intent]:
    """Write intents, and learn aliases; return those that are open now."""
    people = [(each.phone_number_id, each.person) for each in intents]

    async def prepare() -> tuple[Transaction, list[Intent]]:
        transaction, versions = await _read_rows(connection, people, versions=len(intents))
        for id_, user in aliases.items():
            transaction.effect("learn", id_, user)
        return transaction, transaction.want(intents, versions)

    return await _write(connection, prepare)


async def take_over(connection: Connection, lease: Lease) -> None:
    """Open what an earlier drain had taken; what it sent may take effect for a while."""

    async def prepare() -> tuple[Transaction, None]:
        transaction = Transaction(connection.clock(), lease)
        for row in transaction.read(await connection.call("taken", **lease)):
            for operation in OPPOSITE:
                row.lost(operation, transaction.now)
                row.end(operation)
            row.put_off(row.due_at)
            transaction.save(row)
        return transaction, None

    await _write(connection, prepare)


async def take(connection: Connection, lease: Lease, limit: int, late: float) -> list[Intent]:
    """Return the oldest intents that are due, of one operation and of the first rank."""

    async def prepare() -> tuple[Transaction, list[Intent]]:
        transaction = Transaction(connection.clock(), lease)
        raws = await connection.call("due", **lease, limit=limit, now=transaction.now)
        rows = transaction.read(raws)
        for row in rows:
            row.take(late)
            transaction.save(row)
        return transaction, [row.intent() for row in rows]

    return await _write(connection, prepare)


async def settle(connection: Connection, lease: Lease, results: Collection[Result]) -> None:
    """Note what became of intents, and who is blocked now."""
    people = [(each.intent.phone_number_id, each.intent.person) for each in results]

    async def prepare() -> tuple[Transaction, None]:
        transaction, _ = await _read_rows(connection, people, lease)
        for result in results:
            _settle(transaction, result)
        return transaction, None

    await _write(connection, prepare)


def _settle(transaction: Transaction, result: Result) -> None:
    intent = result.intent
    number, person = intent.phone_number_id, intent.person
    if result.done and intent.operation is Operation.BLOCK:
        at = compact(transaction.now)
        raw = json.dumps({"user": intent.user, "ids": intent.ids, "blocked_at": at})
        transaction.effect("record", number, person, intent.entry, at, raw)
    elif result.done:
        transaction.effect("unrecord", number, person)
    row = transaction.row(number, person)
    if row is not None:  # nobody has erased it meanwhile
        row.settle(result, transaction.now)
        transaction.save(row)


async def make_room(connection: Connection, lease: Lease, count: int, keep: Iterable[str]) -> int:
    """Want to unblock so many people, those blocked longest ago; return how many are wanted."""
    number, kept = lease["number"], list(keep)

    async def prepare() -> tuple[Transaction, int]:
        already, found = await connection.call("evictable", **lease, count=count, keep=kept)
        people = [(number, person) for person, _, _ in found]
        transaction, versions = await _read_rows(connection, people, lease, len(people))
        for person, _, raw in found:
            transaction.relies_on("records", number, person, raw)
        records = [record_of(number, *each) for each in found]
        evicted = [_evict(each, transaction.now) for each in records]
        return transaction, already + len(transaction.want(evicted, versions))

    return await _write(connection, prepare)


def _evict(record: Record, now: float) -> Intent:
    return Intent(
        record.phone_number_id,
        record.person,
        Operation.UNBLOCK,
        record.user,
        record.ids,
        record.entry,
        wrote_at=now,
        rank=Rank.MAKE_ROOM,
    )


def record_of(number: str, person: str, entry: str, raw: str) -> Record:
    """Return a record from what Redis has of it."""
    fields = json.loads(raw)
    ids, blocked_at = tuple(fields["ids"]), float(fields["blocked_at"])
    return Record(number, person, fields["user"], ids, entry, blocked_at)


async def rechecked(
    connection: Connection,
    lease: Lease,
    denied: Mapping[str, str],
    unblock: Collection[Intent],
    changes: Mapping[str, int],
) -> None:
    """Note the verdicts; a record that was marked again after *changes* stays marked."""
    number = lease["number"]
    people = [(number, person) for person in denied]
    people += [(each.phone_number_id, each.person) for each in unblock]

    async def prepare() -> tuple[Transaction, None]:
        transaction, versions = await _read_rows(connection, people, lease, len(unblock))
        for person, entry in denied.items():
            transaction.effect("denied", number, person, entry)
            row = transaction.row(number, person)
            if row is not None and row.is_needless_unblock:
                row.close(transaction.now)
                transaction.save(row)
        transaction.want(unblock, versions)
        for person in {*denied, *(intent.person for intent in unblock)}:
            transaction.effect("checked", number, person, changes.get(person, 0))
        return transaction, None

    await _write(connection, prepare)
