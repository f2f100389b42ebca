"""Opens the account of a command: from the environment, or a sandbox with `--sandbox`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blockusers.cli.process import UsageError, reason_of
from blockusers.cli.screen import Screen
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.account import Account

_TOKEN: Final = "WHATSAPP_ACCESS_TOKEN"  # noqa: S105  # the name of a variable
_LONGEST_TOKEN: Final = 65_536

NO_TOKEN_HERE: Final = (
    "a token on the command line ends up in the shell's history and in the process list;"
    f" put it into the environment variable {_TOKEN}, or into a file for --token-file"
)


@contextlib.contextmanager
def open_account(screen: Screen, *, sandbox: bool, token_file: Path | None) -> Iterator[Account]:
    """Open the account to work on.

    Args:
        screen: Shows warnings.
        sandbox: Start a sandbox for the time of the block; it needs no credentials.
        token_file: Holds the token, instead of the environment.

    Raises:
        UsageError: Credentials are missing or wrong.
    """
    if not sandbox:
        yield _from_environment(screen, token_file)
        return
    with Sandbox(Rules(window=None)) as server:
        screen.say("using a sandbox: nobody is reached", "dim")
        yield Account(**server.credentials)


def blocklist_of(account: Account, *, sandbox: bool) -> str:
    """Return a stable name of the blocklist; each sandbox of a command has a port of its own."""
    return "sandbox" if sandbox else account.blocklist_key


def _from_environment(screen: Screen, token_file: Path | None) -> Account:
    token = None if token_file is None else _read_token(screen, token_file)
    try:
        return Account.from_env(access_token=token)
    except ValueError as error:
        text = str(error)
        if token_file is not None:
            text = text.replace("access_token:", f"--token-file {token_file}:")
        raise UsageError(f"{text} (to try without an account: --sandbox)") from None


def _read_token(screen: Screen, path: Path) -> str:
    try:
        with path.open("rb") as file:
            # On Windows the mode says nothing.
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & 0o044:
                screen.say(f"others can read {path}: chmod 600 {path}", "yellow")
            token = file.read(_LONGEST_TOKEN).decode().strip()
    except OSError as error:
        raise UsageError(f"--token-file {path}: {reason_of(error)}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {path}: this is not text") from None
    if not token:
        raise UsageError(f"--token-file {path}: the file is empty")
    return token
