"""The blocklist by itself: no server, no socket, no real time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers.sandbox import Rules
from blockusers.sandbox.blocklist import Blocklist
from blockusers.sandbox.bucket import Bucket
from blockusers.sandbox.cursors import Cursor, encode
from blockusers.sandbox.refusals import Refusal
from blockusers.sandbox.users import wa_id
from tests.support import Clock

ANN, BEN, CAT, DAN = "16505550001", "16505550002", "16505550003", "US.13491208655302741918"


def blocklist(clock: Clock | None = None, **rules: Any) -> Blocklist:
    return Blocklist(Rules(**{"window": None, **rules}), clock or Clock())


def test_blocking_and_unblocking_are_set_operations() -> None:
    """To do either twice does no harm and is no fault."""
    users = blocklist()

    assert users.block([ANN, BEN]) == {}
    assert users.block([ANN]) == {}
    assert {ANN, BEN} == users.members
    assert users.unblock([ANN, CAT]) == {}
    assert users.unblock([ANN]) == {}
    assert {BEN} == users.members


def test_the_version_grows_with_changes_only() -> None:
    """A request that changes nothing spoils no cursor, and no two versions are alike."""
    users = blocklist()
    versions = [users.version]
    for change, keys in [
        (users.block, [ANN]),
        (users.block, [ANN]),
        (users.unblock, [BEN]),
        (users.unblock, [ANN]),
    ]:
        change(keys)
        versions.append(users.version)

    start = 1_000_000_000
    assert [start, start + 1, start + 1, start + 1, start + 2] == versions


def test_the_version_is_the_time_of_the_last_change() -> None:
    """It is counted in microseconds."""
    clock = Clock()
    users = blocklist(clock)
    clock.now = 2_000.5
    users.block([ANN])

    assert users.version == 2_000_500_000


def test_only_those_who_wrote_lately_can_be_blocked() -> None:
    """The window closes a day after the last message; unblocking needs none."""
    clock = Clock()
    users = blocklist(clock, window=86_400.0)
    for each in (ANN, BEN):
        users.message_from([each], clock.now)
    clock.now += 86_400
    users.message_from([BEN], clock.now)

    assert users.block([ANN, BEN, CAT]) == {CAT: 131047}
    clock.now += 1
    users.unblock([ANN, BEN])
    assert users.block([ANN, BEN]) == {ANN: 131047}


def test_what_blocked_people_write_opens_no_window() -> None:
    """It does not reach the business, under any of their ids once these are known."""
    clock = Clock()
    users = blocklist(clock, window=60.0)
    assert users.message_from([ANN, DAN], clock.now)
    assert users.block([DAN]) == {}
    clock.now += 100
    assert not users.message_from([ANN], clock.now)
    assert not users.message_from([DAN], clock.now)
    users.unblock([DAN])

    assert users.block([ANN, DAN]) == {ANN: 131047, DAN: 131047}


def test_a_message_may_be_told_late() -> None:
    """The window is counted from the last message, in whichever order they are told."""
    users = blocklist(Clock(1100.0), window=60.0)
    users.message_from([ANN], 1090.0)
    users.message_from([ANN], 1000.0)
    users.message_from([BEN], 1000.0)

    assert users.block([ANN, BEN]) == {BEN: 131047}


def test_those_on_the_list_can_be_blocked_again() -> None:
    """To be on the list already is success, however long ago the person wrote."""
    users = blocklist(window=60.0)
    users.put([ANN])

    assert users.block([ANN]) == {}


def test_those_who_do_not_fit_fail() -> None:
    """A full list still takes those it has."""
    users = blocklist(capacity=2)
    users.put([ANN])

    assert users.block([ANN, BEN, CAT]) == {CAT: 139101}
    assert {ANN, BEN} == users.members


def test_a_full_list_may_refuse_the_whole_request() -> None:
    """By the rules it is all or nothing; those who fit are then not blocked either."""
    users = blocklist(capacity=1, full_per_number=False)

    with pytest.raises(Refusal, match="139101"):
        users.block([ANN, BEN])
    assert frozenset() == users.members
    assert users.block([ANN]) == {}


def test_a_list_overfilled_behind_the_clients_back_has_no_room() -> None:
    """Room is never negative."""
    users = blocklist(capacity=1)
    users.put([ANN, BEN])

    assert users.block([CAT]) == {CAT: 139101}


def test_old_cursors_are_refused() -> None:
    """A cursor is good for one version."""
    users = blocklist()
    users.put([ANN, BEN])
    cursor = encode(users.page(1).last)
    users.put([CAT])

    with pytest.raises(Refusal, match="139102"):
        users.page(1, after=cursor)


@given(count=st.integers(0, 60), limit=st.integers(1, 25))
def test_a_walk_in_either_direction_gives_everyone_once(count: int, limit: int) -> None:
    """Pages neither overlap nor leave anyone out, forward and backward."""
    users = blocklist()
    keys = [f"1650555{number:04}" for number in range(count)]
    users.put(keys)

    forward: list[str] = []
    page = users.page(limit)
    while page.keys:
        forward += page.keys
        page = users.page(limit, after=encode(page.last))
    assert keys == forward

    backward: list[str] = []
    page = users.page(limit, before=encode(Cursor(count, users.version)))
    while page.keys:
        backward = [*page.keys, *backward]
        page = users.page(limit, before=encode(page.first))
    assert keys == backward


def test_pages_say_whether_more_follows() -> None:
    """There is more after all but the last."""
    users = blocklist()
    users.put([ANN, BEN, CAT])
    pages = [users.page(1)]
    pages += [users.page(1, after=encode(pages[0].last))]
    pages += [users.page(1, after=encode(pages[1].last))]

    assert [page.more for page in pages] == [True, True, False]


@pytest.mark.parametrize(
    ("sent", "known"),
    [
        ("5511987654321", "551187654321"),
        ("551187654321", "551187654321"),
        ("5511887654321", "5511887654321"),
        ("5215512345678", "525512345678"),
        ("525512345678", "525512345678"),
        ("5225512345678", "5225512345678"),
        ("541123456789", "5491123456789"),
        ("5491123456789", "5491123456789"),
        ("16505551234", "16505551234"),
    ],
)
def test_some_countries_have_two_spellings(sent: str, known: str) -> None:
    """Brazil drops a nine, Mexico a one, and Argentina gets a nine."""
    assert known == wa_id(sent)


def test_the_bucket_gives_a_burst_and_then_its_rate() -> None:
    """After the burst, requests come in at the rate; rest fills the bucket no further than full."""
    clock = Clock()
    bucket = Bucket(Rules(rate=2.0, burst=3), clock)

    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    clock.now += 0.5
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_rejections_may_cost_too() -> None:
    """Whoever hammers on stays shut out for longer, but not for ever."""
    clock = Clock()
    bucket = Bucket(Rules(rate=1.0, burst=1, rejections_cost=True), clock)
    for _ in range(100):
        bucket.take()

    clock.now += 4.5
    assert not bucket.take()
    clock.now += 2.0
    assert bucket.take()
