"""Turns: one request at a time for each user, in the order in which they were drawn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import attrs
import pytest

from blockusers import Operation
from blockusers.turns import Turns
from tests.support import Clock

BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK


@attrs.define(eq=False)
class Job:
    """Joins lines, and notes whose turn has come."""

    operation: Operation = BLOCK
    came: list[str] = attrs.field(factory=list)
    hurried: int = 0

    def hurry(self) -> None:
        self.hurried += 1

    def comes(self, key: str) -> None:
        self.came.append(key)


@attrs.define
class Later:
    """Stands in for the event loop's timers."""

    clock: Clock
    calls: list[tuple[float, Callable[[], object]]] = attrs.field(factory=list)

    def __call__(self, seconds: float, call: Callable[[], object]) -> None:
        self.calls.append((self.clock.now + seconds, call))

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        due = [call for then, call in self.calls if then <= self.clock.now]
        self.calls = [each for each in self.calls if each[0] > self.clock.now]
        for call in due:
            call()


@pytest.fixture
def later(clock: Clock) -> Later:
    return Later(clock)


@pytest.fixture
def turns(clock: Clock, later: Later) -> Turns:
    return Turns(30.0, clock=clock, call_later=later)


def test_nobody_before() -> None:
    """Whoever is alone does not wait."""
    assert Turns().join(Job(), ["a", "b"]) == set()


def test_order(turns: Turns) -> None:
    """Those behind come one after another, in the order in which they joined."""
    first, second, third = Job(), Job(UNBLOCK), Job()
    turns.join(first, ["a", "b"])
    assert turns.join(second, ["a", "c"]) == {"a"}
    assert turns.join(third, ["a"]) == {"a"}
    assert (first.hurried, second.hurried) == (2, 0)

    turns.leave(first, ["a", "b"])
    assert (second.came, third.came) == (["a"], [])
    turns.leave(second, ["a"])
    assert third.came == ["a"]
    turns.leave(third, ["a"])
    assert turns.join(Job(), ["a", "b"]) == set()


def test_leaving_early(turns: Turns) -> None:
    """Who leaves before its turn is not called; who is not in line may leave, too."""
    first, second, third = Job(), Job(), Job()
    for job in (first, second, third):
        turns.join(job, ["a"])
    turns.leave(second, ["a", "never joined"])
    turns.leave(first, ["a"])

    assert (second.came, third.came) == ([], ["a"])


def test_opposite_after_no_answer(turns: Turns, later: Later) -> None:
    """After a request without an answer, an opposite operation waits as long as that may take."""
    first, waiting, new = Job(BLOCK), Job(UNBLOCK), Job(UNBLOCK)
    turns.join(first, ["a", "b"])
    turns.join(waiting, ["a"])
    turns.leave(first, ["a", "b"], unanswered=True)
    assert turns.join(new, ["b", "c"]) == {"b"}

    later.advance(29.0)
    assert (waiting.came, new.came) == ([], [])
    later.advance(1.0)
    assert (waiting.came, new.came) == (["a"], ["b"])


def test_same_after_no_answer(turns: Turns) -> None:
    """The same operation may follow at once: to carry it out twice does no harm."""
    first, again = Job(BLOCK), Job(BLOCK)
    turns.join(first, ["a"])
    turns.join(again, ["a"])
    turns.leave(first, ["a"], unanswered=True)

    assert again.came == ["a"]


def test_leaving_while_too_early(turns: Turns, later: Later) -> None:
    """Who gives up while it waits for a late effect is not called; who comes next is."""
    first, gone, last = Job(BLOCK), Job(UNBLOCK), Job(UNBLOCK)
    for job in (first, gone, last):
        turns.join(job, ["a"])
    turns.leave(first, ["a"], unanswered=True)
    turns.leave(gone, ["a"])
    later.advance(30.0)

    assert (gone.came, last.came) == ([], ["a"])


def test_late_effect_is_forgotten(turns: Turns, later: Later) -> None:
    """Once its time is over, a request without an answer holds nobody up."""
    first = Job(BLOCK)
    turns.join(first, ["a", "b"])
    turns.leave(first, ["a", "b"], unanswered=True)
    later.advance(31.0)

    assert turns.join(Job(UNBLOCK), ["a", "b"]) == set()


async def test_real_time() -> None:
    """The event loop's own timers call whoever had to wait for a late effect."""
    turns, first, opposite = Turns(0.01), Job(BLOCK), Job(UNBLOCK)
    turns.join(first, ["a"])
    turns.join(opposite, ["a"])
    turns.leave(first, ["a"], unanswered=True)
    assert opposite.came == []
    await asyncio.sleep(0.05)

    assert opposite.came == ["a"]
