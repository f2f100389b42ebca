"""Closing a client: calls are answered, jobs and listings end, and nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count

import pytest

from blockusers import (
    Account,
    Client,
    ClientClosed,
    FixedPace,
    Incomplete,
    Outcome,
    PaceState,
    RetryPolicy,
    Status,
)
from blockusers.sandbox import Rules, Sandbox, glitches
from tests.support import number, numbers, quick
from tests.test_client import balance, client_of


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


async def received(sandbox: Sandbox, count: int = 1) -> None:
    """Wait until so many requests have come in."""
    while len(sandbox.requests) < count:
        await asyncio.sleep(0.001)


async def test_leaving_answers_who_waits(sandbox: Sandbox) -> None:
    """Leaving `async with` lets calls that were made be answered."""
    async with client_of(sandbox) as client:
        call = asyncio.create_task(client.block_one(number(1)))
        await asyncio.sleep(0)

    assert (await call).ok


async def test_leaving_by_an_exception_waits_for_nothing(sandbox: Sandbox) -> None:
    """When an exception leaves `async with`, calls that are not answered are closed at once."""
    sandbox.glitch(glitches.hang_before())
    client = client_of(sandbox, drain_timeout=60.0)
    call: asyncio.Future[Outcome]

    async def fail_meanwhile() -> None:
        nonlocal call
        async with client:
            call = asyncio.ensure_future(client.block_one(number(1)))
            await received(sandbox)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(fail_meanwhile(), 2)
    with pytest.raises(ClientClosed):
        await call
    with pytest.raises(ClientClosed, match="not open"):
        await client.block_one(number(1))


async def test_no_calls_while_closing(sandbox: Sandbox) -> None:
    """From the moment it is being closed, a client takes no more calls; opened again, it does."""
    sandbox.glitch(glitches.hang_before())
    client = await client_of(sandbox, drain_timeout=0.02).open()
    waiting = asyncio.create_task(client.block_one(number(1)))
    await received(sandbox)
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    with pytest.raises(ClientClosed):
        await client.block_one(number(2))
    await closing
    with pytest.raises(ClientClosed):
        await waiting
    async with client:
        assert (await client.block_one(number(2))).ok


async def test_not_open(sandbox: Sandbox) -> None:
    """A client that is not open says how to open it, at the call."""
    client = client_of(sandbox)
    with pytest.raises(ClientClosed, match="async with"):
        await client.block(numbers(1))
    with pytest.raises(ClientClosed):
        client.blocked()
    with pytest.raises(ClientClosed):
        await client.snapshot()
    await client.close()


async def test_open_and_close(sandbox: Sandbox) -> None:
    """Frameworks open and close it by hand, even more than once."""
    client = client_of(sandbox)
    for n in range(2):
        assert await client.open() is client
        await client.open()
        assert (await client.block([number(n)])).outcomes[0].ok
        await client.close()

    assert len(sandbox.blocklist()) == 2


async def test_closed_in_the_middle(sandbox: Sandbox) -> None:
    """A job whose client is closed meanwhile ends as Incomplete; nobody is lost."""
    sandbox.glitch(glitches.hang_before(), at=1)
    async with client_of(sandbox, retry=quick(attempts=2), drain_timeout=0.02) as client:
        job = asyncio.create_task(client.block(numbers(30)))
        await received(sandbox)
        await client.close()
        with pytest.raises(Incomplete) as caught:
            await job

    assert len(caught.value.report) == 30
    balance(caught.value.report, sandbox)


async def test_closed_while_it_waits(sandbox: Sandbox) -> None:
    """Closing ends jobs and listings that wait for the rate limit, or to try again."""
    refusal = {"error": {"code": 130429, "message": "slow down"}}
    sandbox.glitch(glitches.answer(429, refusal, headers={"Retry-After": "100"}), at=1)
    client = client_of(sandbox, pace=None)
    await client.open()
    job = asyncio.create_task(client.block(numbers(30)))
    while not client.pace.state.hold_for:
        await asyncio.sleep(0.005)
    listing = asyncio.create_task(client.snapshot())
    await asyncio.sleep(0)
    await client.close()

    async with asyncio.timeout(5):
        with pytest.raises(Incomplete) as caught:
            await job
        with pytest.raises(ClientClosed):
            await listing
    assert isinstance(caught.value.error, ClientClosed)
    assert len(caught.value.report) == 30
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closed_while_a_pool_waits(sandbox: Sandbox) -> None:
    """Closing ends a job that waits before it tries some users again."""
    retry = RetryPolicy(wait_initial=100, wait_max=100, random=lambda: 1.0)
    client = client_of(sandbox, retry=retry)
    await client.open()
    job = asyncio.create_task(client.block([number(1), "+4915131139103"]))
    while not client.pace.state.admitted:
        await asyncio.sleep(0.005)
    await client.close()

    async with asyncio.timeout(5):
        with pytest.raises(Incomplete) as caught:
            await job
    assert caught.value.report.summary() == "1 done, 1 failed"


async def never() -> str:
    await asyncio.sleep(3600)
    return ""


async def test_behind_a_token_function_that_hangs(sandbox: Sandbox) -> None:
    """Closing ends jobs, calls and listings that wait for the token; nothing was sent."""
    account = Account(**(sandbox.credentials | {"access_token": never}))
    client = await client_of(sandbox, account=account, drain_timeout=0.02).open()
    job = asyncio.create_task(client.block(numbers(30)))
    call = asyncio.create_task(client.block_one(number(77)))
    listing = asyncio.create_task(client.snapshot())
    await asyncio.sleep(0.01)
    await client.close()

    assert job.done()
    with pytest.raises(Incomplete) as caught:
        await job
    assert {outcome.status for outcome in caught.value.report} == {Status.REMAINING}
    for waiting in (call, listing):
        with pytest.raises(ClientClosed):
            await waiting
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_behind_an_on_settled_that_never_ends(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing ends a job whose `on_settled` does not come back."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.01)

    async def hang(outcomes: tuple[Outcome, ...]) -> None:
        await asyncio.sleep(3600)

    client = await client_of(sandbox, drain_timeout=0.02).open()
    job = asyncio.create_task(client.block(numbers(30), on_settled=hang))
    while client.pace.state.admitted < 3:
        await asyncio.sleep(0.001)
    await client.close()

    assert job.done()
    with pytest.raises(Incomplete) as caught:
        await job
    assert caught.value.report.summary() == "30 done"


async def test_behind_a_source_that_never_ends(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing ends a job whose source waits for ever, and does not even mind being cancelled."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.01)
    let_go = asyncio.Event()

    async def stubborn() -> AsyncIterator[str]:
        yield number(1)
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    client = await client_of(sandbox, drain_timeout=0.02).open()
    job = asyncio.create_task(client.block(stubborn()))
    await asyncio.sleep(0.01)
    await client.close()

    with pytest.raises(Incomplete) as caught:
        await job
    assert caught.value.report.summary() == "1 remaining"
    assert "goes on" in caplog.text
    let_go.set()


async def test_an_endless_iterable(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of an endless iterable ends, too: of those that were not sent it reads on so far."""
    monkeypatch.setattr("blockusers.jobs.batch._READ_ON", 5000)
    client = await client_of(sandbox, drain_timeout=0.02).open()
    job = asyncio.create_task(client.block(number(n) for n in count()))
    await received(sandbox)
    await client.close()

    with pytest.raises(Incomplete) as caught:
        await job
    report = caught.value.report
    assert 5000 <= len(report.remaining) < 6000


