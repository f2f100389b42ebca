"""The file that `deny export` writes and `deny import` reads: CSV, a row for each entry.

Spreadsheets open it, so no cell of it is run as a formula there.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import attrs
import orjson

from blockusers.cli import expiry
from blockusers.cli.deny_adding import Fields
from blockusers.cli.input_files import DELIMITERS, Reading
from blockusers.cli.input_files import Entry as Input
from blockusers.cli.journal import cell, no_formula
from blockusers.cli.process import UsageError, reason_of
from blockusers.guard.entries import Entry

COLUMNS: Final = ("user", "scope", "action", "reason", "origin", "added", "expires")
_HASHED: Final = ("user_hash", *COLUMNS[1:])


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


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[IO[str]]:
    """Open a file that takes the place of an older one when all of it is written.

    Only its owner can read it.

    Raises:
        UsageError: It cannot be written there.
    """
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"--output {path}: must be a file, not a folder, device or pipe")
        # Nobody else can have put a link where it is written.
        number, draft = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    except OSError as error:
        raise UsageError(f"--output {path}: {reason_of(error)}") from None
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            yield file
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)


# Reading.


@attrs.frozen
class Export:
    """The text of a file that `deny export` has written, or a spreadsheet after it."""

    lines: Sequence[str]
    """Its lines below the names of the columns."""
    start: int
    """How many lines are above these."""
    names: Sequence[str]
    """The columns, in their order."""
    delimiter: str


def find_export(text: str) -> Export | None:
    """Return the export that *text* is, whatever its separator and the order of its columns.

    None if it is no export.

    Raises:
        ValueError: It is one that cannot be imported.
    """
    lines = text.split("\n")
    start = next((at for at, line in enumerate(lines) if _says_something(line)), 0)
    if _is_json_entry(lines[start]):
        raise ValueError("`deny list --json` printed it; import what `deny export` writes")
    delimiter = max(DELIMITERS, key=lines[start].count)
    (cells,) = csv.reader([lines[start]], delimiter=delimiter, skipinitialspace=True)
    names = [cell.strip().casefold() for cell in cells]
    if "action" not in names or not {"user", "user_hash"} & {*names}:
        return None
    if "user_hash" in names:
        raise ValueError("it holds hashes, which cannot be imported; copy the list's file instead")
    if missing := [name for name in COLUMNS if name not in names and name != "added"]:
        raise ValueError(
            f"has the columns 'user' and 'action', as `deny export` writes them, but no column"
            f" {missing[0]!r}; export the list again, or rename the column 'action'"
        )
    return Export(lines[start + 1 :], start + 1, names, delimiter)


def _is_json_entry(line: str) -> bool:
    with contextlib.suppress(orjson.JSONDecodeError):
        row = orjson.loads(line)
        return isinstance(row, dict) and {"user", "action"} <= row.keys()
    return False


def _says_something(line: str) -> bool:
    """Whether it is a row: not empty, no comment, and not the line that Excel puts above."""
    return bool(line.strip()) and not line.lstrip().startswith("#") and line[:4] != "sep="


def read_export(name: str, export: Export) -> tuple[dict[Fields, list[Input]], Reading]:
    """Read an export.

    Returns:
        The users with the same fields, in their order; and what else was found.
    """
    found: dict[Fields, list[Input]] = {}
    other = Reading()
    for number, row in _rows(name, export):
        where = f"{name}, line {number}"
        if not any(row.values()):
            other.empty += 1
            continue
        try:
            fields = _fields(row, len(export.names))
        except ValueError as error:
            other.complaints.append(f"{where}: {error}")
        else:
            found.setdefault(fields, []).append(Input(row["user"].strip(), where))
    return found, other


def _rows(name: str, export: Export) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(export.lines, export.names, delimiter=export.delimiter)
    try:
        for row in reader:
            yield export.start + reader.line_num, row
    except csv.Error as error:
        line = export.start + reader.line_num
        raise UsageError(f"{name}, line {line}: {error}") from None


def _fields(row: dict[str, Any], cells: int) -> Fields:
    if any(row.pop(None, ())) or None in row.values():  # type: ignore[call-overload]
        raise ValueError(f"must have {cells} cells")
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
