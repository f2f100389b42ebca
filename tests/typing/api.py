"""Never run: typical use, for the type checkers to agree with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import assert_type

import aiohttp

from blockusers import (
    Account,
    AdaptivePace,
    BlockedUser,
    Client,
    Fault,
    FixedPace,
    Incomplete,
    Operation,
    Outcome,
    Pace,
    PaceState,
    Page,
    Priority,
    Report,
    RetryPolicy,
    Slot,
    Status,
)
from blockusers.sandbox import Rules, Sandbox


async def current_token() -> str:
    return "token"


async def later() -> AsyncIterator[str]:
    yield "+16505551234"


async def note(outcomes: tuple[Outcome, ...]) -> None:
    for outcome in outcomes:
        assert_type(outcome.status, Status)


async def use(session: aiohttp.ClientSession) -> None:
    Account("1", lambda: "token")
    account = Account(phone_number_id="1", access_token=current_token, app_secret=None)
    settings = RetryPolicy(attempts=3, timeout=None)
    pace = FixedPace(4, per_second=2.5)
    async with Client(account, session=session, retry=settings, pace=pace) as client:
        assert_type(client.pace.state, PaceState)
    async with Client(account, pace=AdaptivePace(max_in_flight=8)):
        report = await client.block(["+16505551234", 16505551234], on_settled=note)
        assert_type(report, Report)
        assert_type(report.operation, Operation)
        assert_type(report.faults_by_code, dict[int | str, tuple[Outcome, ...]])
        assert_type(report[0].fault, Fault | None)
        assert_type(report[1:], tuple[Outcome, ...])
        assert_type(report.get("+16505551234"), Outcome | None)
        heard: list[Outcome] = []
        await client.unblock(later(), on_settled=heard.extend)
        try:
            await client.block(report.remaining)
        except Incomplete as early:
            await client.block(early.report.unknown)
        async for user in client.blocked(page_size=100):
            assert_type(user, BlockedUser)
        async for page in client.blocked_pages(after="x"):
            assert_type(page, Page)
        assert_type(await client.snapshot(), tuple[BlockedUser, ...])
        await client.unblock(await client.snapshot())


async def sandboxed() -> None:
    with Sandbox(Rules(window=None)) as sandbox:
        client = Client(Account(**sandbox.credentials))
        await client.open()
        await client.close()
        assert_type(sandbox.blocklist(), frozenset[str])
    async with Sandbox():
        pass


class OwnPace:
    """A pace of a caller's own: one request at a time."""

    max_in_flight = 1
    adapts = False

    def __init__(self) -> None:
        self.listeners: set[Callable[[PaceState, PaceState], object]] = set()
        self._lock = asyncio.Lock()

    @property
    def state(self) -> PaceState:
        return PaceState("own", None, 1000, None, int(self._lock.locked()), 0, 0)

    @asynccontextmanager
    async def slot(
        self, priority: Priority = Priority.BULK, *, again: bool = False
    ) -> AsyncGenerator[Slot]:
        async with self._lock:
            yield Slot(max_users=1000)


def own_pace() -> Pace:
    Client(Account("1", "token"), pace=OwnPace())
    return OwnPace()


async def wrong(client: Client) -> None:
    await client.block(5)  # type: ignore[arg-type]
    Account(1, "token")  # type: ignore[arg-type]
    Client()  # type: ignore[call-arg]