async def test_requests_on_the_wire_are_answered(sandbox: Sandbox) -> None:
    """Closing sends nothing more of a job, and waits for what is on the wire."""
    sandbox.glitch(glitches.slow(piece=100), at=1)
    client = await client_of(sandbox).open()
    job = asyncio.create_task(client.block(numbers(500)))
    await received(sandbox)
    await client.close()

    with pytest.raises(Incomplete) as caught:
        await job
    assert not caught.value.report.unknown
    assert len(sandbox.blocklist()) == len(caught.value.report.succeeded) > 0


async def test_a_finished_job_is_complete(sandbox: Sandbox) -> None:
    """A job that has nothing more to send when the client is closed ends as it would have."""
    at_work = asyncio.Event()

    async def note(outcomes: tuple[Outcome, ...]) -> None:
        at_work.set()
        await asyncio.sleep(0.05)

    client = await client_of(sandbox).open()
    job = asyncio.create_task(client.block(numbers(10), on_settled=note))
    await at_work.wait()
    await client.close()

    assert (await job).summary() == "10 done"


async def test_opened_while_it_is_closed(sandbox: Sandbox) -> None:
    """Opening a client that is being closed waits for that, and then works."""
    sandbox.glitch(glitches.hang_before(), at=1)
    client = await client_of(sandbox, drain_timeout=0.02).open()
    waiting = asyncio.create_task(client.block_one(number(1)))
    await received(sandbox)
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    await client.open()

    assert closing.done()
    with pytest.raises(ClientClosed):
        await waiting
    assert (await client.block_one(number(2))).ok
    await client.close()


