"""Tells a task's own cancellation from others', and ends what other tasks are doing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Final


@contextmanager
def no_foreign_cancellation() -> Iterator[None]:
    """Pass a cancellation of this task on; turn any other into a `RuntimeError`.

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


GRACE: Final = 1.0
"""Seconds that a caller's own code (a source, an async `on_settled`) gets to end once it is to."""


class Running:
    """A set of things that are going on now, with a way to wait until all have ended."""

    def __init__(self) -> None:
        self._things: set[Any] = set()
        # Of whom waits now; one of longer life would belong to one event loop.
        self._none = asyncio.Event()

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._things))

    @contextmanager
    def note(self, thing: object) -> Iterator[None]:
        """Take *thing* to be going on inside the block."""
        self._things.add(thing)
        try:
            yield
        finally:
            self._things.discard(thing)
            if not self._things:
                self._none.set()

    async def wait_ended(self, within: float) -> None:
        """Wait until nothing is going on, for at most so many seconds."""
        if self._things and within > 0:
            self._none = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    await self._none.wait()


class Scopes(Running):
    """Parts of what tasks do that end when something is closed; the tasks go on behind them."""

    @asynccontextmanager
    async def until_closed(self) -> AsyncGenerator[None]:
        """Leave the block early, and without an error, when `close` is called."""
        scope = asyncio.timeout(None)
        with self.note(scope):
            try:
                async with scope:
                    yield
            except TimeoutError:  # one of ours that is one, too, passes unless we are closed
                if not scope.expired():
                    raise

    def close(self) -> None:
        """End all that are open."""
        for scope in self:
            if scope.when() is None:  # not told yet
                scope.reschedule(asyncio.get_running_loop().time())
