"""Starts the command line: `blockusers`, or `python -m blockusers`."""

from __future__ import annotations

import io
import os
import signal
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command that the arguments name."""
    try:
        _occupy_closed_streams()
        _start()
    except KeyboardInterrupt:  # while it is being loaded; later the command says how it ended
        sys.exit(_INTERRUPTED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python is ending; it has been told already


def _start() -> None:
    try:
        from blockusers.cli.app import app  # noqa: PLC0415  # typer and rich are an extra
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in {"typer", "rich"}:
            raise
        sys.exit(_missing(name))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Not every terminal knows every script's digits; that is no reason to break off.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


def _occupy_closed_streams() -> None:
    """Open the null device where a stream is closed, so that no other file gets its number.

    Output vanishes there; `sys.stdin` stays None, for an empty list is not what was meant.
    """
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)
            if name != "stdin":
                setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))


def _missing(name: str) -> int:
    sys.stderr.write(
        f'blockusers: the command line needs {name}: pip install "blockusers[cli]", or in a clone'
        ' pip install ".[cli]"\n'
    )
    return 2


if __name__ == "__main__":
    main()
