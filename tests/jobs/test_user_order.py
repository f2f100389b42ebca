"""The order of users: one request at a time for each, in the order in which they were drawn."""

from __future__ import annotations

import asyncio

import attrs
import pytest

from blockusers import Operation
from blockusers.jobs.user_order import UserOrder
from tests.support import Clock

BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK


@attrs.define(eq=False)
class Job:
    """Notes which users it was granted, and which it was told to flush."""

    operation: Operation = BLOCK
    granted_keys: list[str] = attrs.field(factory=list)
    flushed: list[str] = attrs.field(factory=list)

    def granted(self, key: str) -> None:
        self.granted_keys.append(key)

    def flush(self, key: str) -> None:
        self.flushed.append(key)


@pytest.fixture
def order(clock: Clock) -> UserOrder:
    return UserOrder(30.0, clock=clock, call_later=clock.call_later)


def test_nobody_before() -> None:
    """Whoever is alone does not wait."""
    assert UserOrder().enqueue(Job(), ["a", "b"]) == set()


def test_order(order: UserOrder) -> None:
    """Those behind are granted a user one after another, in the order in which they drew it."""
    first, second, third = Job(), Job(UNBLOCK), Job()
    order.enqueue(first, ["a", "b"])
    assert order.enqueue(second, ["a", "c"]) == {"a"}
    assert order.enqueue(third, ["a"]) == {"a"}
    assert (first.flushed, second.flushed) == (["a", "a"], [])

    order.release(first, ["a", "b"])
    assert (second.granted_keys, third.granted_keys) == (["a"], [])
    assert second.flushed == ["a"]  # for the third is waiting already
    order.release(second, ["a"])
    assert third.granted_keys == ["a"]
    order.release(third, ["a"])
    assert order.enqueue(Job(), ["a", "b"]) == set()


def test_leaving_early(order: UserOrder) -> None:
    """Who leaves before its turn is not called; who is not in line may leave, too."""
    first, second, third = Job(), Job(), Job()
    for job in (first, second, third):
        order.enqueue(job, ["a"])
    order.release(second, ["a", "never drawn"])
    order.release(first, ["a"])

    assert (second.granted_keys, third.granted_keys) == ([], ["a"])


def test_opposite_after_no_answer(order: UserOrder, clock: Clock) -> None:
    """After a request without an answer, an opposite operation waits as long as that may take."""
    first, waiting, new = Job(BLOCK), Job(UNBLOCK), Job(UNBLOCK)
    order.enqueue(first, ["a", "b"])
    order.enqueue(waiting, ["a"])
    order.note_lost(BLOCK, ["a", "b"])
    order.release(first, ["a", "b"])
    assert order.enqueue(new, ["b", "c"]) == {"b"}

    clock.advance(29.0)
    assert (waiting.granted_keys, new.granted_keys) == ([], [])
    clock.advance(1.0)
    assert (waiting.granted_keys, new.granted_keys) == (["a"], ["b"])


def test_same_after_no_answer(order: UserOrder) -> None:
    """The same operation may follow at once: to carry it out twice does no harm."""
    first, again = Job(BLOCK), Job(BLOCK)
    order.enqueue(first, ["a"])
    order.enqueue(again, ["a"])
    order.note_lost(BLOCK, ["a"])
    order.release(first, ["a"])

    assert again.granted_keys == ["a"]


def test_leaving_while_too_early(order: UserOrder, clock: Clock) -> None:
    """Who gives up while it waits for a late effect is not called; who comes next is."""
    first, gone, last = Job(BLOCK), Job(UNBLOCK), Job(UNBLOCK)
    for job in (first, gone, last):
        order.enqueue(job, ["a"])
    order.note_lost(BLOCK, ["a"])
    order.release(first, ["a"])
    order.release(gone, ["a"])
    clock.advance(30.0)

    assert (gone.granted_keys, last.granted_keys) == ([], ["a"])


def test_late_effect_is_forgotten(order: UserOrder, clock: Clock) -> None:
    """Once its time is over, a request without an answer holds nobody up."""
    first = Job(BLOCK)
    order.enqueue(first, ["a", "b"])
    order.note_lost(BLOCK, ["a", "b"])
    order.release(first, ["a", "b"])
    clock.advance(31.0)

    assert order.enqueue(Job(UNBLOCK), ["a", "b"]) == set()


def test_a_lost_attempt_is_remembered(order: UserOrder, clock: Clock) -> None:
    """A request without an answer may take effect late, though a later one was answered."""
    first, opposite = Job(BLOCK), Job(UNBLOCK)
    order.enqueue(first, ["a"])
    order.note_lost(BLOCK, ["a"])
    clock.advance(20.0)  # in which the same was sent again, and answered
    order.release(first, ["a"])
    assert order.enqueue(opposite, ["a"]) == {"a"}

    clock.advance(9.0)
    assert opposite.granted_keys == []
    clock.advance(1.0)
    assert opposite.granted_keys == ["a"]


def test_the_last_lost_attempt_counts(order: UserOrder, clock: Clock) -> None:
    """Of several requests without an answer, the last is waited for."""
    first, opposite = Job(BLOCK), Job(UNBLOCK)
    order.enqueue(first, ["a"])
    order.note_lost(BLOCK, ["a"])
    clock.advance(20.0)
    order.note_lost(BLOCK, ["a"])
    order.release(first, ["a"])
    order.enqueue(opposite, ["a"])

    clock.advance(29.0)
    assert opposite.granted_keys == []
    clock.advance(1.0)
    assert opposite.granted_keys == ["a"]


async def test_real_time() -> None:
    """The event loop's own timers call whoever had to wait for a late effect."""
    order, first, opposite = UserOrder(0.01), Job(BLOCK), Job(UNBLOCK)
    order.enqueue(first, ["a"])
    order.enqueue(opposite, ["a"])
    order.note_lost(BLOCK, ["a"])
    order.release(first, ["a"])
    assert opposite.granted_keys == []
    await asyncio.sleep(0.05)

    assert opposite.granted_keys == ["a"]
