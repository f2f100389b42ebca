"""The paces: who goes when, in which order, and what they tell of themselves."""

from __future__ import annotations

import asyncio
import gc

import pytest

from blockusers import AdaptivePace, FixedPace
from blockusers.pace.protocol import Priority
from tests.support import Clock, pace


async def take(
    gate: FixedPace | AdaptivePace,
    order: list[str],
    name: str,
    priority: Priority = Priority.BULK,
    *,
    again: bool = False,
) -> None:
    async with gate.slot(priority, again=again):
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


async def in_order(*waiting: tuple[str, Priority]) -> list[str]:
    """Let all wait while the only slot is taken; return the order in which they get it."""
    gate, order = pace(1), []
    async with gate.slot():
        tasks = [asyncio.create_task(take(gate, order, *each)) for each in waiting]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    return order


async def test_order() -> None:
    """Single calls go before bulk chunks, chunks before listings; else first come, first served."""
    order = await in_order(
        ("page", Priority.LISTING), ("chunk", Priority.BULK), ("single", Priority.SINGLE)
    )

    assert order == ["single", "chunk", "page"]


async def test_nobody_starves() -> None:
    """Every fourth slot goes to whoever has waited longest, however many single calls there are."""
    order = await in_order(
        ("page", Priority.LISTING),
        ("chunk 1", Priority.BULK),
        ("chunk 2", Priority.BULK),
        *[("single", Priority.SINGLE)] * 20,
    )

    assert [order.index(name) for name in ("page", "chunk 1", "chunk 2")] == [2, 6, 10]


