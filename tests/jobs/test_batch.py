"""Bulk jobs: every user accounted for, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import (
    ApiError,
    AuthenticationError,
    BlocklistFull,
    ClientClosed,
    ConnectionFailed,
    Fault,
    Incomplete,
    InvalidRequest,
    Operation,
    Outcome,
    RateLimited,
    Report,
    RequestTimeout,
    ServiceError,
    Status,
)
from blockusers.jobs.batch import Batcher
from blockusers.jobs.notifier import OnSettled
from blockusers.jobs.sender import Sender
from blockusers.jobs.source import Users
from blockusers.pace.paces import FixedPace
from blockusers.pace.protocol import Pace, Priority, Slot
from blockusers.values.columns import Verdict
from tests.support import Server, number, numbers, pace, quick

DONE, FAILED, UNKNOWN, REMAINING = Status
EXPIRED = AuthenticationError("expired", 190, status=401)
INTERNAL = ServiceError("internal error", 139103, status=500)
LIMITED = RateLimited("slow down", 130429, status=400)
RESET = ConnectionFailed("reset")
REFUSED_CONNECTION = ConnectionFailed("refused", sent=False)


def failed(code: int) -> Verdict:
    return Verdict(FAILED, faults=(Fault(code, "no"),))


async def block(
    server: Server,
    users: Users,
    *,
    chunk_size: int = 10,
    on_settled: OnSettled | None = None,
    in_flight: int = 1,
    operation: Operation = Operation.BLOCK,
    gate: Pace | None = None,
    **retry: float | None,
) -> Report:
    sender = Sender(
        server.transact, retry=quick(**retry), pace=gate or pace(in_flight), chunk_size=chunk_size
    )
    return await Batcher(sender).run(operation, users, on_settled)


async def block_early_end(server: Server, users: Users, **settings: object) -> Incomplete:
    with pytest.raises(Incomplete) as caught:
        await block(server, users, **settings)
    return caught.value


def statuses(report: Report) -> list[Status]:
    return [outcome.status for outcome in report]


def balance(report: Report, server: Server) -> None:
    """Check that the report agrees with the server's own list."""
    keys = [outcome.input.removeprefix("+") for outcome in report]
    assert len(keys) == len(set(keys))
    certain = {DONE: True, FAILED: False, REMAINING: False}
    for key, outcome in zip(keys, report, strict=True):
        if outcome.status in certain and not outcome.uncertain:
            assert (key in server.blocked) is certain[outcome.status], outcome.status


# --------------------------------------------------------------------------- chunks


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
async def test_chunks(count: int, sizes: list[int]) -> None:
    """A list is cut into chunks of at most chunk_size, in order."""
    server = Server()
    report = await block(server, numbers(count))

    assert [len(chunk) for chunk in server.asked] == sizes
    assert [outcome.input for outcome in report] == numbers(count)
    assert statuses(report) == [DONE] * count
    assert report.requests == len(sizes)
    balance(report, server)


