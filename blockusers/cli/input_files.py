"""Reads lists of users from files: plain lines, CSV, or JSON Lines.

A line that cannot be read is reported, and the rest of the file is read.  Whether a value is a
valid user is for the library to decide, so that each value has an outcome.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import attrs
import orjson

from blockusers.cli.process import UsageError, printable, reason_of
from blockusers.values import users as identifiers
from blockusers.values.masking import mask_all
from blockusers.values.national import NationalReader
from blockusers.values.users import INTERNATIONAL, Reader

_DELIMITERS: Final = ",;\t|"
_ONE_COLUMN: Final = "\x1f"
"""Delimiter for one column; no cell contains it, so that `4,91512E+12` is one cell."""
_JSON_ENDINGS: Final = {".json", ".jsonl", ".ndjson"}
_TABLE_ENDINGS: Final = {".csv", ".tsv"}
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_BEGINNING: Final = 65_536
_LARGEST: Final = 64 * 1024**2
_MOST_NAMES: Final = 20
_DIGITS_OF_A_NAME: Final = 4


class Entry(NamedTuple):
    """One value of the input, and where it is."""

    value: Any
    where: str


@attrs.define
class Reading:
    """The users in files, and what else was found there."""

    entries: list[Entry] = attrs.field(factory=list[Entry])
    complaints: list[str] = attrs.field(factory=list[str])
    """The lines that cannot be read, as `FILE, line N: why`."""
    notes: list[str] = attrs.field(factory=list[str])
    """Which lines were taken for headers, and which files name nobody."""
    empty: int = 0
    """Cells without anything in them."""

    def add(self, value: Any, where: str) -> None:
        """Add the value for one user, unless it is empty."""
        if isinstance(value, str):
            value = value.strip()
            # An apostrophe makes a cell text in spreadsheets; our own journal has some.
            value = value[1:] if re.match("'[=+@-]", value) else value
        if value == "":
            self.empty += 1
        else:
            self.entries.append(Entry(value, where))

    def extend(self, other: Reading) -> None:
        """Add the content of another file."""
        self.entries += other.entries
        self.complaints += other.complaints
        self.notes += other.notes
        self.empty += other.empty


def reader_of(region: str | None) -> Reader:
    """Return what reads users: with national spellings, if a region is named."""
    return INTERNATIONAL if region is None else NationalReader(region)


def count(number: int, thing: str) -> str:
    """Return such as `1 user`, `2,000 users`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def unusable(reading: Reading) -> list[str]:
    """Count the cells and lines of files that name nobody."""
    empty, unread = reading.empty, len(reading.complaints)
    parts = [f"{count(empty, 'empty cell')} skipped"] if empty else []
    return [*parts, f"{count(unread, 'line')} could not be read"] if unread else parts


@attrs.frozen
class _Text:
    """The lines of a file; comments are empty lines, so that the numbers stay right."""

    name: str
    lines: Sequence[str]

    @property
    def first(self) -> str:
        """The first line that is not empty."""
        return next(filter(None, map(str.strip, self.lines)), "")

    def numbered(self) -> Iterator[tuple[str, str]]:
        """Yield where each line is, and its text; empty lines are skipped."""
        for number, line in enumerate(self.lines, 1):
            if text := line.strip():
                yield f"{self.name}, line {number}", text


def read_file(path: Path, column: str | None = None) -> Reading:
    """Read the users in a file.

    Args:
        path: The file; `-` is stdin.
        column: Which column of a table (by its name, or by its number from 1), or which key of
            JSON objects.

    Raises:
        UsageError: It cannot be read, is not text, or does not have that column.
    """
    name = "stdin" if str(path) == "-" else str(path)
    lines = _decode(name, _load(path)).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    text = _Text(name, ["" if line.lstrip().startswith("#") else line for line in lines])
    if _is_json(path, text.first):
        return _read_json(text, column)
    if _is_table(path, text.first) or column is not None:
        return _read_table(text, column)
    return _read_lines(text)


# From bytes to text.


def _load(path: Path) -> bytes:
    if str(path) == "-":
        if sys.stdin is None:
            raise UsageError("--file -: stdin is closed")
        return _read_all("stdin", sys.stdin.buffer)
    try:
        with path.open("rb") as file:
            return _read_all(str(path), file)
    except OSError as error:
        raise UsageError(f"{path}: {reason_of(error)}") from None


def _read_all(name: str, file: IO[bytes]) -> bytes:
    """Read a file to its end; reject one that is not text, or has no end, such as a device."""
    data = file.read(_BEGINNING)
    if data.startswith(_WORKBOOKS):
        raise UsageError(f"{name}: this is a workbook or an archive; in Excel: Save as, CSV UTF-8")
    if b"\0" in data and not _is_utf16(data):
        raise UsageError(f"{name}: this is not text; in Excel: Save as, CSV UTF-8")
    if len(data) == _BEGINNING:  # at a terminal, Ctrl-D is the end only once
        data += file.read(_LARGEST + 1 - len(data))
    if len(data) > _LARGEST:
        megabytes = _LARGEST // 1024**2
        raise UsageError(f"{name}: has more than {megabytes} MB; split it, or keep one column only")
    return data


