"""Single calls: what shares a request, in which order, and who gets which answer."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from blockusers import (
    BlocklistFull,
    ClientClosed,
    Fault,
    FixedPace,
    InvalidRequest,
    Operation,
    Outcome,
    QueueFull,
    RateLimited,
    Status,
)
from blockusers.jobs.batch import Batcher
from blockusers.jobs.coalesce import Coalescer
from blockusers.jobs.sender import Sender
from blockusers.jobs.user_order import UserOrder
from blockusers.observe.events import Event
from blockusers.observe.observers import Observers
from blockusers.pace.protocol import Pace
from blockusers.values.columns import Verdict
from tests.support import Clock, Server, number, numbers, pace, quick

BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK
DONE, FAILED = Status.DONE, Status.FAILED
ANN = "16505551234"


def coalescer(
    server: Server, *, gate: Pace | None = None, max_queued: int = 100_000, **retry: Any
) -> Coalescer:
    sender = Sender(server.transact, retry=quick(**retry), pace=gate or pace(16))
    return Coalescer(sender, max_queued)


@asynccontextmanager
async def busy(gate: FixedPace) -> AsyncIterator[None]:
    """Take every slot of *gate*, so that calls have to queue."""
    async with gate.slot():
        yield


async def soon(*calls: Any) -> list[asyncio.Task[Outcome]]:
    """Start calls, and let them queue up."""
    tasks = [asyncio.create_task(call) for call in calls]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


# --------------------------------------------------------------------------- sharing requests


async def test_single_call() -> None:
    """One call is one request, and comes back with what became of the user."""
    server = Server()
    outcome = await coalescer(server).call(BLOCK, "+1 650 555 1234")

    assert (outcome.input, outcome.status, outcome.wa_id) == ("+1 650 555 1234", DONE, ANN)
    assert server.asked == [(ANN,)]


async def test_calls_at_the_same_time_share_requests() -> None:
    """10,000 calls that are made at the same time cost at most 11 requests."""
    server = Server()
    single = coalescer(server)
    outcomes = await asyncio.gather(*(single.call(BLOCK, name) for name in numbers(10_000)))

    assert [outcome.input for outcome in outcomes] == numbers(10_000)
    assert all(outcome.ok for outcome in outcomes)
    assert len(server.asked) <= 11


async def test_calls_gather_while_the_pace_holds() -> None:
    """What is called while no slot is free leaves with the next request."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        tasks = []
        for name in numbers(5):
            tasks += await soon(single.call(BLOCK, name))
    await asyncio.gather(*tasks)

    assert [len(asked) for asked in server.asked] == [5]


async def test_one_user_many_callers() -> None:
    """Calls for the same user, in any spelling, are one entry; all callers are answered."""
    server = Server()
    single = coalescer(server)
    names = ["+1 650 555 1234", ANN, 16505551234]
    outcomes = await asyncio.gather(*(single.call(BLOCK, name) for name in names))

    assert server.asked == [(ANN,)]
    assert [outcome.ok for outcome in outcomes] == [True] * 3


async def test_operations_do_not_mix() -> None:
    """A request blocks or unblocks; other users do not wait for it."""
    server = Server()
    single = coalescer(server)
    await asyncio.gather(single.call(BLOCK, number(1)), single.call(UNBLOCK, number(2)))

    assert sorted(server.asked) == [(number(1)[1:],), (number(2)[1:],)]


async def test_what_fails_for_a_moment_is_sent_again() -> None:
    """A user that fails for a passing reason is tried again; the others are answered at once."""
    flaky = Verdict(FAILED, faults=(Fault(139103, "internal"),))
    server = Server(lambda count, keys: {keys[-1]: flaky} if count < 3 else None)
    single = coalescer(server)
    outcomes = await asyncio.gather(*(single.call(BLOCK, name) for name in numbers(3)))

    assert [outcome.status for outcome in outcomes] == [DONE] * 3
    assert [len(asked) for asked in server.asked] == [3, 1, 1]