@pytest.mark.parametrize(
    ("size", "error"), [(0, ValueError), (1001, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_chunk_size(size: object, error: type[Exception]) -> None:
    """A chunk_size that Meta does not take is refused by name."""
    with pytest.raises(error, match="^chunk_size: "):
        Sender(Server().transact, retry=quick(), pace=pace(), chunk_size=size)


async def test_repeats() -> None:
    """Two spellings of one person are one user, named as first written; repeats are counted."""
    report = await block(Server(), ["+1 650 555-1234", "16505551234", 16505551234, "+16505550000"])

    assert [outcome.input for outcome in report] == ["+1 650 555-1234", "+16505550000"]
    assert report.repeats == 2


async def test_refused_input() -> None:
    """What names nobody is FAILED in its place, never sent; what is valid beside it is done."""
    server = Server()
    report = await block(server, [number(1), "0049151", None, "0049151", number(2)])

    assert statuses(report) == [DONE, FAILED, FAILED, FAILED, DONE]
    assert report.outcomes[1].fault.code is None
    assert "+" in report.outcomes[1].fault.message
    assert server.asked == [(number(1)[1:], number(2)[1:])]


async def test_values_of_earlier_calls() -> None:
    """Outcomes of a report can be submitted again."""
    report = await block(Server(), numbers(3))
    again = await block(Server(), report.outcomes, operation=Operation.UNBLOCK)

    assert [outcome.input for outcome in again] == numbers(3)
    assert again.operation is Operation.UNBLOCK


async def test_async_source() -> None:
    """An async iterable works like a list."""

    async def source() -> AsyncIterator[str]:
        for user in numbers(25):
            await asyncio.sleep(0)
            yield user

    assert statuses(await block(Server(), source())) == [DONE] * 25


async def test_not_read_ahead() -> None:
    """The source is not read further ahead than what is being sent."""
    drawn = 0

    def source() -> Iterator[str]:
        nonlocal drawn
        for user in numbers(100):
            drawn += 1
            yield user

    ahead = []
    server = Server(lambda number, _: ahead.append(drawn - 10 * (number - 1)))
    await block(server, source(), in_flight=2)

    assert max(ahead) <= 20


async def test_workers_are_bounded() -> None:
    """No more chunks are under way than the pace permits, and as many as it permits."""
    server = Server(lambda *_: asyncio.sleep(0.001))
    await block(server, numbers(200), in_flight=3)

    assert server.most_in_flight == 3


async def test_pace_bounds_the_size() -> None:
    """A request names no more users than its slot permits; the others follow in order."""

    class Small(FixedPace):
        @asynccontextmanager
        async def slot(
            self, priority: Priority = Priority.BULK, *, again: bool = False
        ) -> AsyncIterator[Slot]:
            async with super().slot(priority, again=again):
                yield Slot(max_users=4)

    server = Server()
    report = await block(server, numbers(15), gate=Small(1))

    assert [len(chunk) for chunk in server.asked] == [4, 4, 4, 3]
    assert [key for chunk in server.asked for key in chunk] == [n[1:] for n in numbers(15)]
    assert statuses(report) == [DONE] * 15


# --------------------------------------------------------------------------- merging


async def test_mixed_answers() -> None:
    """Successes and failures of all chunks are merged in the order of the input."""
    bad = {number(i)[1:]: failed(131047) for i in (0, 7, 12, 24)}
    server = Server(lambda _, keys: {key: bad[key] for key in keys if key in bad})
    report = await block(server, numbers(25), in_flight=3)

    assert [outcome.input for outcome in report] == numbers(25)
    assert {o.input[1:] for o in report.failed} == set(bad)
    assert {code: len(group) for code, group in report.faults_by_code.items()} == {131047: 4}
    balance(report, server)


async def test_forgotten_user() -> None:
    """A user that the answer does not tell of is UNKNOWN, and is not asked for again."""
    server = Server(lambda _, keys: {keys[3]: Verdict(UNKNOWN)})
    report = await block(server, numbers(10))

    assert statuses(report).count(UNKNOWN) == 1
    assert report.unknown[0].input == number(3)
    assert len(server.asked) == 1


async def test_transient_error_of_a_user() -> None:
    """Users with a transient error are sent again in a later chunk until they succeed."""
    odd = [number(i)[1:] for i in range(1, 25, 2)]
    server = Server(lambda n, keys: {key: failed(139103) for key in keys if key in odd and n <= 3})
    report = await block(server, numbers(25))

    assert statuses(report) == [DONE] * 25
    assert {outcome.faults for outcome in report} == {()}  # of the last answer, not of the first
    assert server.asked[3:] == [tuple(odd[:10]), tuple(odd[10:])]
    balance(report, server)


async def test_transient_error_that_stays() -> None:
    """A user whose transient error outlives its attempts is FAILED; the job goes on without it."""
    server = Server(lambda _, keys: {key: failed(139103) for key in keys if key.endswith("3")})
    report = await block(server, numbers(10), attempts=4)

    assert [o.input for o in report.failed] == [number(3)]
    assert report.failed[0].fault.transient
    assert [len(chunk) for chunk in server.asked] == [10, 1, 1, 1]


async def test_lasting_error_beside_a_transient_one() -> None:
    """A user with a lasting fault is not asked for again, whatever else is wrong."""
    both = Verdict(FAILED, faults=(Fault(139103, "internal"), Fault(131047, "too late")))
    server = Server(lambda _, keys: dict.fromkeys(keys, both))
    report = await block(server, numbers(2))

    assert statuses(report) == [FAILED, FAILED]
    assert len(server.asked) == 1


async def test_request_errors_are_retried() -> None:
    """A chunk whose request fails for a passing reason is sent again, and counted."""
    errors = {1: RESET, 2: LIMITED, 3: INTERNAL, 4: REFUSED_CONNECTION}
    server = Server(lambda n, _: errors.get(n))
    report = await block(server, numbers(10))

    assert statuses(report) == [DONE] * 10
    assert report.requests == 4  # the refused connection carried none
    assert report.rate_limited == 1
    assert not any(outcome.uncertain for outcome in report)


async def test_uncertain() -> None:
    """A failure after an attempt without an answer says that an effect cannot be excluded."""
    server = Server(lambda n, keys: RESET if n == 1 else dict.fromkeys(keys, failed(131047)))
    report = await block(server, numbers(2))

    assert [(o.status, o.uncertain) for o in report] == [(FAILED, True)] * 2


# --------------------------------------------------------------------------- ending early


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RequestTimeout("late"), UNKNOWN),
        (RESET, UNKNOWN),
        (INTERNAL, UNKNOWN),
        (ServiceError("HTML", status=502), UNKNOWN),
        (InvalidRequest("empty", status=400), UNKNOWN),
        (InvalidRequest("no lists", 139100, status=400), UNKNOWN),
        (RuntimeError("a bug"), UNKNOWN),
        (REFUSED_CONNECTION, REMAINING),
        (ClientClosed("closed"), REMAINING),
        (AuthenticationError("no token", sent=False), REMAINING),
        *(
            (ApiError("no", code, status=400), REMAINING)
            for code in (130429, 4, 17, 0, 104, 190, 3, 10, 200, 100, 33, 803, 368, 131031, 139101)
        ),
    ],
    ids=str,
)
async def test_status_after_an_error(error: Exception, expected: Status) -> None:
    """What ends the job decides: UNKNOWN if it may have been carried out, else REMAINING."""
    server = Server(lambda n, _: error if n > 1 else None)
    ended = await block_early_end(server, numbers(30), timeout=0, attempts=1)

    assert ended.error is error
    assert ended.__cause__ is error
    assert statuses(ended.report) == [DONE] * 10 + [expected] * 10 + [REMAINING] * 10
    balance(ended.report, server)


