"""`IntentRow`: what a store keeps of one person on one number, and how that changes.

It is the same for all stores; they differ in how they read a row and write it back.
"""

from __future__ import annotations

import json
from typing import Final

import attrs

from blockusers.guard.intents import Intent, Rank, Result
from blockusers.guard.stores.times import compact
from blockusers.values.outcome import Operation

SETTLED: Final = 0
OPEN: Final = 1
TAKEN: Final = 2
OPPOSITE: Final = {"block": "unblock", "unblock": "block"}
_REMEMBERED: Final = 10
"""Messages of one second that are known again."""


@attrs.define
class IntentRow:
    """What is known of one person on one number; the fields are the columns of the SQLite table."""

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
        opposite = getattr(self, f"{OPPOSITE[self.operation]}_until")
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
            setattr(self, f"{OPPOSITE[operation]}_until", None)
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


def _union(before: str, more: str) -> str:
    """Return two lists as one, without repeats, and not too long."""
    return json.dumps([*dict.fromkeys(json.loads(before) + json.loads(more))][-_REMEMBERED:])


def _later(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)
