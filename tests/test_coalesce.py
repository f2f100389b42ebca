"""Single calls: what shares a request, in which order, and who gets which answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import (
    BlockUsersError,
    ClientClosed,
    Fault,
    FixedPace,
    Incomplete,
    InvalidRequest,
    Operation,
    Outcome,
    QueueFull,
    RateLimited,
    RequestTimeout,
    Status,
)
from blockusers.batch import Batcher
from blockusers.coalesce import Coalescer
from blockusers.identifiers import Identifiers
from blockusers.pacing import Pace
from blockusers.report import Verdict, Verdicts
from blockusers.turns import Turns
from tests.support import Clock, Server, columns, number, numbers, pace, quick

BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK
DONE, FAILED = Status.DONE, Status.FAILED
ANN = "16505551234"


def coalescer(
    server: Server, *, gate: Pace | None = None, max_queued: int = 100_000, **retry: Any
) -> Coalescer:
    return Coalescer(
        server.transact,
        retry=quick(**retry),
        pace=gate or pace(16),
        turns=Turns(),
        max_queued=max_queued,
    )


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
    single = Coalescer(
        server.transact, retry=quick(), pace=pace(16), turns=Turns(), max_queued=99, chunk_size=10
    )
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
    server, gate, turns = Server(), pace(1), Turns()
    single = Coalescer(server.transact, retry=quick(), pace=gate, turns=turns, max_queued=9)
    jobs = Batcher(server.transact, retry=quick(), pace=gate, turns=turns)
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
    server, gate, turns = Server(), pace(1), Turns()
    single = Coalescer(server.transact, retry=quick(), pace=gate, turns=turns, max_queued=9)
    jobs = Batcher(server.transact, retry=quick(), pace=gate, turns=turns)
    async with busy(gate):
        tasks = await soon(single.call(UNBLOCK, ANN))
        tasks += await soon(jobs.run(BLOCK, [ANN, number(1)]))
        tasks += await soon(single.call(UNBLOCK, ANN))
    await asyncio.gather(*tasks)

    assert server.blocked == {number(1)[1:]}


async def test_two_jobs_on_the_same_users() -> None:
    """Of two jobs at the same time, the one that draws a user later has the last word."""
    server, gate, turns = Server(), pace(1), Turns()
    jobs = Batcher(server.transact, retry=quick(), pace=gate, turns=turns, chunk_size=10)
    async with busy(gate):
        tasks = await soon(jobs.run(BLOCK, numbers(10)))
        tasks += await soon(jobs.run(UNBLOCK, [*reversed(numbers(10)), number(77)]))
    reports = await asyncio.gather(*tasks)

    assert [len(report.succeeded) for report in reports] == [10, 11]
    assert server.blocked == set()


@pytest.mark.parametrize("behind", [False, True], ids=["first", "behind another"])
async def test_cancelled_job_gives_its_users_up(behind: bool) -> None:
    """A job that is cancelled, in line or first in it, holds nobody up."""
    server, gate, turns = Server(), pace(1), Turns()
    settings: dict[str, Any] = {"retry": quick(), "pace": gate, "turns": turns}
    single = Coalescer(server.transact, max_queued=9, **settings)
    jobs = Batcher(server.transact, **settings)
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
    await single.close(1.0)

    assert server.blocked == {ANN}


# --------------------------------------------------------------------------- closing


async def test_close_answers_who_waits() -> None:
    """Closing waits for calls that are queued or on the wire."""
    server = Server()
    single = coalescer(server)
    tasks = [asyncio.create_task(single.call(BLOCK, name)) for name in numbers(3)]
    await asyncio.sleep(0)
    await single.close(5.0)

    assert [task.result().ok for task in tasks] == [True] * 3


async def test_close_does_not_wait_for_ever() -> None:
    """Who is not answered in time gets ClientClosed; no task is left."""
    never = asyncio.Event()

    async def hang() -> None:
        await never.wait()

    server, gate = Server(lambda *_: hang()), pace(1)
    single = coalescer(server, gate=gate)
    before = asyncio.all_tasks()
    tasks = await soon(single.call(BLOCK, number(1)))
    tasks += await soon(single.call(BLOCK, number(2)))
    await single.close(0.01)
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(result) for result in results] == [ClientClosed] * 2
    assert asyncio.all_tasks() == before
    assert gate.state.in_flight == 0


async def test_close_that_is_cancelled() -> None:
    """A close that is cancelled while it waits gives up at once, and nobody waits for ever."""
    never = asyncio.Event()
    server = Server(lambda *_: never.wait())
    single = coalescer(server)
    before = asyncio.all_tasks()
    (task,) = await soon(single.call(BLOCK, ANN))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await single.close(60.0)

    with pytest.raises(ClientClosed):
        await task
    assert asyncio.all_tasks() == before


async def test_after_a_close() -> None:
    """Calls that were given up in their queue leave nothing behind that holds up the next."""
    server, gate = Server(), pace(1)
    single = coalescer(server, gate=gate)
    async with busy(gate):
        (task,) = await soon(single.call(BLOCK, ANN))
        await single.close(0.0)
    with pytest.raises(ClientClosed):
        await task

    assert (await single.call(BLOCK, ANN)).ok


# --------------------------------------------------------------------------- any history

USERS = numbers(4)
LOST = RequestTimeout("lost")
LIMITED = RateLimited("slow down", 130429, status=400)
ASKS_TO_WAIT = RateLimited("come back later", 130429, status=400, retry_after=1000.0)
FLAKY = Verdict(FAILED, faults=(Fault(139103, "internal"),))
TOO_LATE = Verdict(FAILED, faults=(Fault(131047, "too late"),))


@attrs.frozen
class Action:
    """A call of *users*, single if it is one of them, which may be cancelled after some turns."""

    operation: Operation
    users: tuple[str, ...]
    after: int
    cancelled_after: int | None
    stalls: bool
    """Whether a job's source makes it wait for each user."""


