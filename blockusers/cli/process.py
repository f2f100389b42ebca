"""Runs a command and ends it: signals, exit codes, closed streams, and errors as one line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import IO, Any, Final, NoReturn, TypeVar

import attrs
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

_HURRY: Final = 0.05
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class UsageError(Exception):
    """The command cannot start like this; the message says what to change."""


class Interrupted(Exception):
    """Somebody pressed Ctrl-C, or the system asks the process to end."""


def exit_code(error: Exception | None, *, all_done: bool) -> int:
    """Return the exit code of a command that *error* has ended early, or nothing."""
    match error:
        case None:
            return ALL_DONE if all_done else SOME_NOT
        case Interrupted():
            return INTERRUPTED
        case UsageError():
            return USAGE
        case _:
            return ENDED_EARLY


def run(
    work: Coroutine[Any, Any, T],
    *,
    on_wait: Callable[[], object] | None = None,
    patience: float = 0.5,
) -> T:
    """Run *work* to its end.

    Args:
        work: What to do.
        on_wait: Called when *work* has not ended so many seconds after a signal. Then a second one
            ends it without waiting for anything; without *on_wait* there is no second one.
        patience: The seconds.

    Raises:
        Interrupted: By SIGINT or SIGTERM; *work* was cancelled.
    """
    try:
        return asyncio.run(_until_terminated(work, on_wait, patience))
    except (KeyboardInterrupt, asyncio.CancelledError):
        ignore_signals()
        raise Interrupted("interrupted") from None
    finally:
        work.close()  # in case it has not even begun


async def _until_terminated(
    work: Coroutine[Any, Any, T], on_wait: Callable[[], object] | None, patience: float
) -> T:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # a coroutine runs in a task
    loop = asyncio.get_running_loop()
    end = _End(loop, task, on_wait, patience)
    # Windows lets no loop handle signals, and threads have none. SIGINT is ours too, because a
    # shell starts its background jobs with it ignored, and Python does not change that.
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
        for number in _SIGNALS:
            loop.add_signal_handler(number, end.on_signal)
    return await work


@attrs.define
class _End:
    """Cancels a task on the first signal, and whatever it still waits for on a later one."""

    loop: asyncio.AbstractEventLoop
    task: asyncio.Task[Any]
    on_wait: Callable[[], object] | None
    patience: float
    is_waiting: bool = False

    def on_signal(self) -> None:
        # Some send their signal twice, `timeout` for one: that is no second one.
        if not self.task.cancelling():
            self.task.cancel()
            if self.on_wait is not None:
                self.loop.call_later(self.patience, self._wait, self.on_wait)
        elif self.is_waiting:
            self._hurry()

    def _wait(self, tell: Callable[[], object]) -> None:
        self.is_waiting = True
        tell()

    def _hurry(self) -> None:
        """Cancel it again and again, for each of its contexts may wait for something."""
        self.task.cancel()
        self.loop.call_later(_HURRY, self._hurry)


def ignore_signals() -> None:
    """Let no second Ctrl-C cut short what is left to do: to say how it ended."""
    _handle_signals(dict.fromkeys(_SIGNALS, signal.SIG_IGN))


def _handle_signals(handlers: Mapping[signal.Signals, Any]) -> None:
    with contextlib.suppress(ValueError):  # threads have no signals
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def error_boundary(*, debug: bool, as_json: bool = False) -> Iterator[None]:
    """Turn what the block raises into a line on stderr and an exit code.

    Args:
        debug: Show where it was raised, too.
        as_json: Print it on stdout as well, as a JSON object.
    """
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except typer.Exit:
        raise
    except BrokenPipeError:
        raise typer.Exit(ALL_DONE) from None
    except KeyboardInterrupt:
        _end(Interrupted("interrupted"), as_json=as_json)
    except Exception as error:
        if debug and not isinstance(error, Interrupted):
            typer.echo(printable(mask_all(traceback.format_exc())), nl=False, err=True)
        _end(error, as_json=as_json)
    finally:
        _handle_signals(handlers)


def _end(error: Exception, *, as_json: bool) -> NoReturn:
    typer.echo(f"blockusers: {printable(describe(error))}", err=True)
    if as_json:
        with contextlib.suppress(OSError):
            emit(json.dumps({"error": error_object(error)}))
    raise typer.Exit(exit_code(error, all_done=False)) from None


def describe(error: BaseException) -> str:
    """Say in one line what went wrong. Some of our own errors are an `OSError` as well."""
    match error:
        case TooManyRemovals():
            return error.advising(f"--max-removals {error.removals}")
        case UsageError() | Interrupted() | BlockUsersError():
            return str(error)
        case OSError(filename=str(name)):
            return f"{name}: {reason_of(error)}"
        case OSError(strerror=str()):
            return reason_of(error)
        case _:
            text = mask_all(f"{type(error).__name__}: {error}").removesuffix(": ")
            return f"internal error: {text}; --debug shows where"


def reason_of(error: OSError) -> str:
    """Return the system's words, such as `no space left on device`."""
    words = error.strerror or type(error).__name__
    return words[0].lower() + words[1:]


def error_object(error: BaseException) -> dict[str, Any]:
    """Return *error* as plain values for JSON."""
    return {
        "type": type(error).__name__,
        "message": describe(error),
        **{name: getattr(error, name, None) for name in ("code", "subcode", "status")},
        "trace_id": getattr(error, "trace_id", None) or None,
    }


def printable(text: str) -> str:
    """Escape control characters, except for line ends."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def emit(text: str) -> None:
    """Write a line of data to stdout.

    Raises:
        BrokenPipeError: The reader has closed it, as in `… | head`.
        OSError: It cannot be written, say to a full disk.
    """
    try:
        typer.echo(text)
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise OSError(error.errno, error.strerror, "stdout") from None


def emit_lines(lines: Iterable[str]) -> None:
    """Write lines of data to stdout; if the reader has closed it, the work continues."""
    with contextlib.suppress(BrokenPipeError):
        for line in lines:
            emit(line)


def discard(stream: IO[str]) -> None:
    """Redirect *stream* to the null device, so that its flush at exit does not fail."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
