"""Reports outcomes to the caller's `on_settled`, as they become final."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from blockusers._tools.cancellation import no_foreign_cancellation
from blockusers.jobs.sender import Sender
from blockusers.jobs.state import JobState
from blockusers.values.outcome import Outcome

_LOG: Final = logging.getLogger("blockusers")

OnSettled: TypeAlias = Callable[[tuple[Outcome, ...]], object]
"""Called, and awaited if it is async, with outcomes as they become final; never twice at once."""


class Notifier:
    """Calls `on_settled` with what has become final, one call at a time.

    The job goes on meanwhile: an async function may wait for single calls on users of the job.
    """

    def __init__(
        self,
        sender: Sender,
        state: JobState,
        on_settled: OnSettled | None,
        on_error: Callable[[BaseException], None],
    ) -> None:
        self._sender = sender
        self._state = state
        self._on_settled = on_settled
        self._on_error = on_error
        self._calling: asyncio.Future[object] | None = None
        self._call_ended = asyncio.Event()

    def announce(self) -> None:
        """Report what is final, now or once the call before has ended."""
        if self._calling is None:
            try:
                self._report()
            except BaseException as error:
                self._fail(error)

    def _report(self) -> None:
        indexes = self._state.unreported.copy()
        self._state.unreported.clear()
        self._sender.tell_settled(self._state, indexes)
        if indexes and self._on_settled is not None:
            with no_foreign_cancellation():
                result = self._on_settled(self._state.outcomes.at(indexes))
            if inspect.isawaitable(result):
                self._calling = asyncio.ensure_future(result)
                self._calling.add_done_callback(self._ended)

    def _ended(self, calling: asyncio.Future[object]) -> None:
        self._calling = None
        self._call_ended.set()
        if calling.cancelled():
            self._fail(RuntimeError("on_settled was cancelled"))
        elif (error := calling.exception()) is not None:
            self._fail(error)
        self.announce()

    def _fail(self, error: BaseException) -> None:
        self._on_settled = None
        self._on_error(error)

    async def finish(self) -> None:
        """Report all that is final, and wait until the last call has ended."""
        self.announce()
        try:
            while self._calling is not None:
                self._call_ended.clear()
                await self._call_ended.wait()
        finally:
            self._give_up()

    async def finish_within(self, seconds: float) -> None:
        """Do as `finish`, for at most *seconds*; errors are logged, for nobody gets a report."""
        self._on_error = _log_error
        self.end_within(seconds)
        await self.finish()

    def end_within(self, seconds: float) -> None:
        """Cancel a call that has not ended by then, and make no more."""
        asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        self._on_settled = None
        if self._calling is not None:
            self._calling.remove_done_callback(self._ended)
            self._calling.cancel()
            self._calling = None
            self._call_ended.set()


def _log_error(error: BaseException) -> None:
    # Its text may hold anybody's number.
    _LOG.warning("on_settled failed in a cancelled job: %s", type(error).__name__)