actions = st.builds(
    Action,
    operation=st.sampled_from(Operation),
    users=st.lists(st.sampled_from(USERS), min_size=1, max_size=4, unique=True).map(tuple),
    after=st.integers(0, 6),
    cancelled_after=st.none() | st.none() | st.integers(0, 12),
    stalls=st.booleans(),
)
answers = st.sampled_from(
    ["done", "done", "done", "limited", "asks to wait", "lost", "lost after", "flaky", "late"]
)


@attrs.define
class World:
    """A server that answers as scripted, and what was drawn and answered, in order."""

    script: list[tuple[str, int]]
    blocked: set[str] = attrs.field(factory=set)
    in_flight: set[str] = attrs.field(factory=set)
    history: dict[str, list[list[Any]]] = attrs.field(factory=lambda: {n[1:]: [] for n in USERS})
    """For each user all operations that were drawn: [operation, what came back]."""

    async def transact(self, operation: Operation, users: Identifiers) -> Verdicts:
        keys = set(users.keys)
        assert self.in_flight.isdisjoint(keys), "two requests in flight name one user"
        self.in_flight |= keys
        kind, turns = self.script.pop() if self.script else ("done", 1)
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            return self._answer(kind, operation, list(users.keys))
        finally:
            self.in_flight -= keys

    def _answer(self, kind: str, operation: Operation, keys: list[str]) -> Verdicts:
        if kind == "limited":
            raise LIMITED
        if kind == "asks to wait":
            raise ASKS_TO_WAIT
        if kind == "lost":
            raise LOST
        verdicts = {key: Verdict(DONE, wa_id=key) for key in keys}
        if kind in {"flaky", "late"}:
            verdicts[keys[0]] = FLAKY if kind == "flaky" else TOO_LATE
        done = {key for key in keys if verdicts[key].status is DONE}
        self.blocked = self.blocked | done if operation is BLOCK else self.blocked - done
        if kind == "lost after":
            raise LOST
        return columns(verdicts[key] for key in keys)

    def draw(self, operation: Operation, users: Sequence[str]) -> Iterator[str]:
        """Yield users, and note when each is drawn."""
        for user in users:
            self.note(operation, user)
            yield user

    def note(self, operation: Operation, user: str) -> list[Any]:
        entry: list[Any] = [operation, None]
        self.history[user[1:]].append(entry)
        return entry


async def play(world: World, single: Coalescer, jobs: Batcher, action: Action) -> None:
    """Carry out one action; note what came back for each user that was drawn."""
    for _ in range(action.after):
        await asyncio.sleep(0)
    if len(action.users) == 1:
        entry = world.note(action.operation, action.users[0])
        try:
            entry[1] = await single.call(action.operation, action.users[0])
        except BlockUsersError as error:
            entry[1] = error
    else:
        await play_job(world, jobs, action)


async def play_job(world: World, jobs: Batcher, action: Action) -> None:
    mine: dict[str, list[Any]] = {}

    def drawn() -> Iterator[str]:
        for user in world.draw(action.operation, action.users):
            mine[user[1:]] = world.history[user[1:]][-1]
            yield user

    async def drawn_slowly() -> AsyncIterator[str]:
        for user in drawn():
            yield user
            for _ in range(20):
                await asyncio.sleep(0)

    try:
        source = drawn_slowly() if action.stalls else drawn()
        report = await jobs.run(action.operation, source)
    except Incomplete as early:
        report = early.report
    assert {outcome.input[1:] for outcome in report} == set(mine)
    for outcome in report:
        mine[outcome.input[1:]][1] = outcome


def final_state(history: list[list[Any]]) -> bool | None:
    """Return whether the user must be blocked at the end; None if nobody can know."""
    for operation, came in reversed(history):
        if isinstance(came, Outcome) and came.status is DONE:
            return bool(operation is BLOCK)
        harmless = isinstance(came, Outcome) and came.status is FAILED and not came.uncertain
        if not harmless and not (isinstance(came, Outcome) and came.status is Status.REMAINING):
            return None
    return False


@given(
    st.lists(actions, min_size=1, max_size=8),
    st.lists(st.tuples(answers, st.integers(0, 4)), max_size=12),
)
def test_any_history(actions: list[Action], script: list[tuple[str, int]]) -> None:
    """Whatever is called, cancelled or fails: the newest answered operation on each user decides.

    Every caller gets one answer, and no two requests in flight ever name one user.
    """

    async def main() -> World:
        world, turns, clock = World(list(script)), Turns(), Clock()
        settings: dict[str, Any] = {"pace": pace(2, clock), "turns": turns}
        settings["retry"] = quick(clock, attempts=3)
        single = Coalescer(world.transact, max_queued=99, **settings)
        jobs = Batcher(world.transact, chunk_size=2, **settings)
        tasks = []
        for action in actions:
            task = asyncio.create_task(play(world, single, jobs, action))
            tasks.append(task)
            if action.cancelled_after is not None:
                for _ in range(action.cancelled_after):
                    await asyncio.sleep(0)
                task.cancel()
        async with asyncio.timeout(10):
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        await single.close(5.0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return world

    world = asyncio.run(main())
    for key, history in world.history.items():
        expected = final_state(history)
        assert expected is None or (key in world.blocked) == expected