async def test_ambiguous_then_refused() -> None:
    """A refusal after an attempt without an answer leaves the users UNKNOWN."""
    server = Server(lambda n, _: RESET if n == 1 else EXPIRED)
    ended = await block_early_end(server, numbers(10))

    assert statuses(ended.report) == [UNKNOWN] * 10


async def test_to_be_retried_then_ended() -> None:
    """A user that was to be retried when the job ended is FAILED, as its last answer said."""
    server = Server(lambda n, keys: dict.fromkeys(keys, failed(139103)) if n == 1 else EXPIRED)
    ended = await block_early_end(server, numbers(20))

    assert statuses(ended.report) == [FAILED] * 10 + [REMAINING] * 10


async def test_retried_then_lost() -> None:
    """A user whose second attempt got no answer is UNKNOWN."""
    server = Server(lambda n, keys: dict.fromkeys(keys, failed(139103)) if n == 1 else RESET)
    ended = await block_early_end(server, numbers(10))

    assert statuses(ended.report) == [UNKNOWN] * 10


async def test_drain() -> None:
    """After a fatal error nothing new starts, and what is on the wire finishes and counts."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        arrived.set()
        await release.wait()

    async def fail_meanwhile() -> Exception:
        await arrived.wait()
        asyncio.get_running_loop().call_later(0.01, release.set)
        return EXPIRED

    server = Server(lambda n, _: [slowly, fail_meanwhile][n - 1]() if n < 3 else None)
    ended = await block_early_end(server, numbers(50), in_flight=2)

    assert statuses(ended.report) == [DONE] * 10 + [REMAINING] * 40
    assert len(server.asked) == 2
    balance(ended.report, server)


async def test_drain_does_not_retry() -> None:
    """A request that fails while the job is ending is not sent again."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def fail_late() -> Exception:
        arrived.set()
        await release.wait()
        return RESET

    async def fail_first() -> Exception:
        await arrived.wait()
        asyncio.get_running_loop().call_later(0.01, release.set)
        return EXPIRED

    server = Server(lambda n, _: [fail_late, fail_first][n - 1]() if n < 3 else None)
    ended = await block_early_end(server, numbers(20), in_flight=2)

    assert ended.error is EXPIRED
    assert statuses(ended.report) == [UNKNOWN] * 10 + [REMAINING] * 10
    assert len(server.asked) == 2