def _is_utf16(data: bytes) -> bool:
    return data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def _decode(name: str, data: bytes) -> str:
    # Spreadsheets' "Unicode text" is UTF-16, and their UTF-8 starts with a mark.
    encoding, shown = ("utf-16", "UTF-16") if _is_utf16(data) else ("utf-8-sig", "UTF-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = data[error.start]
        raise UsageError(
            f"{name}: line {line} is not {shown} (byte 0x{byte:02x}); in Excel: Save as, CSV UTF-8"
        ) from None


def _is_json(path: Path, first: str) -> bool:
    ending = path.suffix.lower()
    if ending in _JSON_ENDINGS or ending in _TABLE_ENDINGS or not first.startswith(("{", '"')):
        return ending in _JSON_ENDINGS
    with contextlib.suppress(orjson.JSONDecodeError):
        orjson.loads(first)
        return True
    return False


def _is_table(path: Path, first: str) -> bool:
    # No phone number has one of the delimiters in it.
    return path.suffix.lower() in _TABLE_ENDINGS or any(mark in first for mark in _DELIMITERS)


# Lines.


def _read_lines(text: _Text) -> Reading:
    reading = Reading()
    lines = list(text.numbered())
    for number, (where, line) in enumerate(lines):
        if number == 0 and len(lines) > 1 and _is_name(line):
            reading.notes.append(f"{where}: taken for a header: {mask_all(line)}")
        else:
            reading.add(line, where)
    return reading


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
            reading.complaints.append(f"{where}: broken JSON: {error.msg}")
            continue
        if isinstance(value, dict):
            if column not in value:
                others.append(value)
                reading.complaints.append(f"{where}: there is no key {column!r} in it")
                continue
            value = value[column]
        if value is None:
            reading.complaints.append(f"{where}: {column or 'the user'} is null")
        else:
            reading.add(value, where)
    if others and (column is None or not reading.entries):
        raise _no_column(text.name, column, list(others[0]))
    return reading


# Tables.


def _read_table(text: _Text, column: str | None) -> Reading:
    reading = Reading()
    lines, delimiter = text.lines, max(_DELIMITERS, key=text.first.count)
    if told := re.fullmatch("sep=(.)", text.first):  # Excel's own first line
        lines = ["" if line.strip() == text.first else line for line in lines]
        delimiter = told[1]
    elif delimiter not in text.first:
        delimiter = _ONE_COLUMN
    at: int | None = None
    for number, row in _rows(lines, delimiter):
        where = f"{text.name}, line {number}"
        if isinstance(row, csv.Error):
            reading.complaints.append(f"{where}: {row}; is a quote not closed?")
        elif at is None:
            at = _find_column(text.name, row, column)
            if column is None or not _matches(row[at], column):
                if _is_name(row[at]):
                    reading.notes.append(f"{where}: taken for a header: {mask_all(row[at])}")
                else:
                    reading.add(row[at], where)
        elif at < len(row):
            reading.add(row[at], where)
        else:
            reading.complaints.append(f"{where}: has no column {at + 1}, only {len(row)}")
    return reading


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield the line number of each row that is not empty, and the row or its error."""
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
    if column is None and len(header) == 1:
        return 0
    if column is not None:
        found = [index for index, cell in enumerate(header) if _matches(cell, column)]
        if len(found) > 1:
            numbers = " or ".join(f"--column {index + 1}" for index in found)
            raise UsageError(f"{name}: {len(found)} columns are named {column!r}; choose {numbers}")
        if column.isdecimal() and 1 <= int(column) <= len(header):
            return int(column) - 1
        if found:
            return found[0]
    raise _no_column(name, column, header)


def _matches(cell: str, column: str) -> bool:
    return cell.strip().casefold() == column.strip().casefold()


def _is_name(text: str) -> bool:
    """Whether *text* looks like a column's name rather than like a user, damaged or not."""
    text = text.strip()
    try:
        identifiers.read(text)
    except ValueError:
        digits = sum(map(str.isdigit, text))
        return text[:1].isalpha() and digits <= _DIGITS_OF_A_NAME and "@" not in text
    return False


def _no_column(name: str, column: str | None, names: Sequence[str]) -> UsageError:
    shown = [f"'{printable(mask_all(each))[:60]}'" for each in names[:_MOST_NAMES]]
    columns = ", ".join([*shown, "…"] if len(names) > _MOST_NAMES else shown)
    if column is None:
        return UsageError(
            f"{name}: choose the column with the numbers: --column NAME; columns: {columns}"
        )
    return UsageError(f"{name}: there is no column {column!r}; columns: {columns}")