async def test_smaller_slots() -> None:
    """Where a retry may name fewer users, the rest follows."""

    class Shrinking(FixedPace):
        @asynccontextmanager
        async def slot(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
            async with super().slot(*arguments, **more) as slot:
                slot.max_users = 2 if server.asked else 1000
                yield slot

    limited = RateLimited("slow down", 130429, status=400)
    server = Server(lambda count, _: limited if count == 1 else None)
    single = coalescer(server, gate=Shrinking(4))
    outcomes = await asyncio.gather(*(single.call(BLOCK, name) for name in numbers(5)))

    assert all(outcome.ok for outcome in outcomes)
    assert [len(asked) for asked in server.asked] == [5, 2, 2, 1]


async def test_no_larger_than_asked_for() -> None:
    """A request of single calls is never larger than `chunk_size`."""
    server = Server()
    sender = Sender(server.transact, retry=quick(), pace=pace(16), chunk_size=10)
    single = Coalescer(sender, max_queued=99)
    outcomes = await asyncio.gather(*(single.call(BLOCK, name) for name in numbers(45)))

    assert all(outcome.ok for outcome in outcomes)
    assert [len(keys) for keys in server.asked] == [10, 10, 10, 10, 5]


# --------------------------------------------------------------------------- order


async def test_opposite_call_replaces_a_queued_one() -> None:
    """What was not sent yet is superseded by an opposite call, and says so."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        first, second = await soon(single.call(BLOCK, ANN), single.call(UNBLOCK, ANN))
    superseded, done = await asyncio.gather(first, second)

    assert superseded.status is FAILED
    assert superseded.fault is not None
    assert superseded.fault.message.startswith("superseded")
    assert done.ok
    assert server.asked == [(ANN,)]


async def test_opposite_call_waits_for_one_in_flight() -> None:
    """What was sent is waited for: the last call decides."""
    answer = asyncio.Event()

    async def late(_: Server) -> None:
        await answer.wait()

    server = Server(lambda count, _: late(server) if count == 1 else None)
    single = coalescer(server)
    (first,) = await soon(single.call(BLOCK, ANN))
    (second,) = await soon(single.call(UNBLOCK, ANN))
    assert len(server.asked) == 1
    answer.set()
    await asyncio.gather(first, second)

    assert len(server.asked) == 2
    assert server.blocked == set()


async def test_job_and_call_keep_their_order() -> None:
    """A call waits for a job that has drawn its user; a job for a call that came before."""
    server, gate = Server(), pace(1)
    sender = Sender(server.transact, retry=quick(), pace=gate)
    single, jobs = Coalescer(sender, max_queued=9), Batcher(sender)
    async with busy(gate):
        tasks = []
        for call in (
            jobs.run(BLOCK, [ANN, number(1)]),
            single.call(UNBLOCK, ANN),
            single.call(BLOCK, number(2)),
            jobs.run(UNBLOCK, [number(3), number(2)]),
        ):
            tasks += await soon(call)
    await asyncio.gather(*tasks)

    assert server.blocked == {number(1)[1:]}


async def test_same_call_behind_a_job() -> None:
    """A call is not answered with an earlier one, if a job drew the user between them."""
    server, gate = Server(), pace(1)
    sender = Sender(server.transact, retry=quick(), pace=gate)
    single, jobs = Coalescer(sender, max_queued=9), Batcher(sender)
    async with busy(gate):
        tasks = await soon(single.call(UNBLOCK, ANN))
        tasks += await soon(jobs.run(BLOCK, [ANN, number(1)]))
        tasks += await soon(single.call(UNBLOCK, ANN))
    await asyncio.gather(*tasks)

    assert server.blocked == {number(1)[1:]}


async def test_two_jobs_on_the_same_users() -> None:
    """Of two jobs at the same time, the one that draws a user later has the last word."""
    server, gate = Server(), pace(1)
    jobs = Batcher(Sender(server.transact, retry=quick(), pace=gate, chunk_size=10))
    async with busy(gate):
        tasks = await soon(jobs.run(BLOCK, numbers(10)))
        tasks += await soon(jobs.run(UNBLOCK, [*reversed(numbers(10)), number(77)]))
    reports = await asyncio.gather(*tasks)

    assert [len(report.succeeded) for report in reports] == [10, 11]
    assert server.blocked == set()


@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind another"])
async def test_cancelled_job_gives_its_users_up(behind: bool) -> None:
    """A job that is cancelled, in line or first in it, holds nobody up."""
    server, gate = Server(), pace(1)
    sender = Sender(server.transact, retry=quick(), pace=gate)
    single, jobs = Coalescer(sender, max_queued=9), Batcher(sender)
    async with busy(gate):
        before = await soon(single.call(BLOCK, ANN)) if behind else []
        (job,) = await soon(jobs.run(BLOCK, [ANN, number(1)]))
        after = await soon(single.call(UNBLOCK, ANN), single.call(UNBLOCK, number(1)))
        job.cancel()
    await asyncio.gather(job, return_exceptions=True)
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*before, *after)

    assert [outcome.ok for outcome in outcomes[-2:]] == [True, True]
    assert server.blocked == set()


# --------------------------------------------------------------------------- failures


@pytest.mark.parametrize("user", ["0151 2345678", "", None, True, "+1650555123x"])
async def test_no_user(user: Any) -> None:
    """What names nobody is a ValueError that shows it masked; nothing is sent."""
    server = Server()
    with pytest.raises(ValueError, match=": ") as caught:
        await coalescer(server).call(BLOCK, user)

    assert not server.asked
    assert "2345678" not in str(caught.value)


async def test_each_caller_has_its_own_error() -> None:
    """An error of the whole request reaches every caller, each as an object of its own."""
    server = Server(lambda *_: InvalidRequest("no", 100, status=400))
    single = coalescer(server)
    calls = (single.call(BLOCK, name) for name in [*numbers(3), number(0)])
    errors = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(error) for error in errors] == [InvalidRequest] * 4
    assert len({id(error) for error in errors}) == 4
    assert {error.code for error in errors} == {100}  # type: ignore[union-attr]


async def test_an_error_of_unknown_kind_reaches_all_callers() -> None:
    """What an own pace raises, say, reaches every caller as it is, however it is made."""

    class Odd(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    error = Odd(1, 2)

    class Broken(FixedPace):
        @asynccontextmanager
        async def slot(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
            raise error
            yield

    single = coalescer(Server(), gate=Broken(1))
    async with asyncio.timeout(10):
        calls = (single.call(BLOCK, name) for name in numbers(3))
        errors = await asyncio.gather(*calls, return_exceptions=True)

    assert errors == [error] * 3


@pytest.mark.parametrize("kind", [asyncio.CancelledError, BaseException])
async def test_an_observer_that_raises_anything(kind: type[BaseException]) -> None:
    """What is no Exception leaves nobody waiting either, and no user locked."""

    def observe(event: Event) -> None:
        if not events:
            events.append(event)
            raise kind

    events: list[Event] = []
    observers = Observers(observers=[observe])
    sender = Sender(Server().transact, retry=quick(), pace=pace(), observers=observers)
    single = Coalescer(sender, max_queued=9)
    async with asyncio.timeout(10):
        assert (await single.call(BLOCK, ANN)).ok
        assert (await single.call(UNBLOCK, ANN)).ok
    assert events


@pytest.mark.parametrize("whole", [True, False])
async def test_full_list(whole: bool) -> None:
    """A full list is an error of those who could not be blocked, as it is in a job."""
    full = Verdict(FAILED, faults=(Fault(139101, "full", "64,000"),))
    error = BlocklistFull("full", 139101, details="64,000")
    server = Server(lambda _, keys: error if whole else {keys[-1]: full})
    single = coalescer(server)
    calls = (single.call(BLOCK, name) for name in numbers(2))
    first, last = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(first, BlocklistFull if whole else Outcome)
    assert isinstance(last, BlocklistFull)
    assert (last.code, last.details) == (139101, "64,000")


async def test_error_after_a_caller_has_gone() -> None:
    """An error reaches those callers who still wait."""
    fail = asyncio.Event()

    async def late() -> InvalidRequest:
        await fail.wait()
        raise InvalidRequest("no", 100, status=400)

    server = Server(lambda *_: late())
    single = coalescer(server)
    gone, waiting = await soon(single.call(BLOCK, ANN), single.call(BLOCK, ANN))
    gone.cancel()
    fail.set()
    results = await asyncio.gather(gone, waiting, return_exceptions=True)

    assert [type(result) for result in results] == [asyncio.CancelledError, InvalidRequest]


async def test_queue_full() -> None:
    """More calls than may wait are refused; those that wait are not."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate, max_queued=3)
    async with busy(gate):
        tasks = await soon(*(single.call(BLOCK, name) for name in numbers(3)))
        with pytest.raises(QueueFull, match="3 calls are waiting"):
            await single.call(BLOCK, number(1))
    await asyncio.gather(*tasks)

    assert (await single.call(BLOCK, number(9))).ok


async def test_cancelled_callers() -> None:
    """A caller that goes away takes with it what nobody else asked for, and harms nobody."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        shared, alone, other = await soon(
            single.call(BLOCK, number(1)),
            single.call(BLOCK, number(2)),
            single.call(BLOCK, number(1)),
        )
        for task in (shared, alone):
            task.cancel()
    assert (await other).ok
    assert server.asked == [(number(1)[1:],)]
    assert (await single.call(UNBLOCK, number(2))).ok


async def test_all_callers_cancelled() -> None:
    """A request that nobody waits for any more is not sent, and does not count as admitted."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        (task,) = await soon(single.call(BLOCK, ANN))
        task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)

    assert not server.asked
    assert (gate.state.admitted, gate.state.in_flight) == (1, 0)


