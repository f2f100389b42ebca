"""Whatever is done to a store in whatever order, it agrees with plain dictionaries."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blockusers.guard.entries import Entry
from blockusers.guard.intents import Intent, Rank, Result
from blockusers.guard.stores.protocol import Filter, Queue
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.values.outcome import Operation
from tests.support import Clock

HERE = "106540352242922"
LATE = 30.0
BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK
OPPOSITE = {BLOCK: UNBLOCK, UNBLOCK: BLOCK}

users = st.sampled_from("abc")
scopes = st.sampled_from(["*", HERE])
actions = st.sampled_from(["deny", "allow"])
origins = st.sampled_from(["", "x"])
reasons = st.sampled_from(["", "spam", "x"])
seconds = st.integers(0, 40)


@attrs.define
class Wanted:
    """What the model knows of one person."""

    intent: Intent | None = None
    """The open one."""
    is_taken: bool = False
    place: int = 0
    due: float = 0
    until: dict[Operation, float] = attrs.field(factory=dict)
    messages: list[str] = attrs.field(factory=list)
    """Of `wrote_at` of the open intent."""
    seen: tuple[float, list[str]] | None = None
    """Of the newest settled block: when it was written, and the messages of that second."""

    def put_off(self, until: float) -> None:
        if self.intent is not None:
            self.due = max(until, self.until.get(OPPOSITE[self.intent.operation], 0))


class Histories(RuleBasedStateMachine):
    """A store and its queue, beside a model of them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.runner = asyncio.Runner()
        self.entries: dict[tuple[str, str, str, str], Entry] = {}
        self.aliases: dict[str, str] = {}
        self.wanted: dict[str, Wanted] = {user: Wanted() for user in "abc"}
        self.taken: dict[str, Intent] = {}
        self.records: dict[str, float] = {}
        self.places = 0
        self.open()

    def do(self, call: Awaitable[Any]) -> Any:
        async def awaited() -> Any:
            return await call

        return self.runner.run(awaited())

    def open(self) -> None:
        self.store = SqliteStore(Path(self.folder.name) / "deny.db", clock=self.clock)
        self.do(self.store.__aenter__())
        self.held: Any = self.store.queue(HERE)
        self.queue: Queue = self.do(self.held.__aenter__())

    def close(self) -> None:
        self.do(self.held.__aexit__(None, None, None))
        self.do(self.store.__aexit__())

    def teardown(self) -> None:
        self.close()
        self.runner.close()
        self.folder.cleanup()

    # ------------------------------------------------------------------ entries

    @rule(
        given=st.lists(
            st.tuples(users, scopes, actions, origins, reasons, st.none() | seconds), max_size=3
        )
    )
    def add(self, given: list[tuple[Any, ...]]) -> None:
        before, now = dict(self.entries), self.clock.now
        for user, scope, action, origin, reason, lasts in given:
            key = (user, scope, action, origin)
            added_at = before[key].added_at if key in before else now
            ends = None if lasts is None else now + lasts
            self.entries[key] = Entry(user, scope, action, reason, origin, added_at, ends)
        new = sum(key not in before for key in self.entries)
        changed = sum(entry != before.get(key, entry) for key, entry in self.entries.items())
        entries = [
            Entry(*each[:3], each[4], each[3], now, None if each[5] is None else now + each[5])
            for each in given
        ]

        assert self.do(self.store.add(entries)) == (new, changed)

    @rule(
        chosen=st.builds(
            Filter,
            st.none() | st.lists(users),
            st.none() | scopes,
            st.none() | actions,
            st.none() | origins,
        )
    )
    def remove(self, chosen: Filter) -> None:
        gone = [
            key
            for key in self.entries
            if (chosen.users is None or key[0] in chosen.users)
            and all(
                want in (None, have)
                for want, have in zip(
                    (chosen.scope, chosen.action, chosen.origin), key[1:], strict=True
                )
            )
        ]
        for key in gone:
            del self.entries[key]

        assert self.do(self.store.remove(chosen)) == len(gone)

    @rule()
    def expire(self) -> None:
        gone = [key for key, entry in self.entries.items() if self.has_expired(entry)]
        for key in gone:
            del self.entries[key]

        assert self.do(self.store.expire()) == len(gone)

    @rule(id_=st.sampled_from(["A", "B"]), user=users)
    def learn(self, id_: str, user: str) -> None:
        stands_for = self.aliases.get(id_)
        if not any(entry.user == stands_for for entry in self.entries.values()):
            self.aliases[id_] = user
        self.do(self.store.want([], {id_: user}))

    def has_expired(self, entry: Entry) -> bool:
        return entry.expires_at is not None and entry.expires_at <= self.clock.now

    # ------------------------------------------------------------------ intents

    @rule(
        user=users,
        operation=st.sampled_from(Operation),
        wrote_at=seconds,
        message=st.sampled_from(["", "m1", "m2"]),
        rank=st.sampled_from(Rank),
    )
    def want(
        self, user: str, operation: Operation, wrote_at: float, message: str, rank: Rank
    ) -> None:
        intent = Intent(
            HERE, user, operation, user, (user,), user, wrote_at, message, wrote_at, rank
        )
        expected = self.model_want(intent)
        opened = self.do(self.store.want([intent], {}))

        assert [
            attrs.evolve(each, version=0, message="", made_at=0.0, uncertain=False)
            for each in opened
        ] == expected
        if opened:
            model = self.wanted[user]
            assert model.intent is not None
            model.intent = attrs.evolve(model.intent, version=opened[0].version)

    def model_want(self, intent: Intent) -> list[Intent]:
        model, now = self.wanted[intent.person], self.clock.now
        if intent.operation is BLOCK and model.seen is not None:
            seen_at, messages = model.seen
            known = intent.message in messages
            if intent.wrote_at < seen_at or (intent.wrote_at == seen_at and known):
                return []
        before = model.intent
        self.places += 1
        messages = [intent.message] if intent.message else []
        if before is None or before.operation is not intent.operation:
            model.place, due = self.places, now
            model.intent = intent
            model.messages = messages
        else:
            due = min(model.due, now)
            assert before.not_after is not None
            assert intent.not_after is not None
            if intent.wrote_at > before.wrote_at:
                model.messages = messages
            elif intent.wrote_at == before.wrote_at:
                model.messages += messages
            model.intent = attrs.evolve(
                before,
                wrote_at=max(before.wrote_at, intent.wrote_at),
                not_after=max(before.not_after, intent.not_after),
                rank=min(before.rank, intent.rank),
            )
        model.put_off(due)
        return [attrs.evolve(model.intent, version=0, message="")]

    @rule(limit=st.integers(1, 3))
    def take(self, limit: int) -> None:
        due = [
            model
            for model in self.wanted.values()
            if model.intent and not model.is_taken and model.due <= self.clock.now
        ]
        due.sort(key=lambda model: (model.intent.rank, model.due, model.place))
        page = [
            model
            for model in due
            if (model.intent.rank, model.intent.operation)
            == (due[0].intent.rank, due[0].intent.operation)
        ][:limit]
        taken = self.do(self.queue.take(limit, LATE))

        assert [intent.person for intent in taken] == [model.intent.person for model in page]
        for model, intent in zip(page, taken, strict=True):
            model.is_taken = True
            self.taken[intent.person] = intent

    @precondition(lambda self: self.taken)
    @rule(
        data=st.data(), became=st.sampled_from(["done", "failed", "lost", "retry", "lost, retry"])
    )
    def settle(self, data: st.DataObject, became: str) -> None:
        person = data.draw(st.sampled_from(sorted(self.taken)))
        intent, model, now = self.taken.pop(person), self.wanted[person], self.clock.now
        retry_at = now + 10 if "retry" in became else None
        result = Result(intent, became == "done", retry_at, intent.tries + 1, "lost" in became)
        self.do(self.queue.settle([result]))

        model.is_taken = False
        if result.lost:
            model.until[intent.operation] = now + LATE
        if result.done:
            model.until.pop(OPPOSITE[intent.operation], None)
        if intent.operation is BLOCK and result.may_be_blocked:
            self.records[person] = now
        elif intent.operation is not BLOCK and result.done:
            self.records.pop(person, None)
        elif intent.operation is not BLOCK and retry_at is None and person in self.records:
            self.records[person] = now
        assert model.intent is not None
        if model.intent.version != intent.version:
            model.put_off(model.due)
        elif retry_at is not None:
            model.intent = attrs.evolve(model.intent, tries=intent.tries + 1)
            model.put_off(retry_at)
        else:
            self.model_close(model)

    def model_close(self, model: Wanted) -> None:
        assert model.intent is not None
        if model.intent.operation is BLOCK and model.messages:
            at, messages = model.intent.wrote_at, list(model.messages)
            if model.seen is not None and model.seen[0] == at:
                messages += model.seen[1]
            model.seen = at, messages
        model.intent = None

    # ------------------------------------------------------------------ in between

    @rule(seconds=seconds)
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule()
    def reopen(self) -> None:
        self.close()
        self.open()
        for person, intent in self.taken.items():
            model = self.wanted[person]
            model.is_taken = False
            model.until[intent.operation] = self.clock.now + LATE
            model.put_off(model.due)
        self.taken.clear()

    @invariant()
    def entries_agree(self) -> None:
        everything = self.do(self.store.entries(Filter(), None, 100))
        assert everything == [self.entries[key] for key in sorted(self.entries)]
        assert self.do(self.store.count(Filter())) == len(everything)
        alive = [entry for entry in everything if not self.has_expired(entry)]
        found = [(name, entry) for entry in alive for name in entry.user]
        found += [
            (id_, entry)
            for id_, user in self.aliases.items()
            for entry in alive
            if entry.user == user
        ]
        assert sorted(self.do(self.store.find([*"abcAB"])), key=repr) == sorted(found, key=repr)

    @invariant()
    def intents_agree(self) -> None:
        open_ = [model.intent for model in self.wanted.values() if model.intent]
        counts = self.do(self.store.counts(HERE))
        assert counts.blocks == sum(intent.operation is BLOCK for intent in open_)
        assert counts.unblocks == len(open_) - counts.blocks
        assert counts.blocked == len(self.records)
        waiting = [m.due for m in self.wanted.values() if m.intent and not m.is_taken]
        assert self.do(self.queue.due_at()) == min(waiting, default=None)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=15 if settings().derandomize else settings().max_examples, stateful_step_count=40
)
