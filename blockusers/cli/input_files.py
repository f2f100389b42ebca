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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeAlias

import attrs
import orjson

from blockusers.cli.process import UsageError, printable, reason_of
from blockusers.values import users as identifiers
from blockusers.values.masking import mask_all
from blockusers.values.national import NationalReader
from blockusers.values.users import INTERNATIONAL, Reader

DELIMITERS: Final = ",;\t|"
_ONE_COLUMN: Final = "\x1f"
"""Delimiter for one column; no cell contains it, so that `4,91512E+12` is one cell."""
_JSON_ENDINGS: Final = {".json", ".jsonl", ".ndjson"}
_TABLE_ENDINGS: Final = {".csv", ".tsv"}
_WORKBOOKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_BEGINNING: Final = 65_536
_LARGEST: Final = 64 * 1024**2
_MOST_NAMES: Final = 20
_DIGITS_OF_A_NAME: Final = 4
_NO_CODE: Final = 10
_MAYBE_BARE: Final = re.compile(r"[^+0-9]*(?:[0-9][^+0-9]*){10}")
ONLY_TEN_DIGITS: Final = "only 10 digits: is the country code missing?"


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
            # As Excel is told to keep all digits of a cell.
            value = quoted[1] if (quoted := re.fullmatch('="([^"]*)"', value)) else value
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


def lacks_country_code(value: Any, reader: Reader) -> bool:
    """Whether a user may be a number without its country code: ten digits, and no plus."""
    if not isinstance(value, str) or _MAYBE_BARE.fullmatch(value) is None:
        return False  # most of a long list, at little cost
    try:
        found = reader.read(value)
    except ValueError:
        return False
    return len(found.key) == _NO_CODE and found.wire == found.key


def doubts(values: Iterable[Any], reader: Reader) -> list[str]:
    """Say in a line how many of *values* may lack their country code, if any does."""
    number = sum(lacks_country_code(value, reader) for value in values)
    have = "number has" if number == 1 else "numbers have"
    return [f"{number:,} {have} {ONLY_TEN_DIGITS}"] if number else []


def count(number: int, thing: str) -> str:
    """Return such as `1 user`, `2,000 users`, `2 entries`."""
    plural = f"{thing[:-1]}ies" if thing.endswith("ry") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def unusable(reading: Reading) -> list[str]:
    """Count the cells and lines of files that name nobody."""
    empty, unread = reading.empty, len(reading.complaints)
    parts = [f"{count(empty, 'empty cell')} skipped"] if empty else []
    return [*parts, f"{count(unread, 'line')} could not be read"] if unread else parts


class _Bad(str):
    """Why a line cannot be read."""

    __slots__ = ()


class _Header(str):
    """What looks like the name of a column."""

    __slots__ = ()


Values: TypeAlias = Iterator[tuple[int, Any]]
"""What is in each line that is not empty, with its number: a value, a `_Bad` or a `_Header`."""


def read_file(path: Path, column: str | None = None) -> Reading:
    """Read the users in a file.

    Args:
        path: The file; `-` is stdin.
        column: Which column of a table (by its name, or by its number from 1), or which key of
            JSON objects.

    Raises:
        UsageError: It cannot be read, is not text, or does not have that column.
    """
    return read_text(path, load_text(path), column)


def name_of(path: Path) -> str:
    """Return how a file is named in messages."""
    return "stdin" if str(path) == "-" else str(path)


def load_text(path: Path) -> str:
    """Return the text of a file, its lines ending as they do on Unix.

    Raises:
        UsageError: It cannot be read, or is not text.
    """
    return _decode(name_of(path), _load(path)).replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path, text: str, column: str | None = None) -> Reading:
    """Read the users in the text of a file, as `read_file` does.

    Raises:
        UsageError: It does not have that column.
    """
    name = name_of(path)
    lines = ["" if line.lstrip().startswith("#") else line for line in text.split("\n")]
    first = next(filter(None, map(str.strip, lines)), "")
    if _is_json(path, first):
        values = _read_json(name, lines, first, column)
    elif _is_table(path, first) or column is not None:
        values = _read_table(name, lines, first, column)
    else:
        values = _read_lines(lines)
    reading = Reading()
    for number, value in values:
        where = f"{name}, line {number}"
        if isinstance(value, _Bad):
            reading.complaints.append(f"{where}: {value}")
        elif isinstance(value, _Header):
            reading.notes.append(f"{where}: taken for a header: {mask_all(value)}")
        else:
            reading.add(value, where)
    if not (reading.entries or reading.complaints):
        reading.notes.append(f"{name}: no users in it")
    return reading


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
    return path.suffix.lower() in _TABLE_ENDINGS or any(mark in first for mark in DELIMITERS)


# Lines, JSON Lines, tables.


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    return ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def _read_lines(lines: Sequence[str]) -> Values:
    found = list(_numbered(lines))
    for index, (number, line) in enumerate(found):
        is_header = index == 0 and len(found) > 1 and _is_name(line)
        yield number, _Header(line) if is_header else line


def _read_json(name: str, lines: Sequence[str], first: str, column: str | None) -> Values:
    if first.startswith("["):
        raise UsageError(
            f"{name}: a JSON array; write one value per line, such as with jq -c '.[]'"
        )
    found, others = False, list[dict[str, Any]]()
    for number, line in _numbered(lines):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            value = _Bad(f"broken JSON: {error.msg}")
        if isinstance(value, dict) and column not in value:
            others.append(value)
            value = _Bad(f"there is no key {column!r} in it")
        elif isinstance(value, dict):
            value = value[column]
        if value is None:
            value = _Bad(f"{column or 'the user'} is null")
        found = found or not isinstance(value, _Bad)
        yield number, value
    if others and (column is None or not found):
        raise _no_column(name, column, list(others[0]))


def _read_table(name: str, lines: Sequence[str], first: str, column: str | None) -> Values:
    delimiter = max(DELIMITERS, key=first.count)
    if told := re.fullmatch("sep=(.)", first):  # Excel's own first line
        lines = ["" if line.strip() == first else line for line in lines]
        delimiter = told[1]
    elif delimiter not in first:
        delimiter = _ONE_COLUMN
    at: int | None = None
    for number, row in _rows(lines, delimiter):
        if isinstance(row, _Bad):
            yield number, row
        elif at is None:
            at = _find_column(name, row, column)
            if column is None or not _matches(row[at], column):
                yield number, _Header(row[at]) if _is_name(row[at]) else row[at]
        elif at < len(row):
            yield number, row[at]
        else:
            yield number, _Bad(f"has no column {at + 1}, only {len(row)}")


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | _Bad]]:
    """Yield the line number of each row that is not empty, and the row or why it is none."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, _Bad(f"{error}; is a quote not closed?")
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
