"""`ReportingStore`: a store that says what became of each person whom a guard was to block."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeAlias, cast

from blockusers.guard.intents import Intent, Result
from blockusers.guard.stores.protocol import Queue, Store
from blockusers.values.errors import known
from blockusers.values.masking import mask
from blockusers.values.outcome import Operation

Report: TypeAlias = Callable[[Result, float | None], object]
"""Told what became of an intent, and how many seconds ago this process heard of the message."""

_REASONS: Final = {
    "expired": "the message is older than 24 hours",
    "full": "the blocklist is full; somebody is unblocked for them",
}


class ReportingStore:
    """A store that does what another does, and reports when the intent of somebody was answered.

    Args:
        store: The other.
        report: Told of each answer.
        clock: Measures how long it took.
        remembered: Of how many people the time of the message is remembered.
    """

    def __init__(
        self,
        store: Store,
        report: Report,
        *,
        clock: Callable[[], float] = time.perf_counter,
        remembered: int = 100_000,
    ) -> None:
        self._store = store
        self._report = report
        self._time = clock
        self._remembered = remembered
        self._wanted: dict[tuple[str, str], float] = {}
        """When an intent was first wanted, by number and person; oldest first."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def __aenter__(self) -> Self:
        """Open it; see `Store.__aenter__`."""
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close it."""
        await self._store.__aexit__(*error)

    async def want(self, intents: Iterable[Intent], aliases: Mapping[str, str]) -> Sequence[Intent]:
        """Write intents; see `Store.want`."""
        began = self._time()
        wanted = await self._store.want(intents, aliases)
        for intent in wanted:
            self._wanted.setdefault((intent.phone_number_id, intent.person), began)
        while len(self._wanted) > self._remembered:  # those that other processes carry out
            del self._wanted[next(iter(self._wanted))]
        return wanted

    @asynccontextmanager
    async def queue(self, phone_number_id: str) -> AsyncGenerator[Queue]:
        """Hold the queue of a number; see `Store.queue`."""
        async with self._store.queue(phone_number_id) as queue:
            yield cast("Queue", _ReportingQueue(queue, self._tell))

    def _tell(self, result: Result) -> None:
        key = result.intent.phone_number_id, result.intent.person
        began = self._wanted.get(key)
        if result.retry_at is None:
            self._wanted.pop(key, None)
        self._report(result, None if began is None else self._time() - began)


class _ReportingQueue:
    """The queue of one number, which tells of what is settled."""

    def __init__(self, queue: Queue, tell: Callable[[Result], None]) -> None:
        self._queue = queue
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    async def settle(self, results: Iterable[Result]) -> None:
        """Note what became of intents; see `Queue.settle`."""
        settled = tuple(results)
        await self._queue.settle(settled)
        for result in settled:
            self._tell(result)


def in_words(result: Result, seconds: float | None) -> str:
    """Say in a line what became of somebody."""
    verb = "blocked" if result.intent.operation is Operation.BLOCK else "unblocked"
    who = mask(result.intent.user)
    if result.done:
        after = "" if seconds is None else f" after {seconds * 1000:,.0f} ms"
        return f"{who} {verb}{after}"
    why = _REASONS.get(result.reason, result.reason)
    if result.reason.isdecimal() and (code := known(int(result.reason))):
        why = f"{code.meaning} ({result.reason})"
    later = "" if result.retry_at is None else "; it will be tried again"
    return f"{who} not {verb}: {why}{later}"
