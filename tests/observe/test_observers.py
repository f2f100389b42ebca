"""What a client tells its observers, and when."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator

import pytest

from blockusers import (
    Account,
    Client,
    Event,
    Incomplete,
    JobEnded,
    JobStarted,
    Outcome,
    PaceChanged,
    RateLimited,
    RequestEnded,
    RequestSent,
    Retrying,
    ServiceError,
    Status,
    UsersSettled,
)
from blockusers.observe.observers import Observers
from blockusers.sandbox import Rules, Sandbox, glitches
from tests.support import Clock, adaptive, number, numbers, quick

LIMITED = Rules(window=None, rate=50, burst=3)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


@pytest.fixture
def events() -> list[Event]:
    return []


def client_of(sandbox: Sandbox, events: list[Event], **settings: object) -> Client:
    """Return a client that writes down what it tells."""
    settings = {"retry": quick(), "chunk_size": 10, "observers": [events.append]} | settings
    return Client(Account(**sandbox.credentials), **settings)


def only(kind: type, events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, kind)]


async def test_a_job(sandbox: Sandbox, events: list[Event]) -> None:
    """A job tells of its start, of each request and its end, of who is settled, and of its end."""
    async with client_of(sandbox, events) as client:
        events.clear()
        report = await client.block([*numbers(24), "4915131047", "0151"])

    assert Counter(map(type, events)) == {
        JobStarted: 1,
        JobEnded: 1,
        RequestSent: 3,
        RequestEnded: 3,
        UsersSettled: 3,
    }
    assert events[0] == JobStarted(
        "block", phone_number_id=client.account.phone_number_id, job=events[0].job
    )
    assert isinstance(events[-1], JobEnded)
    assert events[-1].report is report
    assert events[-1].error is None
    tally = sum((Counter(event.tally) for event in only(UsersSettled, events)), Counter())
    assert tally == {
        (Status.DONE, None): 24,
        (Status.FAILED, 131047): 1,
        (Status.FAILED, None): 1,
    }


async def test_requests_come_in_pairs(sandbox: Sandbox, events: list[Event]) -> None:
    """The end of a request carries the number and the users of its start, and its HTTP status."""
    async with client_of(sandbox, events) as client:
        await client.unblock(numbers(25))

    sent = {event.request: event for event in only(RequestSent, events)}
    assert len(sent) == 3
    path = f"v25.0/{client.account.phone_number_id}/block_users"
    assert {event.url for event in sent.values()} == {f"{sandbox.url}/{path}"}
    for event in only(RequestEnded, events):
        start = sent.pop(event.request)
        assert (event.operation, event.users) == (start.operation, start.users)
        assert start.method == "DELETE"
        assert event.status == 200
        assert event.seconds > 0
    assert not sent


async def test_jobs_are_told_apart(sandbox: Sandbox, events: list[Event]) -> None:
    """Events of a job carry its number; single calls, even from within a job, carry none."""
    async with client_of(sandbox, events) as client:

        async def single(_: tuple[Outcome, ...]) -> None:
            await client.unblock_one(number(50))

        await asyncio.gather(
            client.block(numbers(10)), client.block(numbers(30)[20:], on_settled=single)
        )
        async for _ in client.blocked():
            pass

    jobs = {event.job for event in only(JobStarted, events)}
    assert len(jobs) == 2
    numbered = Counter((event.operation, event.job in jobs) for event in only(RequestSent, events))
    assert numbered == {("block", True): 2, ("unblock", False): 1, ("list", False): 2}
    settled = Counter((event.operation, event.job in jobs) for event in only(UsersSettled, events))
    assert settled == {("block", True): 2, ("unblock", False): 1}


@pytest.mark.parametrize("call", ["block", "block_one", "snapshot"])
async def test_retries(sandbox: Sandbox, events: list[Event], call: str) -> None:
    """Each retry is told, with its reason and the wait."""
    sandbox.glitch(glitches.html(503), at=1)
    arguments = {"block": [numbers(3)], "block_one": [number(1)], "snapshot": []}[call]
    async with client_of(sandbox, events) as client:
        await getattr(client, call)(*arguments)

    (retry,) = only(Retrying, events)
    assert retry.operation == ("list" if call == "snapshot" else "block")
    assert isinstance(retry.error, ServiceError)
    assert retry.wait == 0.5
    first, second = only(RequestEnded, events)
    assert first.error is retry.error
    assert first.status == 503
    assert second.error is None


async def test_the_pace(events: list[Event], clock: Clock) -> None:
    """A client tells what its pace is at first, and each change of it."""
    with Sandbox(LIMITED, clock=clock) as sandbox:
        async with client_of(sandbox, events, pace=adaptive(clock), chunk_size=1) as client:
            await client.block(numbers(20))

    first, *changes = only(PaceChanged, events)
    assert (first.before, first.state.mode) == ("start", "start")
    modes = [(event.before, event.state.mode) for event in changes]
    assert ("start", "hold") in modes
    assert [mode for _, mode in modes][:-1] == [before for before, _ in modes][1:]


async def test_a_shared_pace(events: list[Event], clock: Clock) -> None:
    """Clients that share a pace are each told of it, as long as they are open."""
    pace, later = adaptive(clock), list[Event]()
    with Sandbox(LIMITED, clock=clock) as sandbox:
        async with client_of(sandbox, later, pace=pace, chunk_size=1) as client:
            async with client_of(sandbox, events, pace=pace):
                pass
            await client.block(numbers(20))

    assert len(only(PaceChanged, events)) == 1
    assert len(only(PaceChanged, later)) > 1


async def test_an_early_end(sandbox: Sandbox, events: list[Event]) -> None:
    """The end of a job that ended early carries the error and the report."""
    sandbox.glitch(glitches.answer(400, {"error": {"code": 130429}}), at=range(1, 9))
    async with client_of(sandbox, events, retry=quick(timeout=0)) as client:
        with pytest.raises(Incomplete) as raised:
            await client.block(numbers(3))

    (end,) = only(JobEnded, events)
    assert end.error is raised.value
    assert end.report is raised.value.report
    assert {type(event.error) for event in only(RequestEnded, events)} == {RateLimited}
    assert events[-2].tally == {(Status.REMAINING, None): 3}


async def test_cancellation(sandbox: Sandbox, events: list[Event]) -> None:
    """A cancelled job and its request are told to have ended so."""
    sandbox.glitch(glitches.hang_before())
    async with client_of(sandbox, events) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.block(numbers(3))

    request, settled, job = events[-3:]
    assert isinstance(request.error, asyncio.CancelledError)
    assert settled.tally == {(Status.UNKNOWN, None): 3}
    assert isinstance(job.error, asyncio.CancelledError)
    assert job.report is None


async def test_a_failing_observer(
    sandbox: Sandbox, events: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    """What an observer raises is logged, and hurts neither the job nor other observers."""

    def fail(event: Event) -> None:
        raise LookupError

    async with client_of(sandbox, events, observers=[fail, events.append]) as client:
        assert (await client.block_one(number(1))).ok
        assert len(await client.snapshot()) == 1

    assert len(only(RequestEnded, events)) == 3  # the list ends with an empty page
    assert len(caplog.records) == len(events)
    (message,) = {record.message for record in caplog.records}
    assert re.fullmatch(
        rf"an observer failed: LookupError \({re.escape(__file__)}:[0-9]+\)", message
    )


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LookupError("no row for +1 650 555 1234"), "LookupError: no row for +1 65…34"),
        (Unspeakable(), "Unspeakable: <Unspeakable>"),
    ],
    ids=repr,
)
def test_the_log_of_a_failing_observer(
    error: Exception, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The record says what went wrong and where; it holds no number, not even as a traceback."""

    def fail(event: Event) -> None:
        raise error

    Observers(observers=[fail]).tell(JobStarted("block"))

    (record,) = caplog.records
    line = fail.__code__.co_firstlineno + 1
    assert record.message == f"an observer failed: {text} ({__file__}:{line})"
    assert record.exc_info is None
    assert "5551234" not in caplog.text


