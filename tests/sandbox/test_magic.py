"""Magic numbers fail on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from blockusers.sandbox import MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.support import Api

ANN = "16505550001"


@pytest.mark.parametrize("code", [131021, 131047, 139101])
def test_some_numbers_always_fail(api: Api, code: int) -> None:
    """The number fails alone, every time."""
    number = f"+1650{code}"

    assert [{number: code}] * 4 == [api.post(ANN, number).failed for _ in range(4)]
    assert {ANN} == api.sandbox.blocklist()


@pytest.mark.parametrize(("code", "fails"), [(131021, True), (131047, False), (139101, False)])
def test_some_numbers_fail_only_when_they_are_blocked(api: Api, *, code: int, fails: bool) -> None:
    """Neither the 24-hour rule nor a full blocklist keeps anybody from being unblocked."""
    number = f"+1650{code}"

    assert api.delete(number).failed == ({number: code} if fails else {})


@pytest.mark.parametrize("code", [131000, 131016, 131057, 133004, 139103])
def test_some_numbers_fail_for_a_while(serve: Callable[..., Api], code: int) -> None:
    """The number fails alone as often as the rules say, and then succeeds for ever."""
    api = serve(magic_attempts=3)
    number = f"1650{code}"
    failures = [api.post(ANN, number).failed.get(number) for _ in range(5)]

    assert [code, code, code, None, None] == failures
    assert {ANN, number} == api.sandbox.blocklist()


@pytest.mark.parametrize("code", [131005, 131031])
def test_some_numbers_spoil_the_request(api: Api, code: int) -> None:
    """The whole request is refused, and nobody in it is blocked."""
    replies = [api.post(ANN, f"1655{code}") for _ in range(4)]

    assert [code] * 4 == [reply.code for reply in replies]
    assert all("block_users" not in reply.json for reply in replies)
    assert frozenset() == api.sandbox.blocklist()


def test_a_rate_limit_can_be_rehearsed(api: Api) -> None:
    """130429 refuses the whole request for a while."""
    assert [api.post(ANN, "1650130429").code for _ in range(3)] == [130429, 130429, None]


def test_a_business_scoped_id_is_not_magic(api: Api) -> None:
    """Such an id may end like that by chance."""
    assert api.post("US.131047").added == ["US.131047"]


def test_magic_goes_before_the_window(serve: Callable[..., Api]) -> None:
    """A failure can be rehearsed with somebody who never wrote."""
    assert serve(window=60.0).post("1650139103").failed == {"1650139103": 139103}


def test_counters_are_not_magic(api: Api) -> None:
    """Test data that is numbered from 0 up meets none of them."""
    numbers = [f"1555{number:07}" for number in range(1_000)]

    assert api.post(*numbers).added == numbers


def test_magic_can_be_switched_off(serve: Callable[..., Api]) -> None:
    """A list of consecutive numbers meets no surprises then."""
    api = serve(magic=False)
    numbers = [f"1655{ending}" for ending in MAGIC]

    assert numbers == api.post(*numbers).added
