"""Random histories: whatever is called, fails or is closed, the order of each user holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from blockusers import (
    BlockUsersError,
    ClientClosed,
    Fault,
    Incomplete,
    Operation,
    Outcome,
    RateLimited,
    RequestTimeout,
    Status,
)
from blockusers.jobs.batch import Batcher
from blockusers.jobs.coalesce import Coalescer
from blockusers.jobs.sender import Sender
from blockusers.jobs.user_order import UserOrder
from blockusers.values.columns import Verdict, Verdicts
from blockusers.values.users import Identifiers
from tests.support import Clock, columns, numbers, pace, quick

USERS = numbers(4)
REQUEST_TIMEOUT = 10.0
LOST = RequestTimeout("lost")
LIMITED = RateLimited("slow down", 130429, status=400)
ASKS_TO_WAIT = RateLimited("come back later", 130429, status=400, retry_after=1000.0)
FLAKY = Verdict(Status.FAILED, faults=(Fault(139103, "internal"),))
TOO_LATE = Verdict(Status.FAILED, faults=(Fault(131047, "too late"),))


@attrs.frozen
class Action:
    """A call of *users*, single if it is one of them."""

    operation: Operation
    users: tuple[str, ...]
    after: int
    """How many turns of the event loop later it is made."""
    cancelled_after: int | None
    stalls: str
    """Whether a job's source makes it wait for each user, or for ever after the last."""


@attrs.frozen
class Close:
    """The client is closed, and opened again."""

    when: float
    """Seconds from now; all requests that hang end with their timeout at that instant."""


calls = st.builds(
    Action,
    operation=st.sampled_from(Operation),
    users=st.lists(st.sampled_from(USERS), min_size=1, max_size=4, unique=True).map(tuple),
    after=st.integers(0, 6),
    cancelled_after=st.none() | st.none() | st.integers(0, 12),
    stalls=st.sampled_from(["no", "slowly", "for ever"]),
)
closes = st.builds(Close, st.sampled_from([0.0, REQUEST_TIMEOUT]))
answers = st.sampled_from(
    [
        *["done"] * 3,
        *["limited", "asks to wait", "flaky", "late"],
        *["lost", "lost after", "lost, then takes effect", "hangs", "hangs, then takes effect"],
    ]
)


@attrs.define
class World:
    """A server that answers as scripted, and what was drawn and answered, in order."""

    clock: Clock
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
            if kind.startswith("hangs"):
                await self.hang()
            return self._answer(kind, operation, list(users.keys))
        finally:
            self.in_flight -= keys

    async def hang(self) -> None:
        timed_out: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def time_out() -> None:
            if not timed_out.done():
                timed_out.set_result(None)

        self.clock.call_later(REQUEST_TIMEOUT, time_out)
        await timed_out

    def _answer(self, kind: str, operation: Operation, keys: list[str]) -> Verdicts:
        if kind == "limited":
            raise LIMITED
        if kind == "asks to wait":
            raise ASKS_TO_WAIT
        if kind.endswith("then takes effect"):
            late = 0.9 * REQUEST_TIMEOUT
            self.clock.call_later(late, lambda: self._apply(operation, set(keys)))
        if kind in {"lost", "hangs"} or kind.endswith("then takes effect"):
            raise LOST
        verdicts = {key: Verdict(Status.DONE, wa_id=key) for key in keys}
        if kind in {"flaky", "late"}:
            verdicts[keys[0]] = FLAKY if kind == "flaky" else TOO_LATE
        self._apply(operation, {key for key in keys if verdicts[key].status is Status.DONE})
        if kind == "lost after":
            raise LOST
        return columns(verdicts[key] for key in keys)

    def _apply(self, operation: Operation, keys: set[str]) -> None:
        block = operation is Operation.BLOCK
        self.blocked = self.blocked | keys if block else self.blocked - keys

    def draw(self, operation: Operation, users: Sequence[str]) -> Iterator[str]:
        """Yield users, and note when each is drawn."""
        for user in users:
            self.note(operation, user)
            yield user

    def note(self, operation: Operation, user: str) -> list[Any]:
        entry: list[Any] = [operation, None]
        self.history[user[1:]].append(entry)
        return entry


