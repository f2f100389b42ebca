"""Random histories of a deny list, its intents and a drain that crashes, against a plain model."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st

from blockusers import Fault, Operation, Outcome, Status
from blockusers.guard import DenyList, SqliteStore
from blockusers.guard.answers import Answer
from blockusers.guard.drain import Drain
from blockusers.guard.intents import Intent, Rank, Record
from blockusers.guard.stores.protocol import Queue
from tests.guard.support import block, pass_time
from tests.support import PHONE_NUMBER_ID, Clock

PEOPLE = ("16505550001", "16505550002")
LATE = 30.0
BLOCK = Operation.BLOCK
Step = tuple[str, str | float]


@attrs.define
class Server:
    """Holds each request until the history says what becomes of it."""

    clock: Clock
    blocked: set[str] = attrs.field(factory=set)
    request: tuple[Operation, Sequence[str]] | None = None
    answer: asyncio.Future[Sequence[Answer]] | None = None
    late: list[tuple[float, Operation, Sequence[str]]] = attrs.field(factory=list)
    """Requests without an answer that take effect at a moment."""
    waited_for: asyncio.Event = attrs.field(factory=asyncio.Event)
    """Set when the drain begins to wait: for an answer, or for something to do."""

    async def __call__(
        self, operation: Operation, users: Sequence[str], _: Rank
    ) -> Sequence[Answer]:
        self.request = operation, users
        self.answer = asyncio.get_running_loop().create_future()
        self.waited_for.set()
        return await self.answer

    def apply(self, operation: Operation, users: Sequence[str]) -> None:
        if operation is BLOCK:
            self.blocked.update(users)
        else:
            self.blocked.difference_update(users)

    def take_effect(self) -> None:
        """Let the request that is held take effect, before it is answered."""
        if self.request is not None:
            self.apply(*self.request)

    def end(self, how: str) -> None:
        """Let the request that is held take effect, fail, or get lost in one of three ways."""
        if self.request is None or self.answer is None:
            return
        operation, users = self.request
        if how in {"done", "lost after the effect"}:
            self.apply(operation, users)
        if how == "lost before a late effect":
            self.late.append((self.clock() + LATE, operation, users))
        status = {"done": Status.DONE, "transient": Status.FAILED}.get(how, Status.UNKNOWN)
        faults = (Fault(139103, "Internal error"),) if how == "transient" else ()
        self.request = None
        self.answer.set_result([Outcome(user, status, user, faults=faults) for user in users])

    def let_late_effects_happen(self) -> None:
        due = [each for each in self.late if each[0] <= self.clock()]
        self.late = [each for each in self.late if each[0] > self.clock()]
        for _, operation, users in due:
            self.apply(operation, users)


@attrs.define
class Model:
    """What has to be true in the end."""

    denied: set[str] = attrs.field(factory=lambda: set(PEOPLE))
    wrote: set[str] = attrs.field(factory=set)
    """Who was not blocked when they wrote, and was denied ever since."""
    either: set[str] = attrs.field(factory=set)
    """Who may be blocked or not: they were allowed and denied again since they wrote."""
    by_hand: set[str] = attrs.field(factory=set)
    """Whom somebody has unblocked by hand, which the guard cannot know."""

    def write(self, user: str) -> None:
        self.wrote.add(user)
        self.either.discard(user)
        self.by_hand.discard(user)

    def allow(self, user: str) -> None:
        self.denied.discard(user)
        self.wrote.discard(user)
        self.either.add(user)
        self.by_hand.discard(user)

    def unblock_by_hand(self, user: str) -> None:
        self.wrote.discard(user)
        self.either.discard(user)
        self.by_hand.add(user)


@attrs.define
class WatchedQueue:
    """A queue that tells when its drain has nothing to do."""

    queue: Queue
    world: World

    def __getattr__(self, name: str) -> object:
        return getattr(self.queue, name)

    async def wait(self, _: float) -> None:
        self.world.idle.set()
        self.world.server.waited_for.set()
        await self.world.change.wait()
        self.world.change.clear()
        self.world.idle.clear()


@attrs.define
class World:
    """A store, a server, and a drain between them."""

    store: SqliteStore
    clock: Clock
    server: Server
    idle: asyncio.Event = attrs.field(factory=asyncio.Event)
    change: asyncio.Event = attrs.field(factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    @asynccontextmanager
    async def queue(self, number: str) -> AsyncIterator[WatchedQueue]:
        async with self.store.queue(number) as queue:
            yield WatchedQueue(queue, self)

    async def denied_by(self, known: Record | Intent) -> str | None:
        found = await self.store.find(known.ids)
        return found[0].entry.user if found else None

    async def calm(self) -> None:
        """Wait until the drain waits for the server, or has nothing to do."""
        self.change.set()
        while self.server.request is None and (self.change.is_set() or not self.idle.is_set()):
            self.server.waited_for.clear()
            await self.server.waited_for.wait()

    def start(self) -> None:
        drain = Drain(PHONE_NUMBER_ID, self, self.server, self.denied_by, LATE)  # type: ignore[arg-type]
        self.task = asyncio.create_task(drain.run())

    async def crash(self, how: str) -> None:
        """Kill the drain; what it had sent takes effect now, later, or never."""
        request = self.server.request
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
            self.task = self.server.request = None
            self.idle.clear()
        if request is not None and how == "applied":
            self.server.apply(*request)
        if request is not None and how == "late":
            self.server.late.append((self.clock() + LATE, *request))


def _chances() -> list[Step]:
    """Return all steps, the more often the likelier they are to be taken."""
    steps: list[Step] = []
    for person in PEOPLE:
        steps += [("write", person)] * 4
        steps += [(what, person) for what in ("deny", "allow", "unblock by hand")] * 2
    steps += [("end", "done")] * 6
    steps += [("take effect", "")] * 2
    lost = ("lost", "lost after the effect", "lost before a late effect")
    steps += [("end", how) for how in ("transient", *lost)] * 2
    steps += [("crash", how) for how in ("applied", "late", "late", "never")]
    steps += [("pass", seconds) for seconds in (1.0, 10.0, LATE, 3600.0)]
    return steps


@given(st.lists(st.sampled_from(_chances()), min_size=10, max_size=40))
def test_histories(steps: list[Step]) -> None:
    """In the end all denied people who wrote are blocked, and nobody whom nothing denies."""
    asyncio.run(_play(steps))


async def _play(steps: list[Step]) -> None:
    clock = Clock(1000.0)
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(Path(folder) / "deny.db", clock=clock) as store:
            await DenyList(store).add(PEOPLE)
            world, model = World(store, clock, Server(clock)), Model()
            world.start()
            for what, how in steps:
                await _step(world, model, what, how)
                if world.task is None:
                    world.start()
                await world.calm()
            await _settle(world)

            assert world.server.blocked - model.either == (model.denied & model.wrote)
            assert world.server.blocked <= model.denied
            counts = await store.counts(PHONE_NUMBER_ID)
            assert counts.blocked - len(world.server.blocked) == len(model.by_hand)
            await world.crash("never")


async def _step(world: World, model: Model, what: str, how: str | float) -> None:
    server, clock, deny_list = world.server, world.clock, DenyList(world.store)
    match what, how:
        case "deny", str(user):
            await deny_list.add([user])
            model.denied.add(user)
        case "allow", str(user):
            await deny_list.remove([user])
            model.allow(user)
        case "write", str(user) if user not in server.blocked:
            clock.now += 1
            if user in model.denied:
                await world.store.want([block(user, clock())], {})
                model.write(user)
        case "unblock by hand", str(user) if user in server.blocked and await _is_quiet(world):
            server.blocked.discard(user)
            model.unblock_by_hand(user)
        case "take effect", _:
            server.take_effect()
        case "end", str(kind):
            server.end(kind)
        case "crash", str(kind):
            await world.crash(kind)
        case "pass", float(seconds):
            await pass_time(clock, world.store, seconds)
            server.let_late_effects_happen()


async def _is_quiet(world: World) -> bool:
    counts = await world.store.counts(PHONE_NUMBER_ID)
    return counts.oldest is None and not world.server.late


async def _settle(world: World) -> None:
    """Let everything succeed and time pass until nothing is open."""
    while True:
        await world.calm()
        if world.server.request is not None:
            world.server.end("done")
            continue
        if await _is_quiet(world):
            return
        await pass_time(world.clock, world.store, LATE)
        world.server.let_late_effects_happen()
