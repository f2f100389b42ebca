"""Who waits for a user that a job holds: the job sends it, whatever its source is doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from blockusers import Fault, FixedPace, Operation, Outcome, RequestTimeout, Status
from blockusers.jobs.batch import Batcher
from blockusers.jobs.coalesce import Coalescer
from blockusers.jobs.sender import Sender
from blockusers.jobs.user_order import UserOrder
from blockusers.observe.events import Event, RequestSent
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.columns import Verdict
from tests.support import Clock, Server, number, numbers, pace, quick
from tests.test_client import client_of

BLOCK, UNBLOCK = Operation.BLOCK, Operation.UNBLOCK
FLAKY = Verdict(Status.FAILED, faults=(Fault(139103, "internal"),))
REQUEST_TIMEOUT = 30.0


@attrs.define
class Stalling:
    """A source that gives its users, and then nothing for as long as the test lasts."""

    users: list[str]
    has_stalled: asyncio.Event = attrs.field(factory=asyncio.Event)
    goes_on: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def __aiter__(self) -> AsyncIterator[str]:
        for user in self.users:
            yield user
        self.has_stalled.set()
        await self.goes_on.wait()


def taking(most: Callable[[], int]) -> FixedPace:
    """Return a pace whose requests, one at a time, may name so many users."""

    class Small(FixedPace):
        @asynccontextmanager
        async def slot(self, *arguments: Any, **more: Any) -> AsyncIterator[Any]:
            async with super().slot(*arguments, **more) as slot:
                slot.max_users = most()
                yield slot

    return Small(1)


class Setting:
    """A job and single calls on one server, in virtual time."""

    def __init__(self, server: Server, **settings: Any) -> None:
        self.server, self.clock = server, Clock()
        order = UserOrder(REQUEST_TIMEOUT, clock=self.clock, call_later=self.clock.call_later)
        settings = {"pace": pace(2), "retry": quick(), "order": order} | settings
        sender = Sender(server.transact, **settings)
        self.jobs, self.single = Batcher(sender), Coalescer(sender, max_queued=10_000)

    @asynccontextmanager
    async def stalled(self, users: list[str]) -> AsyncIterator[Stalling]:
        """Run a job of blocking whose source stalls behind *users*."""
        source = Stalling(users)
        job = asyncio.create_task(self.jobs.run(BLOCK, source))
        async with asyncio.timeout(10):
            await source.has_stalled.wait()
            yield source
            source.goes_on.set()
            assert (await job).summary() == f"{len(users)} done"


# --------------------------------------------------------------------------- stalled sources


async def test_drawn_and_not_sent() -> None:
    """Who was drawn, and waits for a full chunk, is sent."""
    setting = Setting(Server())
    async with setting.stalled(numbers(2)):
        assert (await setting.single.call(UNBLOCK, number(1))).ok

    assert setting.server.blocked == {number(0)[1:]}


async def test_drawn_behind_another_operation() -> None:
    """Who was drawn while another operation was in flight is sent after that."""
    answer = asyncio.Event()

    async def late() -> None:
        await answer.wait()

    setting = Setting(Server(lambda count, _: late() if count == 1 else None))
    before = asyncio.create_task(setting.single.call(UNBLOCK, number(1)))
    await asyncio.sleep(0.001)
    async with setting.stalled(numbers(2)):
        after = asyncio.create_task(setting.single.call(UNBLOCK, number(1)))
        await asyncio.sleep(0.001)
        answer.set()
        assert (await after).ok
    await before

    assert len(setting.server.asked) == 3
    assert setting.server.blocked == {number(0)[1:]}


async def test_failed_for_a_transient_reason() -> None:
    """Who failed with 139103, and waits to be sent again, is sent again."""
    server = Server(lambda count, keys: {keys[0]: FLAKY} if count == 1 else None)
    setting = Setting(server, chunk_size=2)
    async with setting.stalled(numbers(3)) as source:
        del source
        assert (await setting.single.call(UNBLOCK, number(0))).ok

    assert server.asked[1] == (number(0)[1:],)
    assert server.blocked == {number(1)[1:], number(2)[1:]}


async def test_put_back_for_a_smaller_slot() -> None:
    """Who was put back because the slot took fewer users is sent in the next."""
    setting = Setting(Server(), pace=taking(lambda: 2), chunk_size=3)
    async with setting.stalled(numbers(3)):
        assert (await setting.single.call(UNBLOCK, number(2))).ok

    assert setting.server.blocked == {number(0)[1:], number(1)[1:]}


async def test_cut_off_by_a_smaller_slot() -> None:
    """Who was in a full chunk, of which the request took fewer, does not wait for another one."""
    setting = Setting(Server(), pace=taking(lambda: 2), chunk_size=5)
    async with setting.stalled(numbers(5)):
        while len(setting.server.blocked) < 5:
            await asyncio.sleep(0)

    assert [len(keys) for keys in setting.server.asked] == [2, 2, 1]


async def test_cut_off_when_sent_again() -> None:
    """Who was cut off a chunk that was sent again follows in the next."""
    server = Server(lambda count, keys: dict.fromkeys(keys, FLAKY) if count == 1 else None)
    setting = Setting(server, pace=taking(lambda: 2 if server.asked else 1000), chunk_size=5)
    async with setting.stalled(numbers(5)):
        while len(server.blocked) < 5:
            await asyncio.sleep(0)

    assert [len(keys) for keys in server.asked] == [5, 2, 2, 1]


async def test_retried_when_the_source_has_stalled() -> None:
    """Who failed with 139103 does not wait for a source that has stalled, though nobody asks."""
    server = Server(lambda count, keys: {keys[0]: FLAKY} if count == 1 else None)
    setting = Setting(server, chunk_size=2)
    async with setting.stalled(numbers(2)):
        while len(server.asked) < 2:
            await asyncio.sleep(0)

    assert server.asked == [(number(0)[1:], number(1)[1:]), (number(0)[1:],)]


async def test_retries_share_a_request() -> None:
    """While the source goes on, those who failed with 139103 wait for each other."""
    server = Server(lambda count, keys: {keys[0]: FLAKY} if count <= 3 else None)
    setting = Setting(server, chunk_size=4, pace=pace(1))
    report = await setting.jobs.run(BLOCK, prompt(20))

    assert report.summary() == "20 done"
    assert [len(keys) for keys in server.asked] == [4, 4, 4, 4, 4, 3]


async def test_retries_do_not_wait_for_an_endless_source() -> None:
    """Those who failed with 139103 are sent again as soon as they fill a request of their own."""
    server = Server(lambda count, keys: {keys[0]: FLAKY} if count <= 4 else None)
    setting = Setting(server, chunk_size=4, pace=pace(1))
    await setting.jobs.run(BLOCK, prompt(400))

    again = [tuple(key) for key in server.asked[:4]]
    assert server.asked.index(tuple(keys[0] for keys in again)) < 20


async def prompt(count: int) -> AsyncIterator[str]:
    for name in numbers(count):
        await asyncio.sleep(0)
        yield name


async def test_a_source_that_awaits_such_a_call() -> None:
    """A source may await single calls on the users that it gave, whatever became of them."""
    server = Server(lambda count, keys: {keys[0]: FLAKY} if count == 1 else None)
    setting = Setting(server, chunk_size=2)

    async def source() -> AsyncIterator[str]:
        yield number(0)
        yield number(1)
        yield number(2)
        for user in numbers(3):
            assert (await setting.single.call(UNBLOCK, user)).ok

    async with asyncio.timeout(10):
        report = await setting.jobs.run(BLOCK, source())

    assert report.summary() == "3 done"
    assert server.blocked == set()


async def test_many_who_wait_add_no_tasks() -> None:
    """However many wait for users of a stalled job, it has no more workers than its pace allows."""
    setting = Setting(Server())
    most = 0
    async with setting.stalled(numbers(500)):
        before = len(asyncio.all_tasks())
        for user in numbers(500):
            call = asyncio.create_task(setting.single.call(UNBLOCK, user))
            assert (await call).ok
            most = max(most, len(asyncio.all_tasks()) - before)

    assert most <= 4


async def test_a_source_that_goes_on_behind_a_cancelled_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job that is cancelled draws nobody any more, though its `on_settled` takes its time."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.01)
    setting = Setting(Server(), chunk_size=2)
    told, cancelled = asyncio.Event(), asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield number(1)
        yield number(2)
        try:
            await told.wait()
            await cancelled.wait()
        except asyncio.CancelledError:
            pass
        yield number(3)
        await asyncio.sleep(3600)

    async def tell(outcomes: tuple[Outcome, ...]) -> None:
        told.set()
        await asyncio.sleep(3600)

    job = asyncio.create_task(setting.jobs.run(BLOCK, source(), tell))
    await told.wait()
    job.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    cancelled.set()
    await asyncio.wait({job})
    async with asyncio.timeout(10):
        for user in numbers(4):
            assert (await setting.single.call(UNBLOCK, user)).ok


# --------------------------------------------------------------------------- lost answers


@pytest.mark.parametrize("in_a_job", [True, False])
async def test_a_lost_attempt_before_an_answered_one(in_a_job: bool) -> None:
    """After a lost attempt an opposite operation waits, though the retry was answered."""
    setting = Setting(Server(lambda count, _: RequestTimeout("lost") if count == 1 else None))
    block = (
        setting.jobs.run(BLOCK, [number(1)]) if in_a_job else setting.single.call(BLOCK, number(1))
    )
    await block
    assert len(setting.server.asked) == 2
    unblock = asyncio.create_task(setting.single.call(UNBLOCK, number(1)))
    again = asyncio.create_task(setting.jobs.run(UNBLOCK, [number(1), number(2)]))
    await asyncio.sleep(0.001)
    assert setting.server.asked[2:] in ([], [(number(2)[1:],)])

    setting.clock.advance(REQUEST_TIMEOUT)
    assert (await unblock).ok
    assert (await again).summary() == "2 done"


# --------------------------------------------------------------------------- over real HTTP


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


@pytest.mark.parametrize("user", [number(1), "+4915131139103", number(20)])
async def test_single_calls_from_on_settled(sandbox: Sandbox, user: str) -> None:
    """`on_settled` may await single calls, on whatever user of its own job."""
    seen: list[bool] = []
    async with client_of(sandbox, pace=FixedPace(1)) as client:

        async def note(_: tuple[Outcome, ...]) -> None:
            seen.append((await client.unblock_one(user)).ok)

        async with asyncio.timeout(10):
            report = await client.block([*numbers(25), "+4915131139103"], on_settled=note)

    assert len(report.succeeded) == 26
    assert all(seen)
    assert user[1:] not in sandbox.blocklist()


async def test_single_calls_from_the_source(sandbox: Sandbox) -> None:
    """A source may await single calls, even on users that it has just handed in."""
    async with client_of(sandbox) as client:

        async def source() -> AsyncIterator[str]:
            yield number(1)
            assert (await client.unblock_one(number(1))).ok
            yield number(2)

        async with asyncio.timeout(10):
            report = await client.block(source())

    assert report.summary() == "2 done"
    assert sandbox.blocklist() == {number(2)[1:]}


async def test_single_call_beside_a_stalled_source(sandbox: Sandbox) -> None:
    """Who waits for a user of a job whose source has stalled does not wait for the source."""
    stalled = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield number(1)
        yield number(2)
        stalled.set()
        await asyncio.sleep(3600)

    async with client_of(sandbox) as client:
        job = asyncio.create_task(client.block(source()))
        await stalled.wait()
        async with asyncio.timeout(10):
            assert (await client.unblock_one(number(1))).ok
        assert sandbox.blocklist() == {number(2)[1:]}

        call = asyncio.create_task(client.unblock_one(number(2)))
        job.cancel()
        assert (await call).ok
        with pytest.raises(asyncio.CancelledError):
            await job


async def test_events_name_their_job(sandbox: Sandbox) -> None:
    """What a job sends because somebody waits is told under its own number."""
    events: list[Event] = []
    source = Stalling(numbers(2))
    async with client_of(sandbox, observers=[events.append]) as client:

        async def other_job() -> None:
            assert (await client.unblock([number(0)])).summary() == "1 done"
            assert (await client.unblock_one(number(1))).ok

        job = asyncio.create_task(client.block(source))
        await source.has_stalled.wait()
        async with asyncio.timeout(10):
            await other_job()
        source.goes_on.set()
        await job

    sent = [event for event in events if isinstance(event, RequestSent)]
    assert [(event.operation, event.users, event.job is None) for event in sent] == [
        ("block", 2, False),
        ("unblock", 1, False),
        ("unblock", 1, True),
    ]
    assert sent[0].job != sent[1].job