async def an_async_function(event: Event) -> None:
    """Nobody would await it."""


@pytest.mark.parametrize("observer", [an_async_function, "print"])
def test_observers_are_plain_functions(sandbox: Sandbox, observer: object) -> None:
    """What cannot be called at once is refused when the client is made."""
    with pytest.raises(TypeError, match="^observers: must be plain functions"):
        client_of(sandbox, [], observers=[observer])


# --------------------------------------------------------------------------- the log


async def test_the_log(events: list[Event], caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    """Each event is a record with its line and its values; ends, faults and modes are at INFO."""
    caplog.set_level(logging.DEBUG, "blockusers")
    with Sandbox(LIMITED, clock=clock) as sandbox:
        sandbox.glitch(glitches.html(503), at=1)
        async with client_of(sandbox, events, pace=adaptive(clock), chunk_size=1) as client:
            await client.block(numbers(20))

    assert [record.message for record in caplog.records] == [str(event) for event in events]
    for record, event in zip(caplog.records, events, strict=True):
        values = {"blockusers.event": type(event).__name__, **event.attributes()}
        assert values.items() <= vars(record).items()
    loud = {
        type(event).__name__: str(event)
        for record, event in zip(caplog.records, events, strict=True)
        if record.levelno == logging.INFO
    }
    assert loud.keys() == {"JobEnded", "Retrying", "PaceChanged"}
    assert "ServiceError" in loud["Retrying"]
    modes = [event for event in only(PaceChanged, events) if event.before != event.state.mode]
    assert len([r for r in caplog.records if r.levelno == logging.INFO]) == len(modes) + 2


async def test_the_log_is_silent_by_default(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level that Python starts with, a job that goes well writes nothing."""
    async with Client(Account(**sandbox.credentials)) as client:
        await client.block(numbers(3))

    assert not caplog.records
