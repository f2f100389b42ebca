"""How a command runs and ends: exit codes, signals, closed pipes, errors in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Coroutine, Iterator, Mapping
from typing import IO, Any, Final, TypeVar

import typer

from blockusers.lists.sync import TooManyRemovals
from blockusers.values.errors import BlockUsersError
from blockusers.values.masking import mask_all

T = TypeVar("T")

ALL_DONE: Final = 0
SOME_NOT: Final = 1
USAGE: Final = 2
ENDED_EARLY: Final = 3
INTERRUPTED: Final = 130

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class UsageError(Exception):
    """The command cannot start like this; the message says what to change."""


class Interrupted(Exception):
    """Somebody pressed Ctrl-C, or the system asks the process to end."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run *work* to its end.

    Raises:
        Interrupted: By SIGINT or SIGTERM; *work* was cancelled.
    """
    try:
        return asyncio.run(_until_terminated(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        # All that is left is to say how it ended; a second Ctrl-C must not cut that short.
        _handle_signals(dict.fromkeys(_SIGNALS, signal.SIG_IGN))
        raise Interrupted from None
    finally:
        work.close()  # in case it has not even begun


async def _until_terminated(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine runs in a task
    # Windows lets no loop handle signals, and threads have none. SIGINT is ours too, because a
    # shell starts its background jobs with it ignored, and Python leaves that so.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    return await work


def _cancel_once(task: asyncio.Task[Any]) -> None:
    # Some send their signal twice, `timeout` for one.
    if not task.cancelling():
        task.cancel()


def _handle_signals(handlers: Mapping[signal.Signals, Any]) -> None:
    with contextlib.suppress(ValueError):  # threads have no signals
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def plain_words(*, debug: bool) -> Iterator[None]:
    """Turn what the block raises into a line on stderr and an exit code.

    Args:
        debug: Show where it was raised, too.
    """
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except typer.Exit:
        raise
    except (Interrupted, KeyboardInterrupt):
        _complain("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        _complain(describe(error))
        code = USAGE if isinstance(error, UsageError) else ENDED_EARLY
        raise typer.Exit(code) from None
    finally:
        _handle_signals(handlers)


def describe(error: Exception) -> str:
    """Say in one line what went wrong."""
    match error:
        case TooManyRemovals():
            return error.advising(f"--max-removals {error.removals}")
        case UsageError() | BlockUsersError():
            return str(error)
        case OSError(filename=str(name), strerror=str(why)):
            return f"{name}: {why}"
        case OSError(strerror=str(why)):
            return why
        case _:
            kind = type(error).__name__
            return f"a fault of blockusers itself: {mask_all(f'{kind}: {error}')}; see --debug"


def _complain(text: str) -> None:
    typer.echo(f"blockusers: {text}", err=True)


@contextlib.contextmanager
def leaving_reader() -> Iterator[None]:
    """End the block in silence when nobody reads stdout any more, as in `… | head`."""
    try:
        yield
    except BrokenPipeError:
        to_nowhere(sys.stdout)


def to_nowhere(stream: IO[str]) -> None:
    """Let what is written to *stream* vanish, so that its last flush does not fail either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
