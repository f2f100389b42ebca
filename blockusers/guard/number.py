"""`GuardedNumber`: the client and the drain of one business number that a guard looks after."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final, cast

from blockusers.client import Client
from blockusers.guard.answers import Answer
from blockusers.guard.deny_list import DenyList
from blockusers.guard.drain import Drain, OnFull, OnResults
from blockusers.guard.intents import Intent, Rank, Record
from blockusers.guard.status import NumberStatus
from blockusers.observe.logs import log
from blockusers.observe.observers import Observer, Observers
from blockusers.values.errors import BlockUsersError, TransportError
from blockusers.values.outcome import Operation, Outcome, Status, why
from blockusers.values.report import Incomplete

_LOG: Final = logging.getLogger("blockusers")


class GuardedNumber:
    """One business number: its client and its drain."""

    def __init__(
        self,
        client: Client,
        deny_list: DenyList,
        *,
        on_full: OnFull,
        on_settled: OnResults,
        observers: Iterable[Observer],
    ) -> None:
        self.client = client
        self.observers = Observers(client.account.phone_number_id, "", (log, *observers))
        self._deny_list = deny_list
        self._on_full: OnFull = on_full
        self._on_settled = on_settled
        self.make_drain()

    def make_drain(self) -> None:
        """Make a new drain; one that was closed does not run again."""
        self.drain = Drain(
            self.client.account.phone_number_id,
            self._deny_list.store,
            self._carry_out,
            self._denied_by,
            self.client.request_timeout,
            self._on_full,
            self.observers,
            self._on_settled,
        )

    async def _denied_by(self, known: Record | Intent) -> str | None:
        verdict = await self._deny_list.recognize(known.ids, known.phone_number_id)
        return None if verdict.entry is None else verdict.entry.user

    async def _carry_out(
        self, operation: Operation, users: Sequence[str], rank: Rank
    ) -> Sequence[Answer]:
        if rank is Rank.BULK:
            return await self._as_job(operation, users)
        call = self.client.block_one
        if operation is Operation.UNBLOCK:
            call = self.client.unblock_one
        answers = await asyncio.gather(*map(call, users), return_exceptions=True)
        return [_expected(each) for each in answers]

    async def _as_job(self, operation: Operation, users: Sequence[str]) -> Sequence[Answer]:
        work = self.client.block if operation is Operation.BLOCK else self.client.unblock
        try:
            return await work(users)
        except Incomplete as incomplete:
            error = _expected(incomplete.error)
            return [
                error if each.status is Status.REMAINING else each for each in incomplete.report
            ]

    async def status(self) -> NumberStatus:
        """Return what is being done for the number."""
        store, drain = self._deny_list.store, self.drain
        counts = await store.counts(self.client.account.phone_number_id)
        waited = None if counts.oldest is None else max(0.0, store.clock() - counts.oldest)
        return NumberStatus(
            drain.state.value,
            drain.reason,
            counts.blocks,
            counts.unblocks,
            counts.blocked,
            waited,
        )


def _expected(answer: Outcome | BaseException) -> Answer:
    """Return *answer*; of an error of an unknown kind one that is tried again, and log it."""
    if isinstance(answer, Outcome | BlockUsersError):
        return answer
    reason = why(cast("Exception", answer))
    _LOG.error("guard: a request failed: %s", reason)
    return TransportError(reason)
