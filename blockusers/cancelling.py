"""Tells a cancellation that somebody asked for from one that merely passes by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


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
        if task is None or task.cancelling():
            raise
        raise RuntimeError("something that was awaited was cancelled") from None