async def test_who_gave_up_is_forgotten() -> None:
    """Of waiters that were cancelled nothing is kept, though no slot came free meanwhile."""
    gate = pace(1)
    async with gate.slot():
        before = futures()
        for _ in range(100):
            task = asyncio.create_task(take(gate, [], "page"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        del task
        kept = futures() - before

    assert kept < 10


def futures() -> int:
    """Return how many futures there are in this process."""
    gc.collect()
    return sum(type(each) is asyncio.Future for each in gc.get_objects())


async def test_cancelled_waiters() -> None:
    """A waiter that is cancelled, even in the moment of its turn, leaves no hole and no leak."""
    gate, order = pace(1), []
    async with gate.slot():
        tasks = [asyncio.create_task(take(gate, order, str(i))) for i in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
    tasks[1].cancel()  # the slot is its already, but it has not run yet
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results[:2]] == [asyncio.CancelledError] * 2
    assert order == ["2"]
    assert gate.state.in_flight == 0


async def test_cancelled_while_spaced() -> None:
    """A request that is cancelled while it waits for its slot gives it back."""
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


# --------------------------------------------------------------------------- adaptive


@pytest.mark.parametrize(
    ("arguments", "error"), [((0,), ValueError), ((2.5,), TypeError), ((None,), TypeError)]
)
def test_bad_argument_of_adaptive(arguments: tuple[object, ...], error: type[Exception]) -> None:
    """A wrong argument is named in the error."""
    with pytest.raises(error, match="^max_in_flight: "):
        AdaptivePace(*arguments)


def adaptive(clock: Clock) -> AdaptivePace:
    return AdaptivePace(clock=clock, sleep=clock.sleep)


async def send(gate: AdaptivePace, clock: Clock, *, admitted: bool) -> float:
    """Send one request that takes 0.2 s; return when it left."""
    async with gate.slot() as slot:
        left = clock.now
        clock.now += 0.2
        if not admitted:
            slot.rate_limited(None)
    return left


async def settle(gate: AdaptivePace, clock: Clock) -> None:
    """Bring it into steady mode, at one request a second."""
    for admitted in (True, False, True, False):
        await send(gate, clock, admitted=admitted)
    gate._controller.rate = 1.0
    gate._controller._next_start = clock.now + 1.0


async def test_adaptive_state(clock: Clock) -> None:
    """The state tells the mode, the rate and the counts; while it holds, until when."""
    gate = adaptive(clock)
    assert gate.state.mode == "start"
    await send(gate, clock, admitted=True)
    await send(gate, clock, admitted=False)
    state = gate.state
    assert (state.mode, state.rate, state.admitted, state.rate_limited) == ("hold", None, 1, 1)
    assert state.hold_until == pytest.approx(clock.now + state.hold_for)
    await send(gate, clock, admitted=True)
    await send(gate, clock, admitted=False)

    assert gate.state.mode == "steady"
    assert gate.state.rate is not None
    assert gate.state.hold_until is None


async def test_changes_are_told(clock: Clock) -> None:
    """Who listens hears of each change, with the state before and the state now."""
    gate, heard = adaptive(clock), []
    gate.listeners.add(lambda *states: heard.append(states))
    await settle(gate, clock)

    modes = [(before.mode, now.mode) for before, now in heard if before.mode != now.mode]
    assert modes == [("start", "hold"), ("hold", "start"), ("start", "steady")]
    for before, now in heard:
        assert (before.mode, before.rate, before.max_users) != (now.mode, now.rate, now.max_users)


async def test_single_goes_before_a_job(clock: Clock) -> None:
    """While a job waits at one request a second, a single call waits for one slot at most."""
    gate, starts = adaptive(clock), []
    await settle(gate, clock)

    async def chunk(_: int) -> None:
        async with gate.slot(Priority.BULK):
            starts.append(("chunk", clock.now))

    async def single() -> float:
        asked = clock.now
        async with gate.slot(Priority.SINGLE):
            starts.append(("single", clock.now))
            return clock.now - asked

    chunks = [asyncio.create_task(chunk(n)) for n in range(64)]
    while len(starts) < 10:
        await asyncio.sleep(0)
    waited = await single()
    await asyncio.gather(*chunks)

    assert waited <= 1.0
    assert [name for name, _ in starts].index("single") <= 11
    assert starts[-1][1] - starts[0][1] > 40


async def test_jobs_take_turns(clock: Clock) -> None:
    """Of two equal jobs neither is done before the other is half done."""
    gate, order = adaptive(clock), []
    await settle(gate, clock)

    async def worker(name: str, chunks: list[int]) -> None:
        while chunks:
            chunks.pop()
            async with gate.slot():
                order.append(name)

    jobs = {name: list(range(40)) for name in "ab"}
    await asyncio.gather(*(worker(name, jobs[name]) for name in "ab" for _ in range(8)))

    for name, other in ("ab", "ba"):
        done = len(order) - order[::-1].index(name)
        assert order[:done].count(other) >= 20


async def test_again_goes_first(clock: Clock) -> None:
    """A request that was refused keeps its place before those that were not sent yet."""
    gate, order = pace(1), []
    async with gate.slot():
        tasks = [
            asyncio.create_task(take(gate, order, "new")),
            asyncio.create_task(take(gate, order, "refused", again=True)),
            asyncio.create_task(take(gate, order, "single", Priority.SINGLE)),
        ]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    assert order == ["single", "refused", "new"]


async def test_cancelled_waiters_of_adaptive() -> None:
    """Waiters that are cancelled leave no hole, no task and no timer."""
    clock = Clock()
    never = asyncio.Event()

    async def sleep(_: float) -> None:
        await never.wait()

    gate = AdaptivePace(clock=clock, sleep=sleep)
    for admitted in (True, False):
        await send(gate, clock, admitted=admitted)
    before = asyncio.all_tasks()
    waiters = [asyncio.create_task(take(gate, [], str(n))) for n in range(5)]
    await asyncio.sleep(0.001)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == before
    assert gate.state.in_flight == 0
    clock.now += 100
    async with asyncio.timeout(1), gate.slot():
        assert gate.state.in_flight == 1


async def test_cancelled_at_its_turn_leaves_no_hole(clock: Clock) -> None:
    """The rate of a request that is cancelled in the moment of its turn goes to the next."""
    gate = FixedPace(1, per_second=0.5, clock=clock, sleep=clock.sleep)
    async with gate.slot():
        first = asyncio.create_task(take(gate, [], "cancelled"))
        await asyncio.sleep(0)
        clock.now += 2.0
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    asked = clock.now
    async with gate.slot():
        assert clock.now == asked
