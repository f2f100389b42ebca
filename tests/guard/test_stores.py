"""What every store of the guard promises: entries, intents, records and queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest

from blockusers.guard.entries import Entry
from blockusers.guard.intents import Counts, Intent, Rank, Result
from blockusers.guard.stores.protocol import CHANGES_KEPT, Filter, Found, Store, StoreUnavailable
from blockusers.values.outcome import Operation
from tests.support import Clock

HERE, THERE = "106540352242922", "106540352242923"
ANN, BOB, CAT = "16505551231", "16505551232", "16505551233"
BSUID = "US.13491208655302741918"
ALL = Filter()
LATE = 30.0
BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK

Make = Callable[[], Store]


def entry(user: str = ANN, **fields: Any) -> Entry:
    return Entry(user, **{"added_at": 900.0, **fields})


def block(person: str = ANN, *, wrote_at: float = 1000.0, **fields: Any) -> Intent:
    given = {"ids": (person, BSUID), "entry": person, **fields}
    return Intent(HERE, person, BLOCK, f"+{person}", wrote_at=wrote_at, **given)


def unblock(person: str = ANN, **fields: Any) -> Intent:
    return Intent(HERE, person, UNBLOCK, f"+{person}", **{"entry": person, **fields})


async def entries(store: Store, chosen: Filter = ALL) -> list[Entry]:
    return list(await store.entries(chosen, None, 100))


async def has_blocked(store: Store, *intents: Intent) -> None:
    """Let the guard block these people, who are denied."""
    await store.add([entry(intent.entry) for intent in intents])
    await store.want(intents, {})
    async with store.queue(HERE) as queue:
        await queue.settle([Result(each, done=True) for each in await queue.take(100, LATE)])
        records = await queue.rechecks(100)
        await queue.rechecked({record.person: record.entry for record in records}, [])


async def taken(store: Store) -> list[str]:
    async with store.queue(HERE) as queue:
        return [intent.person for intent in await queue.take(100, LATE)]


async def to_recheck(store: Store) -> set[str]:
    async with store.queue(HERE) as queue:
        return {record.person for record in await queue.rechecks(100)}


# --------------------------------------------------------------------------- entries


async def test_adds_and_finds(store: Store) -> None:
    """What is added is found as it was, by the id of its user only."""
    ours = entry(reason="spam 🐟", origin="anna", expires_at=2000.5)

    assert await store.add([ours, entry(BOB)]) == (2, 0)
    assert await store.find([ANN, CAT]) == [Found(ANN, ours)]
    assert await store.find([]) == []


async def test_adding_again_changes_nothing(store: Store) -> None:
    """A second import finds everything there, and keeps when it was added first."""
    await store.add([entry(reason="spam")])

    assert await store.add([entry(reason="spam", added_at=950.0)]) == (0, 0)
    assert await entries(store) == [entry(reason="spam")]


@pytest.mark.parametrize("news", [{"reason": "fraud"}, {"expires_at": 5000.0}])
async def test_updates(store: Store, news: dict[str, Any]) -> None:
    """Another reason or expiry replaces the one before; `added_at` stays."""
    await store.add([entry(reason="spam"), entry(BOB)])

    assert await store.add([entry(added_at=950.0, **{"reason": "spam", **news})]) == (0, 1)
    assert (await entries(store))[0] == entry(**{"reason": "spam", **news})


async def test_of_two_with_one_key_the_last_counts(store: Store) -> None:
    """Entries of one call may repeat themselves."""
    assert await store.add([entry(reason="one"), entry(reason="two")]) == (1, 0)
    assert await entries(store) == [entry(reason="two")]


async def test_the_key_has_four_parts(store: Store) -> None:
    """Entries that differ in user, scope, action or origin stand beside each other, in order."""
    ours = [
        entry(ANN, scope="*", action="allow", origin=""),
        entry(ANN, scope="*", action="deny", origin="a"),
        entry(ANN, scope="*", action="deny", origin="b"),
        entry(ANN, scope=HERE, action="deny", origin="a"),
        entry(BOB, scope="*", action="deny", origin="a"),
    ]

    assert await store.add(ours[::-1]) == (5, 0)
    assert await entries(store) == ours


async def test_what_has_expired_is_not_found(store: Store, clock: Clock) -> None:
    """From its end on an entry counts for nothing, and `expire` removes it."""
    await store.add([entry(expires_at=1100.0), entry(BOB, expires_at=1200.0), entry(CAT)])
    clock.now = 1100.0

    assert [found.id for found in await store.find([ANN, BOB, CAT])] == [BOB, CAT]
    assert await store.expire() == 1
    assert [each.user for each in await entries(store)] == [BOB, CAT]
    assert await store.expire() == 0


CHOICES = {
    "all": (ALL, "abcd"),
    "users": (Filter([ANN, BOB, "17"]), "abc"),
    "nobody": (Filter([]), ""),
    "scope": (Filter(scope=HERE), "b"),
    "action": (Filter(action="allow"), "c"),
    "origin": (Filter(origin="list"), "bd"),
    "several": (Filter([ANN], scope=HERE, action="deny", origin="list"), "b"),
}


@pytest.mark.parametrize("choice", CHOICES)
async def test_chooses(store: Store, choice: str) -> None:
    """A filter chooses the same entries to be read, counted and removed."""
    ours = {
        "a": entry(ANN, reason="a"),
        "b": entry(ANN, reason="b", scope=HERE, origin="list"),
        "c": entry(BOB, reason="c", action="allow"),
        "d": entry(CAT, reason="d", origin="list"),
    }
    chosen, names = CHOICES[choice]
    await store.add(list(ours.values()))

    assert "".join(each.reason for each in await entries(store, chosen)) == names
    assert await store.count(chosen) == len(names)
    assert await store.remove(chosen) == len(names)
    assert {each.reason for each in await entries(store)} == set(ours) - set(names)
    assert await store.count(ALL) == len(ours) - len(names)


async def test_pages(store: Store) -> None:
    """Pages go on behind an entry, also when that is gone meanwhile."""
    ours = [entry(user, origin=origin) for user in (ANN, BOB, CAT) for origin in "ab"]
    await store.add(ours)
    first = await store.entries(ALL, None, 3)
    await store.remove(Filter([BOB], origin="a"))

    assert first == ours[:3]
    assert await store.entries(ALL, first[-1], 2) == ours[3:5]
    assert await store.entries(ALL, ours[-1], 2) == []


@pytest.mark.parametrize("chosen", [ALL, Filter([f"49{i:05}" for i in range(5000)])])
async def test_long_lists(store: Store, chosen: Filter) -> None:
    """Thousands are read, counted and removed as few are."""
    ours = [entry(f"49{i:05}", origin="list") for i in range(5000)]
    await store.add(ours)

    assert await store.entries(chosen, None, 6000) == ours
    assert await store.count(attrs.evolve(chosen, origin="list")) == 5000
    assert await store.remove(chosen) == 5000
    assert await store.count(ALL) == 0


async def test_settings(store: Store) -> None:
    """A setting keeps its first value."""
    assert await store.setting("colour") is None
    assert await store.setting("colour", "red") == "red"
    assert await store.setting("colour", "blue") == "red"
    assert await store.setting("colour") == "red"


# --------------------------------------------------------------------------- aliases and moves


async def test_finds_by_alias(store: Store) -> None:
    """An id that was learned leads to the entry that it stands for."""
    await store.add([entry()])
    await store.want([], {BSUID: ANN})

    assert await store.find([BSUID]) == [Found(BSUID, entry())]
    assert await store.find([BSUID, ANN]) == [Found(ANN, entry()), Found(BSUID, entry())]


async def test_an_alias_outlives_a_new_import(store: Store, clock: Clock) -> None:
    """Who is removed and added again is known by all ids; who stays away is forgotten."""
    await store.add([entry(), entry(BOB)])
    await store.want([], {BSUID: ANN, "US.2": BOB, "US.3": CAT})
    await store.remove(ALL)
    await store.add([entry()])
    await store.forget(clock.now + 1)
    await store.add([entry(BOB), entry(CAT)])

    assert {found.id for found in await store.find([BSUID, "US.2", "US.3"])} == {BSUID}


async def test_moves(store: Store) -> None:
    """Entries move with their fields, but for those that were added since, by any clock."""
    old = entry(reason="spam", origin="a", expires_at=5000.0)
    later = entry(origin="later", added_at=950.0 + 301)
    await store.add([old, later])

    assert await store.move([ANN, CAT], BOB, 950.0, "m1")
    assert await entries(store) == [later, attrs.evolve(old, user=BOB)]


async def test_records_follow_a_move(store: Store) -> None:
    """Who has a new number and then a new id is looked at again after each."""
    await has_blocked(store, block())
    await store.want([], {BSUID: ANN})
    await store.move([ANN], BOB, 950.0, "m1")
    async with store.queue(HERE) as queue:
        (record,) = await queue.rechecks(9)
        assert (record.person, record.entry) == (ANN, BOB)
        await queue.rechecked({ANN: BOB}, [])
    assert await store.move([BSUID], "US.2", 950.0, "m2")

    assert await to_recheck(store) == {ANN}


async def test_records_of_others_stay_with_their_entries(store: Store) -> None:
    """A move leaves alone who is denied by the entry of another."""
    await has_blocked(store, block(entry=BOB))
    await store.add([entry(ANN)])
    await store.move([ANN], CAT, 950.0, "m1")

    async with store.queue(HERE) as queue:
        assert [record.entry for record in await queue.rechecks(9)] == [BOB]


async def test_clocks_may_differ(store: Store) -> None:
    """What was added up to five minutes after a change is moved; what came later is not."""
    await store.add([entry(added_at=1250.0), entry(scope="1", added_at=1251.0)])

    assert await store.move([ANN], BOB, 950.0, "m1")
    assert [(each.user, each.scope) for each in await entries(store)] == [(ANN, "1"), (BOB, "*")]


async def test_an_alias_stands_for_one_user(store: Store) -> None:
    """An alias is not taken from a user who still has an entry."""
    await store.add([entry(), entry(BOB)])
    await store.want([], {BSUID: ANN})
    await store.want([], {BSUID: BOB})
    assert [each.entry.user for each in await store.find([BSUID])] == [ANN]

    await store.remove(Filter([ANN]))
    await store.want([], {BSUID: BOB})
    assert [each.entry.user for each in await store.find([BSUID])] == [BOB]


async def test_moves_of_some_scopes(store: Store) -> None:
    """Only entries of the scopes that are given move, and no aliases."""
    await store.add([entry(), entry(scope="1"), entry(scope="2")])
    await store.want([], {BSUID: ANN})

    assert await store.move([ANN], BOB, 950.0, "m1", ["2"])
    assert [(each.user, each.scope) for each in await entries(store)] == [
        (ANN, "*"),
        (ANN, "1"),
        (BOB, "2"),
    ]
    assert not await store.move([BSUID], "US.2", 950.0, "m2", ["2"])
    assert {each.entry.user for each in await store.find([BSUID])} == {ANN}


async def test_changes_that_come_in_reverse(store: Store) -> None:
    """Who came back to a number stays there, though the older change comes last."""
    await store.add([entry()])

    assert not await store.move([BOB], ANN, 960.0, "m2")
    assert not await store.move([ANN], BOB, 950.0, "m1")
    assert [each.user for each in await entries(store)] == [ANN]


async def test_each_move_is_heeded_once(store: Store) -> None:
    """A message that comes again moves nothing, whoever has the number now."""
    await store.add([entry()])
    await store.move([ANN], BOB, 950.0, "m1")
    await store.add([entry()])

    assert not await store.move([ANN], CAT, 950.0, "m1")
    assert await store.move([ANN], CAT, 950.0, "m2")


async def test_moves_never_go_back_in_time(store: Store) -> None:
    """What happened before the last move to an id does not move it away."""
    await store.add([entry(), entry(CAT)])
    await store.move([ANN], BOB, 950.0, "m1")

    assert not await store.move([BOB], CAT, 940.0, "m0")
    assert [each.user for each in await entries(store)] == [BOB, CAT]
    assert await store.move([BOB], CAT, 960.0, "m2")


async def test_what_moves_nothing_leaves_nothing(store: Store) -> None:
    """About people who are not denied nothing is kept."""
    assert not await store.move([ANN], BOB, 950.0, "m1")
    assert not await store.move([ANN], ANN, 950.0, "m1")
    await store.add([entry()])
    assert await store.move([ANN], BOB, 950.0, "m1")


@pytest.mark.parametrize(
    ("there", "moved", "lasts"),
    [
        (None, 2000.0, None),
        (2000.0, None, None),
        (2000.0, 3000.0, 3000.0),
        (3000.0, 2000.0, 3000.0),
    ],
)
async def test_a_move_keeps_what_lasts_longer(
    store: Store, there: float | None, moved: float | None, lasts: float | None
) -> None:
    """Where the target has such an entry already, that one stays, for the longer time."""
    await store.add([entry(reason="old", expires_at=moved)])
    await store.add([entry(BOB, reason="there", expires_at=there)])
    await store.move([ANN], BOB, 950.0, "m1")

    assert await entries(store) == [entry(BOB, reason="there", expires_at=lasts)]


async def test_aliases_move(store: Store) -> None:
    """An id that stands for an entry hands that on, and aliases follow their entry."""
    await store.add([entry()])
    await store.want([], {"US.1": ANN})

    assert await store.move(["US.1"], "US.2", 950.0, "m1")
    assert await store.find(["US.1"]) == []
    assert await store.move([ANN], BOB, 960.0, "m2")
    assert await store.find(["US.2"]) == [Found("US.2", entry(BOB))]
    assert await store.move(["US.2"], BOB, 970.0, "m3")
    assert await store.find([BOB, "US.2"]) == [Found(BOB, entry(BOB))]


async def test_erases(store: Store) -> None:
    """Nothing is left of somebody, under whatever id, and others stay."""
    await has_blocked(store, block(ANN), block(BOB))
    await store.want([block("US.1", entry=ANN), block(CAT)], {BSUID: ANN})

    assert await store.erase([BSUID], [ANN]) == 1
    assert [each.user for each in await entries(store)] == [BOB]
    assert await store.counts(HERE) == Counts(1, 0, 1, 1000.0)
    assert await store.find([BSUID, ANN]) == []
    assert await taken(store) == [CAT]


# --------------------------------------------------------------------------- wanting


async def test_want(store: Store, clock: Clock) -> None:
    """An intent is taken as it was given; versions grow."""
    ours = [block(message="m1", not_after=5000.0, rank=Rank.BULK), block(BOB, rank=Rank.BULK)]
    opened = await store.want(ours, {})

    assert opened[0].version < opened[1].version
    assert [attrs.evolve(each, version=0, made_at=0.0) for each in opened] == ours
    assert [each.made_at for each in opened] == [clock(), clock()]
    async with store.queue(HERE) as queue:
        assert await queue.take(10, LATE) == opened


REPLAYS = {
    "earlier": (999.0, "m0", False),
    "the same": (1000.0, "m1", False),
    "another of that second": (1000.0, "m2", True),
    "nameless": (1000.0, "", True),
    "later": (1001.0, "m2", True),
}


@pytest.mark.parametrize("replay", REPLAYS)
async def test_replays(store: Store, replay: str) -> None:
    """A message that was taken care of is left out, also after the user was unblocked."""
    wrote_at, message, opens = REPLAYS[replay]
    again = block(wrote_at=wrote_at, message=message)
    await has_blocked(store, block(message="m1"))

    assert bool(await store.want([again], {})) is opens
    await store.want([unblock(wrote_at=1002.0)], {})
    async with store.queue(HERE) as queue:
        await queue.settle([Result(each, done=True) for each in await queue.take(9, LATE)])
    assert bool(await store.want([again], {})) is opens


async def test_ten_messages_of_a_second_are_known(store: Store) -> None:
    """The last ten messages of the newest second are remembered, over several intents."""
    for names in ("abcdef", "ghijklm"):
        await store.want([block(message=name) for name in names], {})
        async with store.queue(HERE) as queue:
            await queue.settle([Result(each, done=True) for each in await queue.take(9, LATE)])

    again = [block(message=name) for name in "abcdefghijklm"]
    assert "".join(each.message for each in await store.want(again, {})) == "abc"


async def test_unblocks_are_no_replays(store: Store) -> None:
    """An unblock is wanted whenever it was decided."""
    await has_blocked(store, block())

    assert await store.want([unblock(wrote_at=1.0)], {})


async def test_wanted_again(store: Store, clock: Clock) -> None:
    """An open intent keeps its place and tries, takes what is later, and is due now."""
    await store.want([block(message="m1", not_after=5000.0), block(BOB)], {})
    async with store.queue(HERE) as queue:
        first, _ = await queue.take(2, LATE)
        await queue.settle([Result(first, retry_at=1500.0, tries=1)])
        assert await queue.due_at() == 1500.0
    clock.now = 1010.0
    (again,) = await store.want([block(wrote_at=1005.0, not_after=4000.0)], {})

    assert (again.tries, again.wrote_at, again.not_after) == (1, 1005.0, 5000.0)
    assert again.version > first.version
    assert await taken(store) == [BOB, ANN]  # due since 1000 and since 1010


async def test_what_is_wanted_again_keeps_its_place(store: Store) -> None:
    """Who writes often is not sent behind those who came later; the better rank counts."""
    await store.want([block(rank=Rank.BULK), block(BOB, rank=Rank.BULK)], {})
    await store.want([block(wrote_at=900.0, rank=Rank.BULK, not_after=1.0)], {})
    assert await taken(store) == [ANN, BOB]

    await store.want([block(BOB)], {})
    assert await taken(store) == [BOB]


async def test_the_newest_wins(store: Store, clock: Clock) -> None:
    """The opposite of what is open takes its place, as if nothing had been before."""
    await store.want([block(not_after=5000.0), unblock(BOB)], {})
    clock.now = 1010.0
    (opened,) = await store.want([unblock(wrote_at=900.0)], {})

    assert (opened.operation, opened.wrote_at, opened.not_after) == (UNBLOCK, 900.0, None)
    assert await taken(store) == [BOB, ANN]


async def test_one_person_on_two_numbers(store: Store) -> None:
    """What is wanted on one number is nothing to another."""
    await store.want([block(), attrs.evolve(block(), phone_number_id=THERE)], {})

    assert await store.counts(HERE) == Counts(1, 0, 0, 1000.0)
    assert await taken(store) == [ANN]
    async with store.queue(THERE) as queue:
        assert len(await queue.take(9, LATE)) == 1


# --------------------------------------------------------------------------- taking and settling


async def test_takes_the_first_rank(store: Store) -> None:
    """A page is of one rank and one operation, the oldest first, and nothing is taken twice."""
    await store.want([block("1", rank=Rank.BULK), unblock("2"), unblock("3")], {})
    await store.want([block("4"), unblock("5", rank=Rank.MAKE_ROOM), block("6")], {})
    async with store.queue(HERE) as queue:
        pages = [[each.person for each in await queue.take(2, LATE)] for _ in range(5)]

    assert pages == [["5"], ["2", "3"], ["4", "6"], ["1"], []]


async def test_takes_no_more_than_asked(store: Store) -> None:
    """The rest of a page stays open."""
    await store.want([block(str(i)) for i in range(5)], {})
    async with store.queue(HERE) as queue:
        assert [each.person for each in await queue.take(3, LATE)] == ["0", "1", "2"]
        assert [each.person for each in await queue.take(3, LATE)] == ["3", "4"]


async def test_put_off(store: Store, clock: Clock) -> None:
    """What is to be retried is not taken before it is due, and has one try more then."""
    await store.want([block()], {})
    async with store.queue(HERE) as queue:
        assert await queue.due_at() == 1000.0
        (first,) = await queue.take(9, LATE)
        await queue.settle([Result(first, retry_at=1030.0, tries=1)])
        assert await queue.take(9, LATE) == []
        assert await queue.due_at() == 1030.0
        clock.now = 1030.0
        assert await queue.take(9, LATE) == [attrs.evolve(first, tries=1)]


async def test_who_is_blocked_has_a_record(store: Store) -> None:
    """A block that is done leaves a record, an unblock takes it away, a failure does neither."""
    await store.add([entry()])
    await store.want([block(), block(BOB)], {})
    async with store.queue(HERE) as queue:
        ann, bob = await queue.take(9, LATE)
        await queue.settle([Result(ann, done=True), Result(bob, reason="131047")])
        assert await store.counts(HERE) == Counts(0, 0, 1, None)
        await store.want([unblock()], {})
        assert await store.counts(HERE) == Counts(0, 1, 1, 1000.0)
        await queue.settle([Result((await queue.take(9, LATE))[0], done=True)])
    assert await store.counts(HERE) == Counts(0, 0, 0, None)


async def test_only_the_newest_version_is_settled(store: Store) -> None:
    """Who wrote meanwhile stays open; that the earlier block was done is noted all the same."""
    await store.want([block()], {})
    async with store.queue(HERE) as queue:
        (first,) = await queue.take(9, LATE)
        (second,) = await store.want([block(wrote_at=1001.0)], {})
        assert await queue.take(9, LATE) == []  # not while it is being sent
        await queue.settle([Result(first, done=True)])
        assert await store.counts(HERE) == Counts(1, 0, 1, 1000.0)
        assert await queue.take(9, LATE) == [second]


async def test_erased_while_it_was_sent(store: Store) -> None:
    """Of somebody who was erased in between nothing is written down again."""
    await store.want([block()], {})
    async with store.queue(HERE) as queue:
        intents = await queue.take(9, LATE)
        await store.erase([ANN], [ANN])
        await queue.settle([Result(each, done=True) for each in intents])
        assert await queue.rechecks(9) == []
    assert await store.counts(HERE) == Counts()


@pytest.mark.parametrize(("lost", "due"), [(False, 1000.0), (True, 1030.0)])
async def test_a_lost_block_may_come_late(
    store: Store, clock: Clock, lost: bool, due: float
) -> None:
    """What may still take effect holds up the opposite, and only that."""
    await store.want([block()], {})
    async with store.queue(HERE) as queue:
        await queue.settle([Result((await queue.take(9, LATE))[0], lost=lost)])
        await store.want([unblock()], {})
        assert await queue.due_at() == due
        await store.want([block(wrote_at=1001.0)], {})
        assert await queue.due_at() == 1000.0


async def test_lost_while_the_opposite_was_wanted(store: Store, clock: Clock) -> None:
    """Who changed their mind while a request was lost waits as well, until it has passed."""
    await store.want([block()], {})
    async with store.queue(HERE) as queue:
        (first,) = await queue.take(9, LATE)
        await store.want([unblock()], {})
        await queue.settle([Result(first, lost=True, retry_at=1001.0)])
        assert await queue.take(9, LATE) == []
        clock.now = 1030.0
        await queue.settle([Result((await queue.take(9, LATE))[0], done=True)])
        await store.want([unblock()], {})
        assert await queue.due_at() == 1030.0


async def test_a_drain_that_dies(store: Store, clock: Clock) -> None:
    """What it sent is taken anew by the next one; the opposite waits until it has passed."""
    await store.want([block(), block(BOB)], {})
    assert await taken(store) == [ANN, BOB]
    clock.now = 1100.0
    await store.want([unblock(BOB)], {})
    async with store.queue(HERE) as queue:
        assert [each.person for each in await queue.take(9, LATE)] == [ANN]
        assert await queue.due_at() == 1130.0
        clock.now = 1130.0
        assert [each.person for each in await queue.take(9, LATE)] == [BOB]


# --------------------------------------------------------------------------- records


async def test_makes_room(store: Store, clock: Clock) -> None:
    """Those blocked longest ago are unblocked, as many as are not on their way already."""
    for person in (CAT, ANN, BOB, "1"):
        await has_blocked(store, block(person))
        clock.advance(1)
    await store.want([block(BOB, wrote_at=1001.0)], {})
    async with store.queue(HERE) as queue:
        assert await queue.make_room(2, [CAT]) == 2
        assert await queue.make_room(2, []) == 2
        assert await queue.make_room(9, []) == 3
        page = await queue.take(9, LATE)

    assert [(each.person, each.user, each.rank) for each in page] == [
        (ANN, f"+{ANN}", Rank.MAKE_ROOM),
        ("1", "+1", Rank.MAKE_ROOM),
        (CAT, f"+{CAT}", Rank.MAKE_ROOM),
    ]
    assert page[0].ids == (ANN, BSUID)


async def test_who_cannot_be_unblocked_makes_room_last(store: Store, clock: Clock) -> None:
    """Others make room before somebody whose unblock failed for good."""
    for person in (ANN, BOB):
        await has_blocked(store, block(person))
        clock.advance(1)
    async with store.queue(HERE) as queue:
        await queue.make_room(1, [])
        await queue.settle([Result(each) for each in await queue.take(9, LATE)])
        await queue.make_room(1, [])
        assert [each.person for each in await queue.take(9, LATE)] == [BOB]


CHANGES: dict[str, Callable[[Store], Any]] = {
    "removed": lambda store: store.remove(Filter([ANN])),
    "moved away": lambda store: store.move([ANN], "1777", 950.0, "m1"),
    "allowed": lambda store: store.add([entry(action="allow")]),
    "allowed in another spelling": lambda store: store.add(
        [entry("X", action="allow")], {"X": [ANN]}
    ),
    "allowed by an alias": lambda store: store.add([entry(BSUID, action="allow")]),
    "expires now": lambda store: store.add([entry(expires_at=1.0)]),
    "denied again": lambda store: store.add([entry(origin="other")]),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_changes_lead_to_a_recheck(store: Store, change: str) -> None:
    """Whatever may change the verdict about somebody who is blocked is looked at, once."""
    await has_blocked(store, block(), block(BOB))
    await store.want([], {BSUID: ANN})
    await CHANGES[change](store)

    assert await to_recheck(store) == {ANN}
    async with store.queue(HERE) as queue:
        (record,) = await queue.rechecks(9)
        moved_to = "1777" if change == "moved away" else ANN
        assert (record.user, record.ids, record.entry) == (f"+{ANN}", (ANN, BSUID), moved_to)
        assert record.blocked_at == 1000.0
        await queue.rechecked({ANN: ANN}, [])
        assert await queue.rechecks(9) == []


async def test_expiry_leads_to_a_recheck(store: Store, clock: Clock) -> None:
    """What ends by itself is looked at when it is removed."""
    await has_blocked(store, block())
    await store.add([entry(expires_at=1100.0)])
    async with store.queue(HERE) as queue:
        await queue.rechecks(9)
        await queue.rechecked({ANN: ANN}, [])
    clock.now = 1100.0
    await store.expire()

    assert await to_recheck(store) == {ANN}


@pytest.mark.parametrize("change", ["removed", "allowed", "allowed by an alias", "expires now"])
async def test_changed_while_it_was_sent(store: Store, change: str) -> None:
    """Who is denied no more when the block is done is looked at again."""
    await store.add([entry()])
    await store.want([block()], {BSUID: ANN})
    async with store.queue(HERE) as queue:
        page = await queue.take(9, LATE)
        await CHANGES[change](store)
        await queue.settle([Result(each, done=True) for each in page])
    assert await to_recheck(store) == {ANN}


async def test_changed_while_it_was_rechecked(store: Store) -> None:
    """A change after the records were read leads to another recheck."""
    await has_blocked(store, block())
    await store.remove(ALL)
    async with store.queue(HERE) as queue:
        await queue.rechecks(9)
        await store.add([entry()])
        await queue.rechecked({}, [unblock()])
        assert [record.person for record in await queue.rechecks(9)] == [ANN]
        await queue.rechecked({ANN: BOB}, [])
        assert await queue.take(9, LATE) == []  # the unblock is dropped
    assert (await store.counts(HERE)).blocked == 1


@pytest.mark.parametrize("how", ["taken", "lost", "to make room"])
async def test_unblocks_that_are_not_dropped(store: Store, clock: Clock, how: str) -> None:
    """Who is denied again is unblocked all the same where that was sent, or makes room."""
    await has_blocked(store, block())
    async with store.queue(HERE) as queue:
        if how == "to make room":
            await queue.make_room(1, [])
        else:
            await store.want([unblock()], {})
            page = await queue.take(9, LATE)
        if how == "lost":
            await queue.settle([Result(page[0], lost=True, retry_at=1001.0)])
        await queue.rechecked({ANN: ANN, CAT: CAT}, [])
    assert (await store.counts(HERE)).unblocks == 1


async def test_a_block_ends_what_an_unblock_may_do(store: Store, clock: Clock) -> None:
    """Who was blocked again after a lost unblock is blocked for certain."""
    await has_blocked(store, block())
    async with store.queue(HERE) as queue:
        await store.want([unblock()], {})
        await queue.settle([Result((await queue.take(9, LATE))[0], lost=True)])
        clock.now = 1030.0
        await store.want([block(wrote_at=1030.0)], {})
        await queue.settle([Result((await queue.take(9, LATE))[0], done=True)])
        await store.want([unblock()], {})
        await queue.rechecked({ANN: ANN}, [])
    assert await store.counts(HERE) == Counts(0, 0, 1, None)


async def test_forgets(store: Store, clock: Clock) -> None:
    """What was settled before is deleted; what is open, and what came later, stays."""
    await has_blocked(store, block(message="m1"))
    await store.add([entry("1")])
    await store.move(["1"], "2", 950.0, "m1")
    clock.now = 2000.0
    await has_blocked(store, block(BOB, message="m1"))
    await store.want([block(CAT)], {})
    await store.forget(2000.0)
    await store.add([entry("1")])

    again = [block(person, message="m1") for person in (ANN, BOB)]
    assert [each.person for each in await store.want(again, {})] == [ANN]
    assert await taken(store) == [CAT, ANN]
    assert not await store.move(["1"], "2", 950.0, "m1")
    await store.forget(2000.1 + CHANGES_KEPT)
    assert await store.move(["1"], "2", 950.0, "m1")


# --------------------------------------------------------------------------- opening and waiting


async def test_outlives_its_store(make: Make) -> None:
    """What was written is there when it is opened again."""
    async with make() as store:
        await store.add([entry()])
        await store.want([block()], {BSUID: ANN})
    async with make() as store:
        assert await store.find([BSUID]) == [Found(BSUID, entry())]
        assert await taken(store) == [ANN]


async def test_opened_twice(make: Make) -> None:
    """It is closed when all have closed it."""
    store = make()
    async with store:
        async with store as same:
            assert same is store
        assert await store.count(ALL) == 0
    with pytest.raises(StoreUnavailable, match="it is not open; use it inside `async with`"):
        await store.count(ALL)


def test_serves_one_event_loop_after_the_other(make: Make) -> None:
    """Each `asyncio.run` has its own loop; the store may be opened in all of them."""
    store = make()

    async def use() -> int:
        async with store, store.queue(HERE):
            await store.add([entry()])
            return await store.count(ALL)

    assert [asyncio.run(use()) for _ in range(2)] == [1, 1]


async def test_many_at_once(store: Store) -> None:
    """Calls of many tasks are all done, each by itself."""
    results = await asyncio.gather(*(store.add([entry(str(i))]) for i in range(600)))

    assert set(results) == {(1, 0)}
    assert await store.count(ALL) == 600


async def test_one_failure_harms_no_other(store: Store) -> None:
    """What cannot be written fails alone, and leaves nothing."""
    bad = [entry("1"), entry("2", reason="\ud800")]
    results = await asyncio.gather(
        store.add([entry()]), store.add(bad), store.add([entry(BOB)]), return_exceptions=True
    )

    assert results[::2] == [(1, 0), (1, 0)]
    assert isinstance(results[1], UnicodeEncodeError)
    assert [each.user for each in await entries(store)] == [ANN, BOB]

    results = await asyncio.gather(
        store.find([ANN]), store.find(["\ud800"]), store.find([CAT]), return_exceptions=True
    )
    assert results[::2] == [[Found(ANN, entry())], []]
    assert isinstance(results[1], UnicodeEncodeError)


async def test_cancelling_harms_nobody(store: Store) -> None:
    """Who gives up waiting takes nobody else's call along, and the store goes on."""
    tasks = [asyncio.create_task(store.add([entry(str(i))])) for i in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert results[::2] == [(1, 0), (1, 0)]
    assert isinstance(results[1], asyncio.CancelledError)
    assert await store.add([entry()]) == (1, 0)


async def test_one_drain_at_a_time(make: Make) -> None:
    """Two stores cannot hold one number; another number is free."""
    events = []

    async def drain(store: Store, name: str) -> None:
        async with store.queue(HERE):
            events.append(f"{name} in")
            await asyncio.sleep(0.01)
            events.append(f"{name} out")

    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(make()) for _ in "12"]
        async with two.queue(THERE), two.queue("a name/of another kind"):
            await asyncio.gather(drain(one, "a"), drain(two, "b"))

    assert sorted(events[:2]) == sorted(events[:2], key=lambda event: event[2:])
    assert events[0][0] == events[1][0] != events[2][0] == events[3][0]