async def test_a_close_that_is_cancelled(sandbox: Sandbox) -> None:
    """A close that is cancelled while it waits waits no longer, and everything has ended."""
    sandbox.glitch(glitches.hang_before(), at=1)
    client = await client_of(sandbox, drain_timeout=60.0).open()
    call = asyncio.create_task(client.block_one(number(1)))
    await received(sandbox)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await client.close()

    with pytest.raises(ClientClosed):
        await call
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("call", ["find", "sync"])
async def test_while_users_are_read(sandbox: Sandbox, call: str) -> None:
    """Closing ends what still reads the users that it was given."""

    async def stalled() -> AsyncIterator[str]:
        yield number(1)
        await asyncio.sleep(3600)

    client = await client_of(sandbox).open()
    reading = asyncio.create_task(getattr(client, call)(stalled()))
    await asyncio.sleep(0.01)
    await client.close()

    with pytest.raises(ClientClosed):
        await asyncio.wait_for(reading, 5)
    assert not sandbox.requests


async def test_while_a_listing_waits_to_start_again(sandbox: Sandbox) -> None:
    """Closing ends a listing that waits, for the list has changed under it."""
    retry = RetryPolicy(wait_initial=100, wait_max=100, random=lambda: 1.0)
    sandbox.glitch(glitches.answer(400, {"error": {"code": 139102}}), at=1)
    client = await client_of(sandbox, retry=retry).open()
    listing = asyncio.create_task(client.snapshot())
    while not client.pace.state.admitted:
        await asyncio.sleep(0.005)
    await client.close()

    with pytest.raises(ClientClosed):
        await asyncio.wait_for(listing, 5)


async def test_a_report_does_not_grow(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a source gives after its job has ended is in no report."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.01)
    let_go, gone = asyncio.Event(), asyncio.Event()

    async def stubborn() -> AsyncIterator[str]:
        yield number(1)
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()
        yield number(2)
        gone.set()

    async with client_of(sandbox) as client:
        with pytest.raises(Incomplete) as caught:
            await client.block(stubborn(), timeout=0.01)
        assert len(caught.value.report) == 1
        let_go.set()
        await asyncio.wait_for(gone.wait(), 5)

    assert len(caught.value.report) == 1


def test_on_one_loop_after_the_other(sandbox: Sandbox) -> None:
    """A client that is closed while it is busy can be opened and closed on another event loop."""
    sandbox.glitch(glitches.hang_before(), at=range(1, 10))
    client = client_of(sandbox, drain_timeout=0.02)
    rounds = count(1)

    async def use() -> None:
        await client.open()
        call = asyncio.create_task(client.block_one(number(1)))
        await received(sandbox, next(rounds))
        closing = [asyncio.create_task(client.close()) for _ in range(2)]
        await asyncio.gather(*closing)
        with pytest.raises(ClientClosed):
            await call

    for _ in range(2):
        asyncio.run(use())


async def test_an_open_that_fails(sandbox: Sandbox) -> None:
    """A client that cannot be opened, for its pace fails, leaves no session behind."""

    class Broken(FixedPace):
        @property
        def state(self) -> PaceState:
            raise OSError("the store of the pace is away")

    client = client_of(sandbox, pace=Broken(1))
    with pytest.raises(OSError, match="the store"):
        await client.open()
    with pytest.raises(ClientClosed, match="not open"):
        await client.block(numbers(1))


async def test_listings_ask_for_no_more(sandbox: Sandbox) -> None:
    """From the moment a client is being closed, a listing gets no further page."""
    sandbox.block(*(user[1:] for user in numbers(20)))
    client = await client_of(sandbox).open()
    pages = client.blocked_pages(page_size=10)
    await anext(pages)
    await client.close()
    with pytest.raises(ClientClosed):
        await anext(pages)

    assert len(sandbox.requests) == 1


def test_without_async() -> None:
    """`with` instead of `async with` says so."""
    with pytest.raises(TypeError, match="async with"):  # noqa: SIM117
        with Client(Account("1", "t")):  # type: ignore[attr-defined]
            pass
