"""Which account a command works on: one of the environment, or a sandbox of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blockusers.cli.process import UsageError
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.account import Account

_TOKEN: Final = "WHATSAPP_ACCESS_TOKEN"  # noqa: S105  # the name of a variable

NO_TOKEN_HERE: Final = (
    "a token on the command line ends up in the shell's history and in the process list;"
    f" put it into the environment variable {_TOKEN}, or into a file for --token-file"
)


@contextlib.contextmanager
def open_account(*, sandbox: bool, token_file: Path | None) -> Iterator[Account]:
    """Give the account to work on.

    Args:
        sandbox: Start a sandbox for the time of the block; it needs no credentials.
        token_file: Holds the token, instead of the environment.

    Raises:
        UsageError: Credentials are missing or wrong.
    """
    if sandbox:
        with Sandbox(Rules(window=None)) as server:
            yield Account(**server.credentials)
    else:
        yield _from_environment(token_file)


def _from_environment(token_file: Path | None) -> Account:
    try:
        token = None if token_file is None else token_file.read_text("utf-8").strip()
        if token == "":
            raise UsageError(f"--token-file {token_file}: this file is empty")
        return Account.from_env(access_token=token)
    except UnicodeDecodeError:
        raise UsageError(f"--token-file {token_file}: this is no text") from None
    except ValueError as error:
        raise UsageError(f"{error} (to try without an account: --sandbox)") from None