async def test_drain_wakes_those_who_wait() -> None:
    """Whoever waits for another attempt when the job ends does not wait any longer."""

    async def fail_second() -> Exception:
        await asyncio.sleep(0.01)
        return EXPIRED

    server = Server(lambda n, _: INTERNAL if n == 1 else fail_second())
    policy = quick(wait_initial=3600, wait_max=3600, timeout=None)
    policy = attrs.evolve(policy, sleep=asyncio.sleep)
    batcher = Batcher(Sender(server.transact, retry=policy, pace=pace(2), chunk_size=10))
    with pytest.raises(Incomplete) as caught:
        await asyncio.wait_for(batcher.run(Operation.BLOCK, numbers(20)), 5)

    assert statuses(caught.value.report) == [UNKNOWN] * 10 + [REMAINING] * 10


async def test_blocklist_full() -> None:
    """A user that no longer fits on the blocklist ends the job: the rest is REMAINING."""
    server = Server(lambda n, keys: {key: failed(139101) for key in keys[5:]} if n == 2 else None)
    ended = await block_early_end(server, numbers(40))

    assert isinstance(ended.error, BlocklistFull)
    assert statuses(ended.report) == [DONE] * 15 + [FAILED] * 5 + [REMAINING] * 20
    balance(ended.report, server)


async def test_blocklist_full_does_not_stop_unblocking() -> None:
    """Unblocking goes on, whatever is said about a full list."""
    server = Server(lambda n, keys: {keys[0]: failed(139101)} if n == 1 else None)
    report = await block(server, numbers(20), operation=Operation.UNBLOCK)

    assert statuses(report) == [FAILED] + [DONE] * 19


async def test_answers_after_a_full_one() -> None:
    """What was in flight when the list became full is booked as it is answered."""
    both_sent, full_said = asyncio.Event(), asyncio.Event()

    async def full(keys: Sequence[str]) -> dict[str, Verdict]:
        await both_sent.wait()
        full_said.set()
        return {key: failed(139101) for key in keys}

    async def late() -> None:
        both_sent.set()
        await full_said.wait()
        await asyncio.sleep(0.001)

    server = Server(lambda n, keys: full(keys) if n == 1 else late())
    early = await block_early_end(server, numbers(40), in_flight=2)

    assert isinstance(early.error, BlocklistFull)
    assert statuses(early.report) == [FAILED] * 10 + [DONE] * 10 + [REMAINING] * 20


async def test_plain_source_is_read_out() -> None:
    """After an early end, users that were never drawn are in the report as REMAINING."""
    ended = await block_early_end(Server(lambda *_: EXPIRED), iter([*numbers(35), "junk", "1"]))

    assert statuses(ended.report) == [REMAINING] * 35 + [FAILED] * 2