async def test_closed_while_somebody_waits_for_a_number(make: Make) -> None:
    """Who waits for a number learns that the store is closed."""
    store, other = make(), make()
    async with other, other.queue(HERE):
        async with store:
            waiting = asyncio.create_task(store.queue(HERE).__aenter__())
            await asyncio.sleep(0.01)
        with pytest.raises(StoreUnavailable, match="not open"):
            await waiting


WAKING: dict[str, Callable[[Store], Any]] = {
    "want": lambda store: store.want([block()], {}),
    "add": lambda store: store.add([entry()]),
}


@pytest.mark.parametrize("what", WAKING)
@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_wakes(make: Make, what: str, where: str) -> None:
    """A drain that waits is woken by what happens in its store, and in others."""
    async with make() as store, make() as other, store.queue(HERE) as queue:
        waiting = asyncio.create_task(queue.wait(60))
        await asyncio.sleep(0)
        await WAKING[what](store if where == "here" else other)
        async with asyncio.timeout(10):
            await waiting


async def test_no_change_is_missed(store: Store) -> None:
    """What happened between two waits ends the second at once."""
    async with store.queue(HERE) as queue:
        await queue.wait(0)
        await store.want([block()], {})
        async with asyncio.timeout(10):
            await queue.wait(60)


async def test_waits_no_longer_than_asked(store: Store) -> None:
    """Where nothing happens the time runs out; a cancelled wait is cancelled."""
    async with store.queue(HERE) as queue:
        await queue.wait(0)
        await queue.wait(0.001)
        waiting = asyncio.create_task(queue.wait(60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await store.want([block()], {})


async def test_the_clock_is_that_of_the_store(store: Store, clock: Clock) -> None:
    """Whoever uses the store goes by its time."""
    clock.now = 1234.0

    assert store.clock() == 1234.0
