"""The fixed pace: so many at once, so many per second, in order."""

from __future__ import annotations

import asyncio

import pytest

from blockusers import FixedPace
from blockusers.pacing import Priority
from tests.support import Clock, pace


async def take(
    gate: FixedPace, order: list[str], name: str, priority: Priority = Priority.BULK
) -> None:
    async with gate.slot(priority):
        order.append(name)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((0,), ValueError, "max_in_flight"),
        ((1.5,), TypeError, "max_in_flight"),
        ((True,), TypeError, "max_in_flight"),
        ((1, 0), ValueError, "per_second"),
        ((1, float("nan")), ValueError, "per_second"),
        ((1, "2"), TypeError, "per_second"),
    ],
)
def test_bad_arguments(arguments: tuple[object, ...], error: type[Exception], name: str) -> None:
    """A wrong argument is named in the error."""
    with pytest.raises(error, match=f"^{name}: "):
        FixedPace(*arguments)


async def test_at_most_so_many() -> None:
    """Never more requests hold a slot than max_in_flight."""
    gate, most = pace(3), 0

    async def one() -> None:
        nonlocal most
        async with gate.slot() as slot:
            assert slot.max_users == 1000
            most = max(most, gate.state.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(20)))

    assert most == 3
    assert gate.state.in_flight == 0
    assert gate.state.admitted == 20


async def test_spacing(clock: Clock) -> None:
    """Starts are spaced by 1/per_second; a pause is not made up for by a burst."""
    gate = FixedPace(10, per_second=4, clock=clock, sleep=clock.sleep)
    starts = []
    for pause in (0, 0, 0, 10, 0):
        clock.now += pause
        async with gate.slot():
            starts.append(clock.now - 1000)

    assert starts == [0, 0.25, 0.5, 10.5, 10.75]


async def test_order() -> None:
    """Single calls go before bulk chunks, chunks before listings; else first come, first served."""
    gate, order = pace(1), []
    async with gate.slot():
        tasks = [
            asyncio.create_task(take(gate, order, name, priority))
            for name, priority in [
                ("page", Priority.LISTING),
                ("chunk 1", Priority.BULK),
                ("chunk 2", Priority.BULK),
                ("single", Priority.SINGLE),
            ]
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert order == ["single", "chunk 1", "chunk 2", "page"]


async def test_cancelled_waiters() -> None:
    """A waiter that is cancelled, even in the moment of its turn, leaves no hole and no leak."""
    gate, order = pace(1), []
    async with gate.slot():
        tasks = [asyncio.create_task(take(gate, order, str(i))) for i in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
    tasks[1].cancel()  # the place is its already, but it has not run yet
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results[:2]] == [asyncio.CancelledError] * 2
    assert order == ["2"]
    assert gate.state.in_flight == 0


async def test_cancelled_while_spaced() -> None:
    """A request that is cancelled while it waits for its start gives its place back."""
    gate = FixedPace(1, per_second=0.001)
    async with gate.slot():
        pass
    task = asyncio.create_task(take(gate, [], "late"))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert gate.state.in_flight == 0


async def test_hint_holds_everyone(clock: Clock) -> None:
    """Where the server asks to wait, no request starts before that."""
    gate = FixedPace(2, clock=clock, sleep=clock.sleep)
    async with gate.slot() as slot:
        slot.rate_limited(3.0)
    assert gate.state.hold_until == 1003.0
    async with gate.slot():
        assert clock.now == 1003.0

    assert gate.state.hold_until is None
    assert (gate.state.admitted, gate.state.rate_limited) == (1, 1)


async def test_order_where_spaced() -> None:
    """Those who are spaced start in the order in which they came, a held-up one too."""
    clock = Clock()
    gate, order = FixedPace(4, per_second=5, clock=clock, sleep=clock.sleep), []
    async with gate.slot() as slot:
        slot.rate_limited(2.0)
    await asyncio.gather(*(take(gate, order, str(n)) for n in range(8)))

    assert order == [str(n) for n in range(8)]


async def test_held_while_spaced(clock: Clock) -> None:
    """Whoever waits for its start when the server asks to wait, waits that long, too."""
    gate = FixedPace(3, per_second=1, clock=clock, sleep=clock.sleep)
    starts = []

    async def first() -> None:
        async with gate.slot() as slot:
            await asyncio.sleep(0)
            slot.rate_limited(60.0)

    async def later() -> None:
        async with gate.slot():
            starts.append(clock.now)

    await asyncio.gather(first(), later(), later())

    assert len(starts) == 2
    assert min(starts) >= 1060.0


async def test_state_at_rest() -> None:
    """The state tells what a fixed pace is."""
    state = FixedPace(2, 5).state

    assert (state.mode, state.rate, state.max_users) == ("fixed", 5, 1000)
