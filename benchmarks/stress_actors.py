"""Random callers for `stress`: single calls, jobs and listings that collide on a few users.

Jobs are handed numbers with a `+`, single calls are handed them without, so that the server can
tell whose request it sees.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final

import attrs

from benchmarks.stress_checks import Call, History, Scripted
from benchmarks.stress_server import now
from blockusers import BlockUsersError, Client, Outcome

_JOBS_TAKE_A_TIMEOUT: Final = "timeout" in inspect.signature(Client.block).parameters
_CALLBACK_ENDS: Final = 1.5  # an async `on_settled` gets a second when its job is cancelled


@attrs.define(eq=False)
class Stage:
    """What the actors of a scenario share."""

    client: Client
    history: History
    users: list[str]
    tasks: set[asyncio.Task[Any]] = attrs.field(factory=set[Any])
    """The tasks that the scenario itself started."""
    calm: bool = False
    """Whether the scenario is at its end: token functions behave, nobody stalls."""
    closing: bool = False
    call_made: asyncio.Event = attrs.field(factory=asyncio.Event)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task of the scenario's own."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        return task

    def new_call(self, what: str, *, block: bool) -> Call:
        """Enter a call into the history."""
        call = Call(len(self.history.calls), what, block, now())
        self.history.calls.append(call)
        return call

    def draw(self, call: Call, user: str) -> None:
        """Note that the client draws a user now."""
        place = sum(len(each.drawn) for each in self.history.calls)
        call.drawn.setdefault(user, (place, now()))

    async def make(self, call: Call, start: Callable[[], Awaitable[object]]) -> object:
        """Make a call in the present task, and note how it ends."""
        call.started = now()
        self.call_made.set()
        try:
            call.result = await start()
        except BaseException as error:
            call.error = error
            raise
        finally:
            call.ended = now()
        return call.result

    def start_single(self, call: Call, user: str) -> Callable[[], Awaitable[Outcome]]:
        """Return what makes a single call."""

        def start() -> Awaitable[Outcome]:
            self.draw(call, user)
            one = self.client.block_one if call.block else self.client.unblock_one
            return one(user)

        return start

    async def single(self, user: str, *, block: bool) -> None:
        """Make a single call in the present task, which may be one of the client's."""
        call = self.new_call("single", block=block)
        call.details = "inside a job"
        await self.make(call, self.start_single(call, user))


