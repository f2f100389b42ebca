"""The drain: it carries out the newest intent of each user, whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest

from blockusers import (
    AuthenticationError,
    BlocklistFull,
    Event,
    Fault,
    InvalidRequest,
    Operation,
    Outcome,
    Status,
)
from blockusers.guard.answers import NO_ROOM, Answer
from blockusers.guard.drain import Drain, OnFull, OnResults, State
from blockusers.guard.entries import Entry
from blockusers.guard.intents import Counts, Intent, Rank, Record, Result
from blockusers.guard.stores.protocol import Filter, Store, StoreUnavailable
from blockusers.observe.events import DrainChanged, IntentsAnswered
from blockusers.observe.observers import Observers
from tests.guard.support import Server, block, pass_time, unblock, until
from tests.support import PHONE_NUMBER_ID, Clock

BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK
ANNA, BEN, CARL = "16505550001", "16505550002", "16505550003"
LATE = 30.0


@asynccontextmanager
async def draining(
    store: Store,
    server: Server,
    *,
    on_full: OnFull = "evict",
    events: list[Event] | None = None,
    on_settled: OnResults = lambda _: None,
) -> AsyncIterator[Drain]:
    """Drain the number of the tests inside the block; people are denied who have an entry."""

    async def denied_by(known: Record | Intent) -> str | None:
        found = await store.find(known.ids)
        return found[0].entry.user if found else None

    observers = Observers(PHONE_NUMBER_ID, "", [[].append if events is None else events.append])
    drain = Drain(PHONE_NUMBER_ID, store, server, denied_by, LATE, on_full, observers, on_settled)
    task = asyncio.create_task(drain.run())
    try:
        yield drain
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def deny(store: Store, *users: str) -> None:
    await store.add([Entry(user) for user in users])


def answered(events: list[Event]) -> list[str]:
    """Return what was told of pages that were answered, and written down."""
    return [str(event) for event in events if isinstance(event, IntentsAnswered)]


async def settled(store: Store) -> bool:
    counts = await store.counts(PHONE_NUMBER_ID)
    return counts.oldest is None


async def test_a_denied_sender_is_blocked(store: Store, clock: Clock) -> None:
    """Who is wanted blocked is sent, and then counts as blocked by the guard."""
    server, events = Server(), list[Event]()
    await deny(store, ANNA, BEN)
    async with draining(store, server, events=events) as drain:
        await store.want([block(ANNA, clock()), block(BEN, clock())], {})
        await until(lambda: answered(events))

        assert drain.state is State.DRAINING

    assert server.asked == [(BLOCK, (ANNA, BEN))]
    assert server.ranks == [Rank.SINGLE]
    assert await store.counts(PHONE_NUMBER_ID) == Counts(blocked=2)
    assert answered(events) == ["guard: block: 2 done, 0 failed, 0 put off"]


async def test_what_was_left_open_is_carried_out(store: Store, clock: Clock) -> None:
    """Intents that were written while nobody drained are carried out by the next drain."""
    server = Server()
    await deny(store, ANNA)
    await store.want([block(ANNA, clock())], {})

    async with draining(store, server):
        await until(lambda: settled(store))

    assert server.blocked == {ANNA}


async def test_the_newest_intent_wins_while_a_request_is_on_its_way(
    store: Store, clock: Clock
) -> None:
    """An answer settles no intent that is newer than its request."""
    server = Server(gate=asyncio.Event())
    async with draining(store, server):
        await store.want([attrs.evolve(block(ANNA, clock()), entry="")], {})
        await until(lambda: server.asked)
        await store.want([unblock(ANNA, clock())], {})
        assert server.gate is not None
        server.gate.set()
        await until(lambda: settled(store))

    assert [operation for operation, _ in server.asked] == [BLOCK, UNBLOCK]
    assert await store.counts(PHONE_NUMBER_ID) == Counts()


async def test_who_is_removed_while_a_request_is_on_its_way_is_unblocked(
    store: Store, clock: Clock
) -> None:
    """An entry that is removed during the request does not leave its user blocked."""
    server = Server(gate=asyncio.Event())
    await deny(store, ANNA)
    async with draining(store, server):
        await store.want([block(ANNA, clock())], {})
        await until(lambda: server.asked)
        await store.remove(Filter([ANNA]))
        assert server.gate is not None
        server.gate.set()
        await until(lambda: len(server.asked) == 2)
        await until(lambda: settled(store))

    assert server.blocked == set()
    assert await store.counts(PHONE_NUMBER_ID) == Counts()


async def test_who_is_removed_before_the_request_left_costs_none(
    store: Store, clock: Clock
) -> None:
    """Nobody is blocked whose entry was removed before the request left."""
    server = Server()
    await deny(store, ANNA)
    await store.want([block(ANNA, clock())], {})
    await store.remove(Filter([ANNA]))

    async with draining(store, server):
        await until(lambda: settled(store))

    assert server.asked == []


async def test_who_is_denied_again_in_time_stays_blocked(store: Store, clock: Clock) -> None:
    """A removal that is taken back before it was carried out costs no request."""
    server = Server()
    await deny(store, ANNA)
    async with draining(store, server):
        await store.want([block(ANNA, clock())], {})
        await until(lambda: settled(store))
    async with store.queue(PHONE_NUMBER_ID) as queue:
        await store.remove(Filter([ANNA]))
        (record,) = await queue.rechecks(10)
        await queue.rechecked({}, [unblock(record.person, clock())])
    await deny(store, ANNA)

    async with draining(store, server):
        await until(lambda: settled(store))

    assert server.asked == [(BLOCK, (ANNA,))]
    assert await store.counts(PHONE_NUMBER_ID) == Counts(blocked=1)


async def test_many_removals_go_behind_people_who_write(store: Store, clock: Clock) -> None:
    """Unblocks of a long list have the rank of a list."""
    people = [f"1650555{number:04}" for number in range(101)]
    server = Server()
    await deny(store, *people)
    async with draining(store, server):
        await store.want([block(each, clock()) for each in people], {})
        await until(lambda: settled(store))
    await store.remove(Filter(origin=""))  # while nobody checks the new records
    async with draining(store, server):
        await until(lambda: len(server.asked) == 2)
        await until(lambda: settled(store))

    assert server.ranks == [Rank.SINGLE, Rank.BULK]
    assert server.blocked == set()


TRANSIENT = Outcome(ANNA, Status.FAILED, faults=(Fault(139103, "Internal error"),))


async def test_transient_errors_are_retried_with_growing_waits(store: Store, clock: Clock) -> None:
    """139103 for an hour, then fine: blocked, after a few requests."""
    began, events = clock(), list[Event]()
    server = Server(lambda *_: [TRANSIENT] if clock() < began + 3600 else None)
    await deny(store, ANNA)
    async with draining(store, server, events=events):
        await store.want([block(ANNA, clock())], {})
        for tries, wait in enumerate((1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *[600] * 5), 1):
            await until(lambda: len(answered(events)) == tries)  # noqa: B023
            await pass_time(clock, store, wait - 0.5)
            await pass_time(clock, store, 0.5)
        await until(lambda: settled(store))

    assert server.blocked == {ANNA}
    assert len(server.asked) == 16


async def test_an_intent_ends_with_its_window(store: Store, clock: Clock) -> None:
    """A block that is too late for Meta's 24 hours is not tried again."""
    server = Server(lambda *_: [TRANSIENT])
    await deny(store, ANNA)
    async with draining(store, server):
        await store.want([block(ANNA, clock(), not_after=clock() + 0.5)], {})
        await until(lambda: server.asked)
        await pass_time(clock, store, 1.0)
        await until(lambda: settled(store))

    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [131047, 131021])
