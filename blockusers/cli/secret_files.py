"""Reads a file that holds a secret, such as a token, and warns if others can read it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from blockusers.cli.process import UsageError, reason_of
from blockusers.cli.screen import Screen

_LONGEST: Final = 1024 * 1024


def read_secret(screen: Screen, path: Path, option: str) -> str:
    """Return the text of the file that an option names, without blanks around it.

    Raises:
        UsageError: It cannot be read, is empty or is no text.
    """
    try:
        with path.open("rb") as file:
            warn_of_readers(screen, path)
            text = file.read(_LONGEST).decode().strip()
    except OSError as error:
        raise UsageError(f"{option} {path}: {reason_of(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} {path}: this is not text") from None
    if not text:
        raise UsageError(f"{option} {path}: the file is empty")
    return text


def warn_of_readers(screen: Screen, path: Path) -> None:
    """Warn if others can read a file, which is there."""
    # On Windows the mode says nothing.
    if os.name == "posix" and path.stat().st_mode & 0o044:
        screen.say(f"others can read {path}: chmod 600 {path}", "yellow")
