"""`Changes`: lets tasks wait until a store has changed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any


class Changes:
    """Lets tasks of any event loop wait until the store has changed."""

    def __init__(self) -> None:
        self.count = 0
        """How many changes there were."""
        self._lock = threading.Lock()
        self._waiters: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}

    def note(self) -> None:
        """Wake all who wait; called in any thread."""
        with self._lock:
            self.count += 1
            waiters, self._waiters = self._waiters, {}
        for waiter, loop in waiters.items():
            call_in(loop, _wake, waiter)

    async def wait(self, seen: int, seconds: float) -> None:
        """Return when there have been more than *seen* changes, or after so many seconds."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        with self._lock:
            if self.count != seen:
                return
            self._waiters[waiter] = loop
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiters.pop(waiter, None)


def _wake(waiter: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):  # it was cancelled
        waiter.set_result(None)


def call_in(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], argument: Any) -> None:
    """Call something in an event loop that may be another thread's, or closed."""
    with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits any more
        loop.call_soon_threadsafe(call, argument)