async def test_async_source_is_closed() -> None:
    """After an early end an async source is closed; what it had not given is not in the report."""
    closed = False

    async def source() -> AsyncIterator[str]:
        nonlocal closed
        try:
            for user in numbers(100):
                yield user
        finally:
            closed = True

    ended = await block_early_end(Server(lambda *_: EXPIRED), source())

    assert closed
    assert statuses(ended.report) == [REMAINING] * 10


async def test_waiting_for_a_slow_source_ends_too() -> None:
    """An async source that hangs cannot keep an ended job alive; nothing it gave is lost."""

    async def source() -> AsyncIterator[str]:
        for user in numbers(13):
            yield user
        await asyncio.sleep(3600)

    ended = await asyncio.wait_for(
        block_early_end(Server(lambda *_: EXPIRED), source(), in_flight=2), 5
    )

    assert statuses(ended.report) == [REMAINING] * 13


async def test_source_that_raises() -> None:
    """What a source gave before it failed is settled, then Incomplete follows from its error."""
    error = OSError("disk gone")

    def source() -> Iterator[str]:
        yield from numbers(13)
        raise error

    server = Server()
    ended = await block_early_end(server, source())

    assert ended.error is error
    assert statuses(ended.report) == [DONE] * 13
    balance(ended.report, server)


# --------------------------------------------------------------------------- on_settled


@pytest.mark.parametrize("is_async", [False, True])
async def test_on_settled(is_async: bool) -> None:
    """Each outcome is handed on once, when it is final; never twice at the same time."""
    heard: list[Outcome] = []
    inside = 0

    def plain(outcomes: tuple[Outcome, ...]) -> None:
        assert outcomes
        heard.extend(outcomes)

    async def later(outcomes: tuple[Outcome, ...]) -> None:
        nonlocal inside
        inside += 1
        await asyncio.sleep(0)
        assert inside == 1
        inside -= 1
        plain(outcomes)

    server = Server(lambda n, keys: {keys[0]: failed(139103)} if n < 4 else None)
    users = [*numbers(40), "junk"]
    report = await block(server, users, on_settled=later if is_async else plain, in_flight=3)

    assert sorted(heard, key=lambda o: o.input) == sorted(report, key=lambda o: o.input)


async def test_on_settled_hears_of_an_early_end() -> None:
    """After an early end it is told of those who remain, too."""
    heard: list[Outcome] = []
    server = Server(lambda n, _: EXPIRED if n == 2 else None)
    ended = await block_early_end(server, numbers(40), on_settled=heard.extend)

    assert heard == list(ended.report)


@pytest.mark.parametrize("is_async", [False, True])
async def test_on_settled_that_raises(is_async: bool) -> None:
    """What it raises ends the job, and it is not called again; the report is whole."""
    error, calls = OSError("disk full"), 0

    def plain(outcomes: tuple[Outcome, ...]) -> None:
        nonlocal calls
        calls += 1
        raise error

    async def later(outcomes: tuple[Outcome, ...]) -> None:
        plain(outcomes)

    ended = await block_early_end(Server(), numbers(40), on_settled=later if is_async else plain)

    assert ended.error is error
    assert calls == 1
    # What is on the wire while an async one runs is done, too.
    done = len(ended.report.succeeded)
    assert 10 <= done <= (30 if is_async else 10)
    assert statuses(ended.report) == [DONE] * done + [REMAINING] * (40 - done)


@pytest.mark.parametrize("is_async", [False, True])
async def test_on_settled_that_awaits_what_is_cancelled(is_async: bool) -> None:
    """A cancellation that comes out of it is an error like any other."""
    cancelled = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    def plain(outcomes: tuple[Outcome, ...]) -> None:
        cancelled.result()

    async def later(outcomes: tuple[Outcome, ...]) -> None:
        await cancelled

    ended = await block_early_end(Server(), numbers(30), on_settled=later if is_async else plain)

    assert isinstance(ended.error, RuntimeError)
    assert len(ended.report) == 30


