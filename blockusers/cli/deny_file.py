"""The file that `deny export` writes and `deny import` reads: CSV, a row for each entry.

Spreadsheets open it, so no cell of it is run as a formula there.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs

from blockusers.cli import expiry
from blockusers.cli.input_files import Entry as Input
from blockusers.cli.input_files import Reading
from blockusers.cli.journal import cell, no_formula
from blockusers.cli.process import UsageError, reason_of
from blockusers.guard.entries import EVERYWHERE, Action, Entry

COLUMNS: Final = ("user", "scope", "action", "reason", "origin", "added", "expires")
_HASHED: Final = ("user_hash", *COLUMNS[1:])


@attrs.frozen
class Fields:
    """What entries say beside the user."""

    scope: str = EVERYWHERE
    action: Action = "deny"
    reason: str = ""
    origin: str = ""
    expires_at: float | None = None


# Writing.


def row_of(entry: Entry) -> dict[str, str]:
    """Return an entry as a row, or as the values of a JSON object."""
    times = {"added": expiry.as_text(entry.added_at), "expires": expiry.as_text(entry.expires_at)}
    return {name: times[name] if name in times else getattr(entry, name) for name in COLUMNS}


def line_of(entry: Entry) -> str:
    """Return an entry as a line of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(map(no_formula, map(cell, row_of(entry).values())))
    return text.getvalue()


def header(*, hashed: bool) -> str:
    """Return the first line."""
    return ",".join(_HASHED if hashed else COLUMNS)


class NewFile:
    """A file that takes the place of an older one when all of it is written.

    Only its owner can read it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.{os.getpid()}")

    def __enter__(self) -> io.TextIOWrapper:
        try:
            if self._path.exists() and not stat.S_ISREG(self._path.stat().st_mode):
                raise UsageError(
                    f"--output {self._path}: must be a file, not a folder, device or pipe"
                )
            file = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise UsageError(f"--output {self._path}: {reason_of(error)}") from None
        self._file = os.fdopen(file, "w", encoding="utf-8", newline="")
        return self._file

    def __exit__(self, error: object, *_: object) -> None:
        try:
            self._file.close()
            if error is None:
                self._draft.replace(self._path)
        finally:
            self._draft.unlink(missing_ok=True)


# Reading.


def is_export(text: str) -> bool:
    """Whether `deny export` has written *text*.

    Raises:
        ValueError: It has, and there are hashes in it.
    """
    first = text.partition("\n")[0]
    if first == header(hashed=True):
        raise ValueError("it holds hashes, which cannot be imported; copy the list's file instead")
    return first == header(hashed=False)


def read_export(name: str, text: str) -> tuple[dict[Fields, list[Input]], Reading]:
    """Read what `deny export` has written.

    Returns:
        The users with the same fields, in their order; and what else was found.
    """
    found: dict[Fields, list[Input]] = {}
    other = Reading()
    for number, row in _rows(name, text):
        where = f"{name}, line {number}"
        try:
            fields = _fields(row)
        except ValueError as error:
            other.complaints.append(f"{where}: {error}")
        else:
            found.setdefault(fields, []).append(Input(row["user"].strip(), where))
    return found, other


def _rows(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.split("\n"))
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: {error}") from None


def _fields(row: dict[str, Any]) -> Fields:
    if None in row or None in row.values():
        raise ValueError(f"must have {len(COLUMNS)} cells")
    if row["action"] not in {"deny", "allow"}:
        raise ValueError("the action must be deny or allow")
    try:
        expires_at = expiry.from_text(row["expires"])
    except ValueError:
        raise ValueError("the expiry must be a time such as 2026-12-31T23:00:00Z") from None
    texts = {name: _without_apostrophe(row[name]) for name in ("scope", "reason", "origin")}
    return Fields(action=row["action"], expires_at=expires_at, **texts)


def _without_apostrophe(text: str) -> str:
    return text[1:] if text.startswith("'") and no_formula(text[1:]) == text else text