async def test_a_failure_for_good_waits_for_the_next_message(
    store: Store, clock: Clock, code: int
) -> None:
    """131047 is not tried again, until the user writes once more."""
    failed = Outcome(ANNA, Status.FAILED, faults=(Fault(code, "No"),))
    server = Server(lambda *_: [failed] if len(server.asked) == 1 else None)
    await deny(store, ANNA)
    async with draining(store, server):
        await store.want([block(ANNA, clock())], {})
        await until(lambda: settled(store))
        assert await store.want([block(ANNA, clock())], {}) == []  # the same message
        await store.want([block(ANNA, clock() + 5)], {})
        await until(lambda: settled(store))

    assert len(server.asked) == 2
    assert server.blocked == {ANNA}


async def test_a_refused_token_pauses_the_number(store: Store, clock: Clock) -> None:
    """With a revoked token one request a minute is sent, and all is caught up in the end."""
    began = clock()
    revoked = AuthenticationError("Invalid OAuth access token", 190)
    server = Server(lambda _, users: [revoked] * len(users) if clock() < began + 600 else None)
    events = list[Event]()
    await deny(store, ANNA, BEN)
    async with draining(store, server, events=events) as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: drain.state is State.PAUSED)
        await store.want([block(BEN, clock())], {})
        for minute in range(1, 11):
            await until(lambda: len(answered(events)) == minute)  # noqa: B023
            await pass_time(clock, store, 60.0)
        await until(lambda: settled(store))
        await until(lambda: drain.state is State.DRAINING)

        assert drain.reason == ""

    assert len(server.asked) == 11
    assert server.blocked == {ANNA, BEN}
    assert [str(each)[:20] for each in events if isinstance(each, DrainChanged)] == [
        "guard: draining",
        "guard: paused: the a",
        "guard: draining",
    ]