class Actor:
    """A caller that does a few random things, one after the other or at the same time."""

    def __init__(self, stage: Stage, seed: str) -> None:
        self._stage = stage
        self._dice = random.Random(seed)
        self._timeout = stage.history.request_timeout

    async def act(self) -> None:
        """Do a few things."""
        for _ in range(self._dice.randint(1, 4)):
            await self._pause(1.5)
            if self._stage.calm:
                return
            made = self._do_something()
            if self._dice.random() < 0.6:
                await asyncio.wait(made)

    async def _pause(self, most: float) -> None:
        """Wait for up to so many request timeouts; often not at all, and often exactly one."""
        match self._dice.randrange(4):
            case 0:
                await asyncio.sleep(0)
            case 1:
                await asyncio.sleep(self._timeout)
            case _:
                await asyncio.sleep(self._dice.uniform(0, most) * self._timeout)

    def _user(self) -> str:
        return self._dice.choice(self._stage.users)

    def _chance(self, probability: float) -> bool:
        return self._dice.random() < probability

    def _do_something(self) -> list[asyncio.Task[None]]:
        user, block = self._user(), self._chance(0.5)
        match self._dice.choices(("single", "opposites", "job", "listing"), (8, 4, 6, 1))[0]:
            case "single":
                return [self._single(user, block=block)]
            case "opposites":
                first = self._single(user, block=block)
                return [first, self._single(user, block=not block)]
            case "job":
                return [self._job(block=block)]
            case _:
                call = self._stage.new_call("listing", block=False)
                return [self._spawn(call, self._stage.client.snapshot)]

    def _single(self, user: str, *, block: bool) -> asyncio.Task[None]:
        call = self._stage.new_call("single", block=block)
        return self._spawn(call, self._stage.start_single(call, user))

    # ----------------------------------------------------------------------- cancellation

    def _spawn(self, call: Call, start: Callable[[], Awaitable[object]]) -> asyncio.Task[None]:
        """Make a call in a task of its own, and sometimes cancel it or limit its time."""
        match self._dice.choices(("wait", "cancel", "limit"), (6, 2, 2))[0]:
            case "cancel":
                delay = self._dice.choice((0.0, self._dice.uniform(0, 2), 1.0)) * self._timeout
                return self._stage.spawn(self._cancelled(call, start, delay))
            case "limit":
                return self._stage.spawn(self._limited(call, start))
            case _:
                return self._stage.spawn(self._awaited(call, start))

    async def _awaited(self, call: Call, start: Callable[[], Awaitable[object]]) -> None:
        # What it raised is noted; the checks judge it.
        with suppress(BaseException):
            await self._stage.make(call, start)

    async def _cancelled(
        self, call: Call, start: Callable[[], Awaitable[object]], delay: float
    ) -> None:
        task = asyncio.current_task()

        def cancel() -> None:
            if task is not None and task.cancel():
                self._note_cancellation(call)

        timer = asyncio.get_running_loop().call_later(delay, cancel)
        call.details += f" cancelled after {delay * 1e3:.0f} ms"
        with suppress(BaseException):
            await self._stage.make(call, start)
        timer.cancel()

    async def _limited(self, call: Call, start: Callable[[], Awaitable[object]]) -> None:
        call.details += " inside asyncio.timeout"
        loop, fired = asyncio.get_running_loop(), list[float]()
        with suppress(BaseException):
            async with asyncio.timeout(self._timeout) as scope:
                # It is due right after the scope's own timer, and tells when that fired.
                timer = loop.call_later(self._timeout, lambda: fired.append(now()))
                try:
                    await self._stage.make(call, start)
                finally:
                    timer.cancel()
                    if scope.expired():
                        self._note_cancellation(call, *fired)

    def _note_cancellation(self, call: Call, moment: float | None = None) -> None:
        call.cancelled = now() if moment is None else moment
        call.must_end = call.cancelled + call.ends_within

    # ----------------------------------------------------------------------- jobs

    def _job(self, *, block: bool) -> asyncio.Task[None]:
        stage, dice = self._stage, self._dice
        call = stage.new_call("job", block=block)
        users = [self._user() for _ in range(dice.randint(1, 6))]
        source: Any
        if self._chance(0.5):
            call.handed_in = frozenset(users)
            source = self._plain(call, users)
        else:
            source = self._stalling(call, users, self._hindrance(call))
        options: dict[str, Any] = {"on_settled": self._callback(call, users)}
        if _JOBS_TAKE_A_TIMEOUT and self._chance(0.3):
            seconds = dice.choice((0.0, 1.0, dice.uniform(0, 3))) * self._timeout
            options["timeout"] = seconds
            call.details += f" timeout {seconds * 1e3:.0f} ms"
            call.must_end = now() + seconds + call.ends_within + self._timeout
        run = stage.client.block if block else stage.client.unblock
        return self._spawn(call, lambda: run(source, **options))

    def _plain(self, call: Call, users: list[str]) -> Iterator[str]:
        for user in users:
            self._stage.draw(call, user)
            yield f"+{user}"

    def _hindrance(self, call: Call) -> str:
        """Draw what stalls or ends a source after some of its users."""
        kinds = ("nothing", "pause", "never resume", "single", "raise")
        hindrance = self._dice.choices(kinds, (3, 4, 2, 3, 1))[0]
        call.may_hang = hindrance == "never resume"
        call.details += f" source: {hindrance}"
        return hindrance

    async def _stalling(self, call: Call, users: list[str], hindrance: str) -> AsyncIterator[str]:
        hindered = self._dice.randrange(len(users) + 1)
        for place, user in enumerate([*users, None]):
            if place == hindered:
                await self._hinder(hindrance, users)
            if user is not None:
                self._stage.draw(call, user)
                yield f"+{user}"

    async def _hinder(self, hindrance: str, users: list[str]) -> None:
        match hindrance:
            case "pause":
                await self._pause(3)
            case "never resume":
                await asyncio.Event().wait()
            case "single":
                await self._stage.single(self._dice.choice(users), block=self._chance(0.5))
            case "raise":
                raise Scripted("the source")

    def _callback(self, call: Call, users: list[str]) -> Callable[[object], object] | None:
        kinds = ("none", "quick", "pause", "single", "hang", "raise")
        kind = self._dice.choices(kinds, (6, 3, 2, 3, 1, 1))[0]
        call.details += f" on_settled: {kind}"
        if kind in ("pause", "single", "hang"):
            call.ends_within = _CALLBACK_ENDS

        async def callback(_: object) -> None:
            match kind:
                case "pause":
                    await self._pause(2)
                case "single":
                    with suppress(BlockUsersError):
                        user = self._dice.choice(users)
                        await self._stage.single(user, block=self._chance(0.5))
                case "hang":
                    call.may_hang = True
                    await asyncio.Event().wait()
                case _:
                    raise Scripted("on_settled")

        match kind:
            case "none":
                return None
            case "quick":
                return lambda _: None
            case _:
                return callback
