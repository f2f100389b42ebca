"""Cancellation: whose it is, and how to end what other tasks are doing without cancelling them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager


@contextmanager
def no_foreign_cancellation() -> Iterator[None]:
    """Let a cancellation of this task pass; make a plain error of any other.

    Code of a caller's that awaits a cancelled task or future of its own raises `CancelledError` in
    a task that nobody cancelled.  asyncio would drop that task in silence, and with it the users
    that it was to account for.

    Raises:
        RuntimeError: Something was cancelled, but not this task.
    """
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("something that was awaited was cancelled") from None


class Scopes:
    """Parts of what tasks do that end when something is closed; the tasks go on behind them."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def until_closed(self) -> AsyncGenerator[None]:
        """Leave the block early, and without an error, when `close` is called."""
        scope = asyncio.timeout(None)
        self._open.add(scope)
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._open.discard(scope)

    def close(self) -> None:
        """End all that are open."""
        for scope in self._open:
            scope.reschedule(asyncio.get_running_loop().time())
        self._open.clear()
