"""Reads the file of `--accounts`: a JSON list with the keywords of an `Account` for each number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from blockusers.cli.process import UsageError
from blockusers.cli.screen import Screen
from blockusers.cli.secret_files import read_secret
from blockusers.values.account import Account

_FIELDS: Final = tuple(field.name for field in attrs.fields(Account) if field.name != "provider")


def read_accounts(screen: Screen, path: Path) -> Sequence[Account]:
    """Return the accounts in a file; warn if others can read it, for it holds secrets.

    Raises:
        UsageError: It cannot be read, or an account is wrong; the message says which and where.
    """
    name = f"--accounts {path}"
    try:
        rows = orjson.loads(read_secret(screen, path, "--accounts"))
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{name}, line {error.lineno}: broken JSON: {error.msg}") from None
    if rows == []:
        raise UsageError(f"{name}: names no account")
    if not isinstance(rows, list):
        raise UsageError(
            f'{name}: must be a list: [{{"phone_number_id": "…", "access_token": "…"}}, …]'
        )
    accounts = [_account(f"{name}: account {number}", row) for number, row in enumerate(rows, 1)]
    found: dict[str, int] = {}
    for number, account in enumerate(accounts, 1):
        first = found.setdefault(account.phone_number_id, number)
        if first != number:
            raise UsageError(f"{name}: accounts {first} and {number} have the same phone_number_id")
    return accounts


def _account(name: str, row: Any) -> Account:
    if not isinstance(row, dict):
        raise UsageError(f"{name}: must be an object, with the fields {', '.join(_FIELDS)}")
    if unknown := sorted(row.keys() - {*_FIELDS}):
        raise UsageError(
            f"{name}: there is no field {unknown[0]!r}; the fields are {', '.join(_FIELDS)}"
        )
    if missing := [field for field in _FIELDS[:2] if field not in row]:
        raise UsageError(f"{name}: {missing[0]} is missing")
    try:
        return Account(**row)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {error}") from None