async def test_withdrawn_calls_cost_no_slot() -> None:
    """Calls that are withdrawn before their slot comes delay nobody behind them."""
    clock, server = Clock(), Server()
    gate = FixedPace(1, per_second=0.5, clock=clock, sleep=clock.sleep)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        for task in (withdrawn := await soon(single.call(BLOCK, number(1)))):
            task.cancel()
        await asyncio.wait(withdrawn)
    assert (await single.call(BLOCK, number(2))).ok

    assert clock.now == 1002.0
    assert server.asked == [(number(2)[1:],)]


async def test_no_patience_for_a_hint() -> None:
    """While the server asks for a longer wait than anybody has, each call fails at once."""
    clock, server = Clock(), Server()
    gate = FixedPace(1, clock=clock, sleep=clock.sleep)
    single = coalescer(server, gate=gate, timeout=60)
    async with gate.slot() as slot:
        slot.rate_limited(1000.0)
    for _ in range(3):
        with pytest.raises(RateLimited, match="the server asked to wait, for another 1000 s"):
            await single.call(BLOCK, ANN)
    clock.now += 1000

    assert (await single.call(BLOCK, ANN)).ok


async def test_cancelled_as_the_error_comes() -> None:
    """A caller that is cancelled in the moment of its error is cancelled, without a complaint."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))

    def fail(*_: object) -> Exception:
        loop.call_soon(calls[0].cancel)  # which comes between the error and its caller
        return InvalidRequest("no", 100)

    single = coalescer(Server(fail))
    calls = [asyncio.create_task(single.call(BLOCK, ANN))]
    await asyncio.wait(calls)
    assert calls.pop().cancelled()
    gc.collect()

    assert complaints == []


async def test_cancelled_in_flight() -> None:
    """A caller that goes away while its request is on the wire does not stop it."""
    answer = asyncio.Event()

    async def late() -> None:
        await answer.wait()

    server = Server(lambda *_: late())
    single = coalescer(server)
    (task,) = await soon(single.call(BLOCK, ANN))
    task.cancel()
    answer.set()
    await asyncio.gather(task, return_exceptions=True)
    await single.wait_ended(within=5.0)

    assert server.blocked == {ANN}


# --------------------------------------------------------------------------- closing


async def test_answered() -> None:
    """One can wait until all calls are answered that are queued or on the wire."""
    server = Server()
    single = coalescer(server)
    tasks = [asyncio.create_task(single.call(BLOCK, name)) for name in numbers(3)]
    await asyncio.sleep(0)
    await single.wait_answered(within=5.0)

    assert [task.result().ok for task in tasks] == [True] * 3


async def test_abort() -> None:
    """Who is not answered by then gets the error at once; no task is left."""
    never = asyncio.Event()

    async def hang() -> None:
        await never.wait()

    server, gate = Server(lambda *_: hang()), pace(1)
    single = coalescer(server, gate=gate)
    before = asyncio.all_tasks()
    tasks = await soon(single.call(BLOCK, number(1)))
    tasks += await soon(single.call(BLOCK, number(2)))
    await single.wait_answered(within=0.01)
    single.abort(ClientClosed("closed"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    await single.wait_ended(within=5.0)

    assert [type(result) for result in results] == [ClientClosed] * 2
    assert asyncio.all_tasks() == before
    assert gate.state.in_flight == 0


async def test_users_are_kept_until_their_request_has_ended() -> None:
    """A request that is aborted keeps its users while it is on the wire, though nobody waits."""
    ends = asyncio.Event()

    async def ends_late() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await ends.wait()

    server, clock = Server(lambda count, _: ends_late() if count == 1 else None), Clock()
    order = UserOrder(30.0, clock=clock, call_later=clock.call_later)
    sender = Sender(server.transact, retry=quick(), pace=pace(4), order=order)
    single, jobs = Coalescer(sender, max_queued=9), Batcher(sender)
    (call,) = await soon(single.call(BLOCK, ANN))
    (same,) = await soon(jobs.run(BLOCK, [ANN]))
    (opposite,) = await soon(jobs.run(UNBLOCK, [ANN]))
    single.abort(ClientClosed("closed"))
    with pytest.raises(ClientClosed):
        await call
    await asyncio.sleep(0)
    assert len(server.asked) == 1

    ends.set()
    assert (await same).summary() == "1 done"
    await asyncio.sleep(0)
    assert len(server.asked) == 2
    clock.advance(30.0)
    assert (await opposite).summary() == "1 done"


async def test_cancelled_from_outside() -> None:
    """Whoever cancels all tasks there are leaves no caller waiting."""
    server = Server(lambda *_: asyncio.sleep(3600))
    single = coalescer(server)
    before = asyncio.all_tasks()
    call = asyncio.ensure_future(single.call(BLOCK, ANN))
    await soon()
    for task in asyncio.all_tasks() - before - {call}:
        task.cancel()

    with pytest.raises(ClientClosed, match="cancelled"):
        await call


async def test_after_a_close() -> None:
    """Calls that were given up in their queue leave nothing behind that holds up the next."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        (task,) = await soon(single.call(BLOCK, ANN))
        single.abort(ClientClosed("closed"))
    with pytest.raises(ClientClosed):
        await task

    assert (await single.call(BLOCK, ANN)).ok
