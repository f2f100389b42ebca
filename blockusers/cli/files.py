"""Reads lists of users from files: plain lines, CSV, or JSON Lines.

A line that cannot be read costs a complaint, never the rest of the file.  What a line names is not
judged here: whether it is a user is for the library to say, so that each has an outcome.
"""

from __future__ import annotations

import codecs
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import attrs
import orjson

from blockusers.cli.process import UsageError
from blockusers.values import users as identifiers
from blockusers.values.masking import mask_all

_DELIMITERS: Final = ",;\t|"
_JSON_ENDINGS: Final = {".json", ".jsonl", ".ndjson"}
_TABLE_ENDINGS: Final = {".csv", ".tsv"}


class Entry(NamedTuple):
    """What is written for one user, and where."""

    value: Any
    where: str


@attrs.define
class Reading:
    """What a file holds."""

    entries: list[Entry] = attrs.field(factory=list[Entry])
    complaints: list[str] = attrs.field(factory=list[str])
    """The lines that cannot be read, as `FILE:LINE: why`."""


@attrs.frozen
class _Text:
    """The lines of a file; comments are empty lines, so that the numbers stay right."""

    name: str
    lines: Sequence[str]

    @property
    def first(self) -> str:
        """The first line that says something."""
        return next(filter(None, map(str.strip, self.lines)), "")

    def numbered(self) -> Iterator[tuple[str, str]]:
        """Yield each line that says something, and where it stands."""
        for number, line in enumerate(self.lines, 1):
            if text := line.strip():
                yield f"{self.name}:{number}", text


def read_file(path: Path, column: str | None = None) -> Reading:
    """Read the users that stand in a file.

    Args:
        path: The file; `-` is stdin.
        column: Which column of a table (by its name, or by its number from 1), or which key of
            JSON objects.

    Raises:
        UsageError: It cannot be read, is no text, or has no such column.
    """
    name = "stdin" if str(path) == "-" else str(path)
    lines = _decode(name, _load(path)).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = _Text(name, ["" if line.lstrip().startswith("#") else line for line in lines])
    if _is_json(path, text.first):
        return _read_json(text, column)
    if _is_table(path, text.first) or column is not None:
        return _read_table(text, column)
    return Reading([Entry(line, where) for where, line in text.numbered()])


def _load(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read()
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def _decode(name: str, data: bytes) -> str:
    if data.startswith(b"PK\x03\x04"):
        raise UsageError(f"{name}: this is a workbook or an archive; save it as CSV (UTF-8)")
    # Spreadsheets' "Unicode text" is UTF-16, and their UTF-8 starts with a mark.
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if is_utf16 else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name}:{line}: byte 0x{data[error.start]:02x} is no {encoding[:6].upper()};"
            " save the file in UTF-8"
        ) from None


def _is_json(path: Path, first: str) -> bool:
    ending = path.suffix.lower()
    if ending in _JSON_ENDINGS:
        return True
    return ending not in _TABLE_ENDINGS and first.startswith(("{", '"')) and _is_value(first)


def _is_value(line: str) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_table(path: Path, first: str) -> bool:
    # No phone number has one of the delimiters in it.
    return path.suffix.lower() in _TABLE_ENDINGS or any(mark in first for mark in _DELIMITERS)


# JSON Lines.


def _read_json(text: _Text, column: str | None) -> Reading:
    if text.first.startswith("["):
        raise UsageError(
            f"{text.name}: a JSON array; write one value per line, such as with jq -c '.[]'"
        )
    reading, others = Reading(), list[dict[str, Any]]()
    for where, line in text.numbered():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            reading.complaints.append(f"{where}: broken JSON: {error}")
            continue
        if not isinstance(value, dict):
            reading.entries.append(Entry(value, where))
        elif column in value:
            reading.entries.append(Entry(value[column], where))
        else:
            others.append(value)
            reading.complaints.append(f"{where}: there is no key {column!r} in it")
    if others and (column is None or not reading.entries):
        raise _no_column(text.name, column, list(others[0]))
    return reading


# Tables.


def _read_table(text: _Text, column: str | None) -> Reading:
    reading = Reading()
    delimiter = max(_DELIMITERS, key=text.first.count)
    rows = _rows(text.lines, delimiter)
    at: int | None = None
    for number, row in rows:
        where = f"{text.name}:{number}"
        if isinstance(row, csv.Error):
            reading.complaints.append(f"{where}: {row}; is a quote not closed?")
        elif at is None:
            at = _find_column(text.name, row, column)
            if not _is_header(row[at], column):
                reading.entries.append(Entry(row[at], where))
        elif at < len(row):
            reading.entries.append(Entry(row[at], where))
        else:
            reading.complaints.append(f"{where}: has no column {at + 1}, only {len(row)}")
    return reading


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield each row that has something in it, or what is wrong with it, and its line."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, error
        else:
            if row:
                yield number, row


def _find_column(name: str, header: Sequence[str], column: str | None) -> int:
    """Return the index of *column*; where none is named, a table must have only one."""
    names = [cell.strip().casefold() for cell in header]
    if column is None and len(names) == 1:
        return 0
    if column is not None:
        if column.isdecimal() and 1 <= int(column) <= len(names):
            return int(column) - 1
        if column.strip().casefold() in names:
            return names.index(column.strip().casefold())
    raise _no_column(name, column, header)


def _is_header(cell: str, column: str | None) -> bool:
    """Whether the first row holds names, and not a user yet."""
    if column is not None and cell.strip().casefold() == column.strip().casefold():
        return True
    try:
        identifiers.read(cell)
    except ValueError:
        return cell.strip()[:1].isalpha()
    return False


def _no_column(name: str, column: str | None, names: Sequence[str]) -> UsageError:
    there = mask_all(", ".join(names))
    if column is None:
        return UsageError(f"{name}: say with --column where the users stand; it has: {there}")
    return UsageError(f"{name}: there is no column {column!r}; it has: {there}")