async def test_a_pause_ends_with_what_it_was_for(store: Store, clock: Clock) -> None:
    """Once nobody is to be blocked any more, the number is not paused any more."""
    revoked = AuthenticationError("Invalid OAuth access token", 190)
    server = Server(lambda _, users: [revoked] * len(users))
    await deny(store, ANNA)
    async with draining(store, server) as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: drain.state is State.PAUSED)
        await store.remove(Filter([ANNA]))
        await pass_time(clock, store, 60.0)
        await until(lambda: drain.state is State.DRAINING)

    assert len(server.asked) == 1


async def test_one_invalid_user_harms_no_other(store: Store, clock: Clock) -> None:
    """Of a page that the server refuses for one user, all the others are blocked."""
    people = [f"1650555{number:04}" for number in range(64)]
    poison = people[40]

    def script(_: Operation, users: Sequence[str]) -> Sequence[Answer] | None:
        if poison not in users:
            return None
        return [InvalidRequest("Invalid parameter", 100, status=400)] * len(users)

    server = Server(script)
    await deny(store, *people)
    async with draining(store, server):
        await store.want([block(each, clock()) for each in people], {})
        expected = Counts(blocks=1, blocked=63, oldest=clock())

        async def others_are_blocked() -> bool:
            return await store.counts(PHONE_NUMBER_ID) == expected

        await until(others_are_blocked)

    assert len(server.asked) <= 14


async def test_a_request_that_is_invalid_for_everybody_is_no_storm(
    store: Store, clock: Clock
) -> None:
    """Where every user is refused as invalid, few requests are sent, and the number pauses."""
    people = [f"1650555{number:04}" for number in range(200)]
    invalid = InvalidRequest("Unknown API version", 100, status=400)
    server = Server(lambda _, users: [invalid] * len(users))
    await deny(store, *people)
    async with draining(store, server) as drain:
        await store.want([block(each, clock()) for each in people], {})
        await until(lambda: drain.state is State.PAUSED)

    assert len(server.asked) == 40
    assert (await store.counts(PHONE_NUMBER_ID)).blocks == 200


async def test_a_long_list_holds_nobody_up(store: Store, clock: Clock) -> None:
    """While a list of unblocks gets no answer, somebody who writes is blocked."""
    people = [f"1650556{number:04}" for number in range(101)]
    server = Server()
    await deny(store, *people, ANNA)
    async with draining(store, server):
        await store.want([block(each, clock()) for each in people], {})
        await until(lambda: settled(store))
    await store.remove(Filter(people))  # while nobody checks the new records
    server.holds = UNBLOCK
    server.gate = asyncio.Event()
    async with draining(store, server):
        await until(lambda: server.asked[-1][0] is UNBLOCK)
        await store.want([block(ANNA, clock())], {})
        await until(lambda: ANNA in server.blocked)
        server.gate.set()
        await until(lambda: settled(store))

    assert server.blocked == {ANNA}


async def test_a_list_that_fails_is_tried_again(store: Store, clock: Clock) -> None:
    """Users of a long list wait for their time, while nothing else happens."""
    began = clock()
    transient = Outcome(ANNA, Status.FAILED, faults=(Fault(139103, "Internal error"),))
    server = Server(lambda *_: [transient] if clock() < began + 1 else None)
    async with draining(store, server):
        await store.want([attrs.evolve(block(ANNA, clock()), entry="", rank=Rank.BULK)], {})
        await until(lambda: server.asked)
        await pass_time(clock, store, 1.0)
        await until(lambda: settled(store))

    assert server.blocked == {ANNA}
    assert server.ranks == [Rank.BULK] * 2