@attrs.define
class Player:
    """Makes the calls of a history, and notes what comes back."""

    world: World
    single: Coalescer
    jobs: Batcher

    async def play(self, action: Action) -> None:
        """Carry out one action; note what came back for each user that was drawn."""
        for _ in range(action.after):
            await asyncio.sleep(0)
        if len(action.users) > 1:
            await self._play_job(action)
            return
        entry = self.world.note(action.operation, action.users[0])
        try:
            entry[1] = await self.single.call(action.operation, action.users[0])
        except BlockUsersError as error:
            entry[1] = error

    async def _play_job(self, action: Action) -> None:
        mine: dict[str, list[Any]] = {}

        def drawn() -> Iterator[str]:
            for user in self.world.draw(action.operation, action.users):
                mine[user[1:]] = self.world.history[user[1:]][-1]
                yield user

        async def drawn_slowly() -> AsyncIterator[str]:
            for user in drawn():
                yield user
                for _ in range(20):
                    await asyncio.sleep(0)
            if action.stalls == "for ever":
                await asyncio.sleep(3600)

        try:
            source = drawn() if action.stalls == "no" else drawn_slowly()
            report = await self.jobs.run(action.operation, source)
        except Incomplete as early:
            report = early.report
        assert {outcome.input[1:] for outcome in report} == set(mine)
        for outcome in report:
            mine[outcome.input[1:]][1] = outcome

    def close(self) -> None:
        """End everything there is."""
        error = ClientClosed("closed")
        self.single.abort(error)
        self.jobs.abort(error)


def final_state(history: list[list[Any]]) -> bool | None:
    """Return whether the user must be blocked at the end; None if nobody can know."""
    for operation, came in reversed(history):
        if isinstance(came, Outcome) and came.status is Status.DONE:
            return bool(operation is Operation.BLOCK)
        harmless = isinstance(came, Outcome) and came.status is Status.FAILED and not came.uncertain
        if not harmless and not (isinstance(came, Outcome) and came.status is Status.REMAINING):
            return None
    return False


async def play(actions: list[Action | Close], script: list[tuple[str, int]]) -> World:
    clock = Clock()
    world = World(clock, list(script))
    sender = Sender(
        world.transact,
        pace=pace(2, clock),
        order=UserOrder(REQUEST_TIMEOUT, clock=clock, call_later=clock.call_later),
        retry=quick(clock, attempts=3),
    )
    single = Coalescer(sender, max_queued=99)
    player = Player(world, single, Batcher(attrs.evolve(sender, chunk_size=2)))
    flowing = asyncio.create_task(clock.flow())
    tasks = []
    for action in actions:
        if isinstance(action, Close):
            clock.call_later(action.when, player.close)
            continue
        task = asyncio.create_task(player.play(action))
        tasks.append(task)
        if action.cancelled_after is not None:
            for _ in range(action.cancelled_after):
                await asyncio.sleep(0)
            task.cancel()
    stuck = any(isinstance(action, Action) and action.stalls == "for ever" for action in actions)
    async with asyncio.timeout(30):
        for task in [] if stuck else tasks:
            with suppress(asyncio.CancelledError):
                await task
        for _ in range(2000 if stuck else 0):
            await asyncio.sleep(0)
        player.close()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await single.wait_ended(within=5)
        while clock.calls:
            await asyncio.sleep(0)
    flowing.cancel()
    await asyncio.wait({flowing})
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return world


@given(
    st.lists(calls | calls | calls | closes, min_size=1, max_size=8),
    st.lists(st.tuples(answers, st.integers(0, 4)), max_size=12),
)
def test_any_history(actions: list[Action | Close], script: list[tuple[str, int]]) -> None:
    """Whatever is called, cancelled, closed or lost: the newest certain operation decides.

    Every caller gets one answer, and no two requests in flight ever name one user.
    """
    world = asyncio.run(play(actions, script))

    for key, history in world.history.items():
        expected = final_state(history)
        assert expected is None or (key in world.blocked) == expected