async def test_on_settled_that_raises_at_the_end() -> None:
    """An error in its very last call is not lost."""

    def refuse(outcomes: tuple[Outcome, ...]) -> None:
        raise OSError

    ended = await block_early_end(Server(), ["junk"], on_settled=refuse)

    assert isinstance(ended.error, OSError)
    assert statuses(ended.report) == [FAILED]


# --------------------------------------------------------------------------- cancellation


@asynccontextmanager
async def job_on_the_wire(on_settled: OnSettled | None) -> AsyncIterator[asyncio.Task[Report]]:
    """Start a job whose second of four chunks gets no answer."""
    arrived = asyncio.Event()

    async def hang() -> None:
        arrived.set()
        await asyncio.sleep(3600)

    server = Server(lambda n, _: hang() if n == 2 else None)
    task = asyncio.create_task(block(server, numbers(40), on_settled=on_settled))
    await arrived.wait()
    yield task
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("is_async", [False, True])
async def test_cancellation(is_async: bool) -> None:
    """A cancelled job hands on what was in flight as UNKNOWN, and ends at once."""
    heard: list[Outcome] = []

    async def later(outcomes: tuple[Outcome, ...]) -> None:
        await asyncio.sleep(0)
        heard.extend(outcomes)

    async with job_on_the_wire(later if is_async else heard.extend) as task:
        task.cancel()

    assert [o.status for o in heard] == [DONE] * 10 + [UNKNOWN] * 10


async def test_cancellation_without_a_listener() -> None:
    """A cancelled job without on_settled just ends."""
    async with job_on_the_wire(None) as task:
        task.cancel()


async def test_cancellation_and_a_listener_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """What on_settled raises then is logged, and cancellation passes."""

    def refuse(outcomes: tuple[Outcome, ...]) -> None:
        if outcomes[-1].status is UNKNOWN:
            raise OSError("disk full")

    async with job_on_the_wire(refuse) as task:
        task.cancel()

    assert "OSError" in caplog.text
    assert "disk full" not in caplog.text


async def test_cancellation_and_a_listener_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An on_settled that does not come back gets a second, then it is cancelled."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.01)

    async def hang(outcomes: tuple[Outcome, ...]) -> None:
        if outcomes[-1].status is UNKNOWN:
            await asyncio.sleep(3600)

    async with job_on_the_wire(hang) as task:
        task.cancel()


async def test_second_cancellation() -> None:
    """A second cancellation does not wait for on_settled either."""

    async def hang(outcomes: tuple[Outcome, ...]) -> None:
        if outcomes[-1].status is UNKNOWN:
            task.cancel()
            await asyncio.sleep(3600)

    async with job_on_the_wire(hang) as task:
        task.cancel()


async def test_cancellation_while_it_is_told() -> None:
    """An on_settled that is at work when the job is cancelled is let finish, within its second."""
    told, at_work = [], asyncio.Event()

    async def note(outcomes: tuple[Outcome, ...]) -> None:
        at_work.set()
        await asyncio.sleep(0.01)
        told.extend(outcomes)

    task = asyncio.create_task(block(Server(), numbers(10), on_settled=note))
    await at_work.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert [outcome.status for outcome in told] == [DONE] * 10


async def cancelled_future() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def test_a_source_that_awaits_what_is_cancelled() -> None:
    """A cancellation that comes out of the source is its error: nobody it gave is lost."""

    async def source() -> AsyncIterator[str]:
        for user in numbers(13):
            yield user
        await cancelled_future()

    ended = await block_early_end(Server(), source())

    assert isinstance(ended.error, RuntimeError)
    assert statuses(ended.report) == [DONE] * 13


async def test_a_request_that_awaits_what_is_cancelled() -> None:
    """A cancellation that comes out of a request ends the job, and its users are UNKNOWN."""
    server = Server(lambda n, _: cancelled_future() if n == 2 else None)
    ended = await block_early_end(server, numbers(30))

    assert isinstance(ended.error, RuntimeError)
    assert statuses(ended.report) == [DONE] * 10 + [UNKNOWN] * 10 + [REMAINING] * 10