async def test_a_lost_block_that_failed_later_is_undone(store: Store, clock: Clock) -> None:
    """Who may have been blocked by a lost request is unblocked with the entry."""
    failed = Outcome(ANNA, Status.FAILED, faults=(Fault(131047, "No"),))
    answers = [[Outcome(ANNA, Status.UNKNOWN)], [failed]]
    server = Server(lambda *_: answers.pop(0) if answers else None, blocked={ANNA})
    await deny(store, ANNA)
    async with draining(store, server):
        await store.want([block(ANNA, clock())], {})
        await until(lambda: len(answers) == 1)
        await pass_time(clock, store, 1.0)
        await until(lambda: settled(store))
        await store.remove(Filter([ANNA]))
        await pass_time(clock, store, LATE)
        await until(lambda: server.blocked == set())


# --------------------------------------------------------------------------- a full list


def set_capacity(server: Server, most: int) -> None:
    """Let the server refuse blocks when its list is full."""

    def script(operation: Operation, users: Sequence[str]) -> Sequence[Answer] | None:
        if operation is BLOCK and len(server.blocked | set(users)) > most:
            return [BlocklistFull("Blocklist limit reached", 139101)] * len(users)
        return None

    server.script = script


async def test_those_blocked_longest_ago_make_room(store: Store, clock: Clock) -> None:
    """A full list is relieved of a tenth of the guard's own, of those blocked longest ago."""
    people = [f"1650555{number:04}" for number in range(31)]
    server = Server()
    set_capacity(server, 30)
    await deny(store, *people)
    async with draining(store, server):
        for person in people:
            clock.now += 1
            await store.want([block(person, clock())], {})
            await until(lambda: settled(store))

    assert server.blocked == set(people[3:])
    assert [operation for operation, _ in server.asked[-2:]] == [UNBLOCK, BLOCK]
    assert set(server.asked[-2][1]) == set(people[:3])
    assert server.ranks[-2] is Rank.MAKE_ROOM


async def test_who_cannot_be_unblocked_holds_no_room(store: Store, clock: Clock) -> None:
    """If the one blocked longest ago cannot be unblocked, the next makes room."""
    people = [f"1650555{number:04}" for number in range(4)]
    server = Server()
    set_capacity(server, 3)
    full = server.script

    def script(operation: Operation, users: Sequence[str]) -> Sequence[Answer] | None:
        if operation is UNBLOCK and people[0] in users:
            return [Outcome(people[0], Status.FAILED, faults=(Fault(131047, "No"),))]
        return full(operation, users)

    server.script = script
    await deny(store, *people)
    async with draining(store, server):
        for person in people:
            clock.now += 1
            await store.want([block(person, clock())], {})
            await until(lambda: len(server.blocked) == min(3, people.index(person) + 1))  # noqa: B023
            await pass_time(clock, store, 1.0)
        await until(lambda: settled(store))

    assert server.blocked == {people[0], *people[2:]}


async def test_those_for_whom_there_is_room_are_blocked(store: Store, clock: Clock) -> None:
    """Of more people than there is room for, some are blocked, though all were refused at first."""
    people = [f"1650555{number:04}" for number in range(9)]
    server = Server()
    set_capacity(server, 3)
    await deny(store, *people)
    async with draining(store, server):
        await store.want([block(each, clock()) for each in people], {})
        await until(lambda: server.asked)
        for seconds in (1.0, 2.0, 4.0):
            await pass_time(clock, store, seconds)
        await until(lambda: server.blocked)

    assert len(server.blocked) <= 3


@pytest.mark.parametrize("on_full", ["stop", "evict"])
async def test_nobody_else_is_evicted(store: Store, clock: Clock, on_full: OnFull) -> None:
    """With `stop`, and where the guard has blocked nobody, intents wait until there is room."""
    server = Server(blocked={CARL})
    set_capacity(server, 1)
    await deny(store, ANNA)
    async with draining(store, server, on_full=on_full) as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: drain.state is State.FULL)

        assert drain.reason == NO_ROOM
        assert server.blocked == {CARL}

        server.blocked.clear()
        await pass_time(clock, store, 600.0)
        await until(lambda: settled(store))
        await until(lambda: drain.state is State.DRAINING)

    assert server.blocked == {ANNA}


