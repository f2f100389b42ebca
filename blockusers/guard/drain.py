"""Carries out the intents of one business number, page by page, until the guard is closed.

One drain works on a number at a time, whatever the number of processes; the store sees to that.
A page is sent as one request where the server permits it, and noted in the store before.  So what
was on its way when a process died is known to the next one, and sent again: to block somebody twice
does no harm.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Literal, TypeAlias

import attrs

from blockusers.guard.answers import (
    NO_ROOM,
    Answer,
    is_full,
    is_invalid,
    refuses_all,
    result_of,
    wait_after,
)
from blockusers.guard.intents import Intent, Rank, Record, Result
from blockusers.guard.stores.protocol import Queue, Store, StoreUnavailable
from blockusers.observe.events import DrainChanged, IntentsAnswered
from blockusers.observe.observers import Observers
from blockusers.values.outcome import Operation, why

_LOG: Final = logging.getLogger("blockusers")

PAGE: Final = 1000
"""Most intents that are carried out at once: as many as fit into a request."""
PAUSE: Final = 60.0
"""Seconds after which a paused number is tried again."""
_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 600.0
_RECHECKED_AT_ONCE: Final = 500
_OF_A_LIST: Final = 100
"""More unblocks at once than this come from a list; they go behind people who have just written."""
_MOST_EVICTED: Final = 1000
_TRIED_FOR: Final = 24 * 3600.0
"""Seconds for which it is tried to unblock somebody."""

TOO_LATE: Final = "the message is older than 24 hours, after which nobody can be blocked"
NOT_DENIED: Final = "not on the deny list any more"

_AT_ONCE: Final = (Rank.MAKE_ROOM, Rank.SINGLE)

OnFull: TypeAlias = Literal["evict", "stop"]

CarryOut: TypeAlias = Callable[[Operation, Sequence[str], Rank], Awaitable[Sequence[Answer]]]
"""Blocks or unblocks users; returns for each the outcome, or the error of the request."""

OnResults: TypeAlias = Callable[[Sequence[Result]], object]
"""Takes what became of some intents."""


class State(enum.Enum):
    """What a drain is doing."""

    WAITING = "waiting"
    """Another process drains the number, or the store is not available."""
    DRAINING = "draining"
    """It carries out intents, and waits for more."""
    PAUSED = "paused"
    """The server refuses all requests, for a reason that people have to remove."""
    FULL = "full"
    """The blocklist is full, and there is nobody to evict."""


@attrs.define
class Budget:
    """How many requests one page may cost: enough to find some users that the server rejects."""

    requests: int = 40


@attrs.define(eq=False)
class Drain:
    """The drain of one business number."""

    phone_number_id: str
    """The number."""
    store: Store
    """Where its intents are."""
    carry_out: CarryOut
    """Sends the requests."""
    denied_by: Callable[[Record | Intent], Awaitable[str | None]]
    """Returns the key of the entry that still denies somebody, or None."""
    late: float
    """Seconds for which a request without an answer may still take effect."""
    on_full: OnFull = "evict"
    """What is done when the blocklist is full."""
    observers: Observers = attrs.field(factory=Observers)
    """Who is told of what was answered, and of pauses."""
    on_settled: OnResults = lambda _: None
    """Called with the results of each page, once they are written down."""
    state: State = attrs.field(default=State.WAITING, init=False)
    """What it is doing."""
    reason: str = attrs.field(default="", init=False)
    """Why it does not drain; empty if it does."""
    _closing: bool = attrs.field(default=False, init=False)
    _page_in_hand: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _list_in_hand: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _look_at_lists: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _full_in_a_row: int = attrs.field(default=0, init=False)

    async def run(self) -> None:
        """Carry out intents until `close` is called, or the task is cancelled."""
        while not self._closing:
            try:
                async with self.store.queue(self.phone_number_id) as queue:
                    self._is(State.DRAINING)
                    await self._work_off(queue)
            except* Exception as errors:
                error = _first(errors)
                if not isinstance(error, StoreUnavailable):
                    _LOG.error("guard: %s: %s", self.phone_number_id, why(error))
                self._is(State.WAITING, why(error))
                await asyncio.sleep(_WAIT)

    async def close(self, within: float) -> None:
        """Take no further page, and wait for the one that is on its way, for so many seconds."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                async with self._page_in_hand, self._list_in_hand:
                    pass

    async def _work_off(self, queue: Queue) -> None:
        async with asyncio.TaskGroup() as group:
            lists = group.create_task(self._work_off_lists(queue))
            while not self._closing:
                began = self.store.clock()
                async with self._page_in_hand:
                    rechecked = await self._recheck(queue)
                    page = await queue.take(PAGE, self.late, _AT_ONCE)
                    is_refused = await self._carry_out(queue, page)
                self._look_at_lists.set()
                if is_refused:
                    await self._wait(queue, began + PAUSE)
                elif not page and not rechecked:
                    await self._wait_until_due(queue)
            lists.cancel()

    async def _work_off_lists(self, queue: Queue) -> None:
        """Carry out what comes from long lists, beside people who have just written."""
        while True:
            async with self._list_in_hand:
                page = [] if self._closing else await queue.take(PAGE, self.late, [Rank.BULK])
                is_refused = await self._carry_out(queue, page)
            if is_refused:
                await self._wait_for_lists(self.store.clock() + PAUSE, at_most=False)
            elif not page:
                due = await queue.due_at([Rank.BULK])
                await self._wait_for_lists(math.inf if due is None else due, at_most=True)

    async def _wait_for_lists(self, until: float, *, at_most: bool) -> None:
        """Wait until a moment, or, at most so long, until the store has changed."""
        while (left := until - self.store.clock()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LONGEST_WAIT)):
                    await self._look_at_lists.wait()
            self._look_at_lists.clear()
            if at_most:
                return

    async def _wait_until_due(self, queue: Queue) -> None:
        due = await queue.due_at(_AT_ONCE)
        if due is None and self.state is not State.DRAINING:
            counts = await self.store.counts(self.phone_number_id)
            if counts.oldest is None:  # nothing is left of what it was stopped for
                self._is(State.DRAINING)
        await queue.wait(_LONGEST_WAIT if due is None else max(0.0, due - self.store.clock()))

    async def _wait(self, queue: Queue, until: float) -> None:
        """Wait until a moment, whatever else happens in the store."""
        while not self._closing and (left := until - self.store.clock()) > 0:
            await queue.wait(left)

    def _is(self, state: State, reason: str = "") -> None:
        changed = state is not self.state
        self.state, self.reason = state, reason
        if changed:
            self.observers.tell(DrainChanged(state.value, reason))

    # ------------------------------------------------------------------ who is not denied any more

    async def _recheck(self, queue: Queue) -> bool:
        """Want to unblock some whom the guard has blocked and nothing denies any more."""
        records = await queue.rechecks(_RECHECKED_AT_ONCE)
        keys = await asyncio.gather(*map(self.denied_by, records))
        denied = {each.person: key for each, key in zip(records, keys, strict=True) if key}
        allowed = [each for each, key in zip(records, keys, strict=True) if not key]
        rank = Rank.SINGLE if len(allowed) <= _OF_A_LIST else Rank.BULK
        if records:
            await queue.rechecked(denied, [self._unblock(each, rank) for each in allowed])
        return bool(records)

    def _unblock(self, known: Record | Intent, rank: Rank) -> Intent:
        return Intent(
            known.phone_number_id,
            known.person,
            Operation.UNBLOCK,
            known.user,
            ids=known.ids,
            wrote_at=self.store.clock(),
            not_after=self.store.clock() + _TRIED_FOR,
            rank=rank,
        )

    # ------------------------------------------------------------------ one page

    async def _carry_out(self, queue: Queue, page: Sequence[Intent]) -> bool:
        """Send a page, and note the answers; return whether the server refuses all requests."""
        page = await self._drop_needless(queue, page)
        if not page:
            return False
        answers = await self._answers(page, Budget())
        full = [each.person for each, answer in zip(page, answers, strict=True) if is_full(answer)]
        room_after = await self._make_room(queue, full)
        now = self.store.clock()
        results = [
            result_of(intent, answer, now, room_after=room_after)
            for intent, answer in zip(page, answers, strict=True)
        ]
        await self._settle(queue, results)
        self._report(page[0].operation, results, answers)
        return self.state is State.PAUSED

    async def _settle(self, queue: Queue, results: Sequence[Result]) -> None:
        await queue.settle(results)
        try:
            self.on_settled(results)
        except Exception as error:
            _LOG.warning("guard: on_settled failed: %s", why(error))

    async def _drop_needless(self, queue: Queue, page: Sequence[Intent]) -> Sequence[Intent]:
        """Settle what is too late, and blocks of people whom nothing denies any more."""
        now = self.store.clock()
        expired = [each for each in page if each.not_after is not None and each.not_after < now]
        results = [Result(each, reason=TOO_LATE, lost=each.uncertain) for each in expired]
        blocks = (each for each in page if each.entry and each.operation is Operation.BLOCK)
        asked = [each for each in blocks if each not in expired]
        denied = await asyncio.gather(*map(self.denied_by, asked))
        allowed = [each for each, entry in zip(asked, denied, strict=True) if entry is None]
        if not expired and not allowed:
            return page
        # An earlier request of theirs may have taken effect, or still may.
        unblocks = [self._unblock(each, Rank.SINGLE) for each in allowed if each.uncertain]
        await self.store.want(unblocks, {})
        results += [Result(each, reason=NOT_DENIED) for each in allowed]
        await self._settle(queue, results)
        dropped = {each.intent.person for each in results}
        return [each for each in page if each.person not in dropped]

    async def _answers(self, page: Sequence[Intent], budget: Budget) -> list[Answer]:
        """Return the answers; halve a page that is refused as a whole, to find out for whom."""
        budget.requests -= 1
        users = [each.user for each in page]
        answers = list(await self.carry_out(page[0].operation, users, page[0].rank))
        invalid = [index for index, answer in enumerate(answers) if is_invalid(answer)]
        middle = (len(invalid) + 1) // 2
        for half in (invalid[:middle], invalid[middle:]):
            if len(invalid) > 1 and budget.requests > 0:
                found = await self._answers([page[index] for index in half], budget)
                for index, answer in zip(half, found, strict=True):
                    answers[index] = answer
        # Room for some does not help a page of more, where the server refuses it as a whole.
        if self._full_in_a_row and len(page) > 1 and all(map(is_full, answers)):
            answers[: len(page) // 2] = await self._answers(page[: len(page) // 2], budget)
        return answers

    async def _make_room(self, queue: Queue, full: Sequence[str]) -> float | None:
        """Evict those whom the guard blocked longest ago.

        Returns:
            In how many seconds there will be room; None if nobody can be evicted.
        """
        if not full:
            self._full_in_a_row = 0
            return None
        self._full_in_a_row += 1
        if self.on_full == "stop":
            return None
        own = (await self.store.counts(self.phone_number_id)).blocked
        count = min(_MOST_EVICTED, max(len(full), own // 10))
        if not await queue.make_room(count, full):
            return None
        return 0.0 if self._full_in_a_row == 1 else wait_after(self._full_in_a_row - 2)

    def _report(
        self, operation: Operation, results: Sequence[Result], answers: Sequence[Answer]
    ) -> None:
        done = sum(each.done for each in results)
        put_off = sum(each.retry_at is not None for each in results)
        failed = len(results) - done - put_off
        self.observers.tell(IntentsAnswered(operation.value, done, failed, put_off))
        refusal = next(filter(refuses_all, answers), None)
        if refusal is None and len(answers) > 1 and all(map(is_invalid, answers)):
            refusal = answers[0]  # whoever is named, so it is not about one of them
        if refusal is not None:
            self._is(State.PAUSED, str(refusal))
        elif any(each.reason == NO_ROOM for each in results):
            self._is(State.FULL, NO_ROOM)
        else:
            self._is(State.DRAINING)


def _first(error: Exception) -> Exception:
    """Return the first error of a group, or of a group in it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