async def test_drain_tells_the_pace() -> None:
    """A refusal for the rate limit that comes while the job ends holds those who come after."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def refuse_late() -> Exception:
        arrived.set()
        await release.wait()
        return RateLimited("", 130429, status=400, retry_after=60.0)

    async def fail_first() -> Exception:
        await arrived.wait()
        asyncio.get_running_loop().call_later(0.01, release.set)
        return EXPIRED

    server = Server(lambda n, _: [refuse_late, fail_first][n - 1]())
    gate = pace(2)
    ended = await block_early_end(server, numbers(20), gate=gate)

    assert ended.report.rate_limited == gate.state.rate_limited == 1
    assert gate.state.hold_for == 60.0


async def test_no_more_workers_than_work() -> None:
    """A pace that permits a multitude costs a small job nothing."""
    tasks = []
    server = Server(lambda *_: tasks.append(len(asyncio.all_tasks())))
    await block(server, numbers(10), in_flight=100_000)

    assert max(tasks) <= 4


@pytest.mark.parametrize("is_async", [False, True])
async def test_cancellation_at_every_await(is_async: bool) -> None:
    """Wherever a job is cancelled, whoever may be affected was heard of, and nothing is left."""
    errors = {2: RESET, 3: LIMITED, 5: INTERNAL}

    def act(n: int, keys: Sequence[str]) -> object:
        return errors.get(n, {keys[0]: failed(139103)} if n < 8 else None)

    for ticks in range(1, 1000):
        server, gate, heard = Server(act), pace(2), list[Outcome]()

        async def later(outcomes: tuple[Outcome, ...], heard: list[Outcome] = heard) -> None:
            heard.extend(outcomes)
            await asyncio.sleep(0)

        listener = later if is_async else heard.extend
        task = asyncio.create_task(block(server, numbers(40), gate=gate, on_settled=listener))
        for _ in range(ticks):
            await asyncio.sleep(0)
        finished = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        told = {outcome.input.removeprefix("+"): outcome.status for outcome in heard}
        assert len(told) == len(heard)
        assert {key for key, status in told.items() if status is DONE} <= server.blocked
        assert server.blocked <= told.keys()
        assert gate.state.in_flight == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        if finished:
            return
    raise AssertionError("the job never finished")


# --------------------------------------------------------------------------- invariants

USERS = st.lists(
    st.one_of(
        st.integers(0, 40).map(number),
        st.integers(0, 40).map(lambda i: number(i).removeprefix("+")),
        st.integers(0, 40).map(lambda i: f"US.{i}abc"),
        st.sampled_from(["junk", "0151234567", "", True, None, 12.0]),
    ),
    max_size=60,
)
ERRORS = st.sampled_from([RESET, REFUSED_CONNECTION, LIMITED, INTERNAL, EXPIRED, OSError("?")])
VERDICTS = st.sampled_from(
    [failed(131047), failed(139103), failed(139101), Verdict(UNKNOWN), Verdict(DONE)]
)


@given(
    users=USERS,
    script=st.lists(st.one_of(st.none(), ERRORS, st.lists(VERDICTS, max_size=5)), max_size=12),
    chunk_size=st.integers(1, 12),
    in_flight=st.integers(1, 4),
)
async def test_nothing_lost_nothing_invented(
    users: list[object], script: list[object], chunk_size: int, in_flight: int
) -> None:
    """Whatever happens, each distinct user has one outcome, as the server has it."""

    def act(n: int, keys: Sequence[str]) -> object:
        said = script[n - 1] if n <= len(script) else None
        return dict(zip(keys, said, strict=False)) if isinstance(said, list) else said

    server, heard = Server(act), []
    settings = {"chunk_size": chunk_size, "in_flight": in_flight, "on_settled": heard.extend}
    try:
        report = await block(server, users, **settings)
    except Incomplete as ended:
        report = ended.report

    keys = {str(user).removeprefix("+") for user in users}
    sent = {key for chunk in server.asked for key in chunk}
    junk = [user for user in users if not str(user).startswith(("+4915", "4915", "US."))]
    assert len(report) + report.repeats == len(users)
    assert len(report) == len(keys - {str(user) for user in junk}) + len(junk)
    assert sent <= keys
    assert {id(outcome) for outcome in heard} == {id(outcome) for outcome in report}
    for outcome in report:
        key = str(outcome.input).removeprefix("+")
        if outcome.ok:
            assert key in server.blocked
        elif outcome.status is REMAINING:
            assert key not in server.blocked
        elif outcome.fault and outcome.fault.code is None:
            assert key not in sent


async def test_logs_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    """A job that goes well logs nothing."""
    with caplog.at_level(logging.DEBUG, logger="blockusers"):
        await block(Server(), numbers(25))

    assert not caplog.records


# --------------------------------------------------------------------------- a caller's own code


class Stop(BaseException):
    """Not an Exception, like what ends a test early."""


@pytest.mark.parametrize("where", ["source", "async source", "on_settled", "async on_settled"])
@pytest.mark.parametrize("error", [Stop(), asyncio.CancelledError()], ids=["Stop", "cancelled"])
async def test_whatever_a_callers_code_raises(where: str, error: BaseException) -> None:
    """Whatever a caller's code raises reaches the caller, and nothing hangs."""

    def fail(*_: object) -> None:
        raise error

    async def fail_later(*_: object) -> None:
        raise error

    def source() -> Iterator[str]:
        yield number(0)
        raise error

    async def async_source() -> AsyncIterator[str]:
        yield number(0)
        raise error

    users: dict[str, Users] = {"source": source(), "async source": async_source()}
    told: dict[str, OnSettled] = {"on_settled": fail, "async on_settled": fail_later}
    async with asyncio.timeout(10):
        with pytest.raises(Stop if isinstance(error, Stop) else Incomplete):
            await block(Server(), users.get(where, numbers(30)), on_settled=told.get(where))