async def test_unblocks_go_on_in_a_full_list(store: Store, clock: Clock) -> None:
    """A full list holds no unblock up."""
    server = Server(blocked={CARL})
    set_capacity(server, 1)
    await deny(store, ANNA)
    async with draining(store, server, on_full="stop") as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: drain.state is State.FULL)
        await store.want([unblock(CARL, clock())], {})
        await until(lambda: server.blocked == set())


# --------------------------------------------------------------------------- crashes, and the end


async def test_an_opposite_operation_waits_after_a_crash(store: Store, clock: Clock) -> None:
    """What a dead process may have sent gets the time of a request before the opposite is sent."""
    crashed = Server(gate=asyncio.Event())
    await deny(store, ANNA, BEN)
    async with draining(store, crashed):
        await store.want([block(ANNA, clock())], {})
        await until(lambda: crashed.asked)
    await store.remove(Filter([ANNA]))

    server = Server(blocked={ANNA})
    async with draining(store, server) as drain:
        await until(lambda: drain.state is State.DRAINING)
        await pass_time(clock, store, LATE - 1)
        await store.want([block(BEN, clock())], {})
        await until(lambda: server.asked)
        assert server.asked == [(BLOCK, (BEN,))]
        await pass_time(clock, store, 1)
        await until(lambda: len(server.asked) == 2)
        await until(lambda: settled(store))

    assert server.asked[1] == (UNBLOCK, (ANNA,))


async def test_whatever_fails_is_begun_again(
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An outage of the store, and an error of unknown kind, do not end the drain."""
    monkeypatch.setattr("blockusers.guard.drain._WAIT", 0.0)
    failures: list[Exception] = [StoreUnavailable("the disk is full"), RuntimeError(f"no {ANNA}")]

    def script(*_: object) -> None:
        if failures:
            raise failures.pop(0)

    server = Server(script)
    await deny(store, ANNA)
    async with draining(store, server) as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: settled(store))
        await until(lambda: drain.reason == "")

    assert server.asked == [(BLOCK, (ANNA,))] * 3
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"guard: {PHONE_NUMBER_ID}: RuntimeError: no 1650…01"
    ]


async def test_results_are_told(store: Store, clock: Clock) -> None:
    """`on_settled` is told of each result, and what it raises harms nothing."""
    told: list[tuple[str, bool, float]] = []

    def on_settled(results: Sequence[Result]) -> None:
        told.extend((each.intent.user, each.done, each.intent.made_at) for each in results)
        raise OSError("no log")

    server = Server()
    await deny(store, ANNA)
    async with draining(store, server, on_settled=on_settled):
        await store.want([block(ANNA, clock())], {})
        await until(lambda: settled(store))
        await store.want([block(BEN, clock())], {})  # whom nothing denies
        await until(lambda: settled(store))

    assert told == [(ANNA, True, clock()), (BEN, False, clock())]


async def test_a_page_on_its_way_ends_before_the_drain_is_closed(
    store: Store, clock: Clock
) -> None:
    """Closing waits for the answer, writes it, and takes nothing more."""
    server = Server(gate=asyncio.Event())
    await deny(store, ANNA, BEN)
    async with draining(store, server) as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: server.asked)
        await store.want([block(BEN, clock())], {})
        closing = asyncio.create_task(drain.close(60.0))
        await asyncio.sleep(0)
        assert server.gate is not None
        server.gate.set()
        await closing

    assert server.blocked == {ANNA}
    assert await store.counts(PHONE_NUMBER_ID) == Counts(blocks=1, blocked=1, oldest=clock())


async def test_closing_has_a_time_limit(store: Store, clock: Clock) -> None:
    """A request that is never answered does not hold closing up."""
    server = Server(gate=asyncio.Event())
    await deny(store, ANNA)
    async with draining(store, server) as drain:
        await store.want([block(ANNA, clock())], {})
        await until(lambda: server.asked)
        await drain.close(0.0)

    assert await store.counts(PHONE_NUMBER_ID) == Counts(blocks=1, oldest=clock())