async def test_a_pace_that_gives_no_room() -> None:
    """A slot of an own pace for no user at all is one for one."""

    class Empty(FixedPace):
        @asynccontextmanager
        async def slot(self, *arguments: object, **more: object) -> AsyncIterator[Slot]:
            async with super().slot(*arguments, **more):
                yield Slot(0)

    server = Server()
    assert (await block(server, numbers(3), gate=Empty(1))).summary() == "3 done"
    assert [len(chunk) for chunk in server.asked] == [1, 1, 1]


async def test_a_pause_that_fails() -> None:
    """What the waiting before a retry raises ends the job like any other error."""

    async def fail(_: float) -> None:
        raise OSError

    server = Server(lambda *_: {number(0)[1:]: failed(139103)})
    batcher = Batcher(Sender(server.transact, retry=attrs.evolve(quick(), sleep=fail), pace=pace()))
    with pytest.raises(Incomplete) as caught:
        await batcher.run(Operation.BLOCK, numbers(2))

    assert isinstance(caught.value.error, OSError)
    assert caught.value.report.summary() == "1 done, 1 failed"


@pytest.mark.parametrize("sized", [True, False])
async def test_reading_on_takes_no_longer_than_that(
    sized: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a job that is aborted a list is read to its end, what may be endless for a while."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.0)
    server = Server(lambda *_: asyncio.sleep(3600))
    batcher = Batcher(Sender(server.transact, retry=quick(), pace=pace(), chunk_size=10))
    users: Users = numbers(5000) if sized else (number(n) for n in itertools.count())
    with pytest.raises(Incomplete) as caught:
        await batcher.run(Operation.BLOCK, users, time_limit=0.01)

    report = caught.value.report
    assert len(report) == 5000 if sized else 1000 <= len(report) < 1_000_000
