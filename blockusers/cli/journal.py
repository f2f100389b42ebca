"""Writes the `--output` file, a journal with a row for each outcome, and resumes from it.

A row is written when the outcome is final.  It names its blocklist, so that rows of a sandbox or of
another business number are ignored; the last row of each user counts.  Rows are only appended, by
one process at a time.  A process that is killed may leave half a row, which the next one removes.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Final

import orjson

from blockusers.cli.input_files import reader_of
from blockusers.cli.process import UsageError, reason_of
from blockusers.values.outcome import Operation, Outcome, Status
from blockusers.values.users import Reader

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

COLUMNS: Final[tuple[str, ...]] = (
    "time",
    "blocklist",
    "operation",
    "region",
    "input",
    "user",
    "status",
    "wa_id",
    "user_id",
    "code",
    "message",
    "details",
)
"""The columns of a row. The `user` is whom the input means, in digits or as a BSUID, so that a
national spelling is found again without its region."""

_HEADER: Final = ",".join(COLUMNS).encode() + b"\n"
_JSON_ENDINGS: Final = {".jsonl", ".ndjson"}
_LONGEST_CELL: Final = 4096
"""Nobody's name is longer, and Python's csv reads no cell of more than 131,072 characters."""
_FORMULA: Final = re.compile(r"[=+\-@\t]")
_NUMBER: Final = re.compile(r"\+?[0-9 ()./\-\u00a0]*")


class Journal:
    """An open journal; only its owner can read the file."""

    def __init__(self, path: Path, file: FileIO, blocklist: str, region: str | None) -> None:
        self._path = path
        self._file = file
        self._blocklist = blocklist
        self._region = (region or "").upper()
        self._reader = reader_of(region)
        self._is_json = path.suffix.lower() in _JSON_ENDINGS
        self._last: dict[str, tuple[str, str]] = {}
        """The operation and the status of each user in this blocklist."""
        self.notes: Sequence[str] = tuple(self._read())
        """What the user of the program should know about the rows in the file."""

    def done(self, operation: Operation) -> frozenset[str]:
        """Return the users whose last row says that *operation* is done."""
        row = (operation.value, Status.DONE.value)
        return frozenset(user for user, last in self._last.items() if last == row)

    def write(
        self, operation: Operation, outcomes: Iterable[Outcome], reader: Reader | None = None
    ) -> None:
        """Append *outcomes*, and hand them to the operating system before returning.

        Args:
            operation: What was done.
            outcomes: Their outcomes.
            reader: Reads their inputs; None is that of the run.

        Raises:
            OSError: The disk is full, say; it names the file.
        """
        same = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "blocklist": self._blocklist,
            "operation": operation.value,
            "region": self._region,
        }
        rows = [_row(outcome, reader or self._reader, same) for outcome in outcomes]
        data = memoryview(_as_json(rows) if self._is_json else _as_csv(rows))
        try:
            if not self._is_json and self._file.tell() == 0:
                data = memoryview(_HEADER + data)
            while data:  # a disk that is nearly full takes a part at first
                data = data[self._file.write(data) :]
        except OSError as error:
            error.filename = str(self._path)
            raise

    def _read(self) -> Iterator[str]:
        self._file.seek(0)
        data = self._file.read()
        start = b'{"time":' if self._is_json else _HEADER
        if not data.startswith(start[: len(data)]):
            raise UsageError(
                f"--output {self._path}: the file exists, and was not written by this version of"
                " blockusers in this format; name another file"
            )
        whole = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        self._file.seek(0, os.SEEK_END)
        others, regions = Counter[str](), set[str]()
        for line, row in self._rows(whole):
            try:
                names = ("blocklist", "user", "operation", "status", "region")
                blocklist, user, operation, status, region = (row[name].strip() for name in names)
            except (KeyError, TypeError, AttributeError):
                raise self._broken(line) from None
            if blocklist != self._blocklist:
                others[blocklist] += 1
                continue
            regions.add(region)
            if user:
                self._last[user] = (operation, status)
        yield from self._notes(others, regions)

    def _notes(self, others: Counter[str], regions: set[str]) -> Iterator[str]:
        for blocklist, rows in others.items():
            yield (
                f"{self._path}: {rows:,} of its rows are of another blocklist ({blocklist}) and are"
                f" ignored; this run is for {self._blocklist}"
            )
        if regions and self._region not in regions:
            before = " and ".join(f"--region {name}" if name else "no --region" for name in regions)
            now = f"--region {self._region}" if self._region else "no --region"
            yield f"{self._path}: written with {before} so far; this run has {now}"

    def _rows(self, data: bytes) -> Iterator[tuple[int, Any]]:
        """Yield each row with the number of its line."""
        line = 0
        try:
            lines = data.decode().split("\n")[:-1]
            rows = map(orjson.loads, lines) if self._is_json else csv.DictReader(lines)
            for line, row in enumerate(rows, 1 if self._is_json else 2):
                yield line, row
        except (ValueError, csv.Error):
            raise self._broken(line + 1) from None

    def _broken(self, line: int) -> UsageError:
        return UsageError(
            f"--output {self._path}: line {line} is broken and cannot be read; repair it,"
            " or name another file"
        )


@contextlib.contextmanager
def open_journal(path: Path, blocklist: str, region: str | None = None) -> Iterator[Journal]:
    """Open a journal to append to it; no other process can open it meanwhile.

    Args:
        path: The file.
        blocklist: Stable name of the blocklist of this run.
        region: The region that numbers are read with.

    Raises:
        UsageError: It cannot be written, holds something else, or another process has it.
    """
    with contextlib.ExitStack() as stack:
        try:
            if path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise UsageError(f"--output {path}: must be a file, not a folder, device or pipe")
            file = stack.enter_context(open(path, "a+b", buffering=0, opener=_open_private))
            stack.enter_context(_locked(path, file))
        except OSError as error:
            raise UsageError(f"--output {path}: {reason_of(error)}") from None
        yield Journal(path, file, blocklist, region)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextlib.contextmanager
def _locked(path: Path, file: FileIO) -> Iterator[None]:
    """Lock *file* against other processes.

    The system releases the lock when the process ends; a file beside it has the process id.
    Without such locks (Windows) that file is the lock, and may have to be deleted by hand.
    """
    beside = Path(f"{path.resolve()}.lock")
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            beside.touch(exist_ok=False)
    except (BlockingIOError, FileExistsError):
        hint = "" if fcntl else f"; if no such process runs, delete {beside}"
        raise UsageError(
            f"--output {path}: {_holder(beside)} is writing this file; wait until it ends, or name"
            f" another file{hint}"
        ) from None
    try:
        with contextlib.suppress(OSError):  # the lock works without it
            beside.write_text(str(os.getpid()))
        yield
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def _holder(beside: Path) -> str:
    try:
        return f"process {int(beside.read_text())}"
    except (OSError, ValueError):
        return "another process"


def _row(outcome: Outcome, reader: Reader, same: dict[str, str]) -> dict[str, Any]:
    try:
        user = reader.read(outcome.input).key
    except ValueError:
        user = ""
    row = {**outcome.to_dict(), **same, "user": user}
    return {column: cell(row[column]) for column in COLUMNS}


def cell(value: Any) -> Any:
    """Return what can be read again: one line of text of bounded length, all of it Unicode."""
    if not isinstance(value, str):
        return value
    if len(value) > _LONGEST_CELL:
        value = f"{value[:_LONGEST_CELL]}…"
    return value.replace("\r", " ").replace("\n", " ").encode(errors="replace").decode()


def _as_json(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _as_csv(rows: Iterable[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(no_formula, row.values()) for row in rows)
    return text.getvalue().encode()


def no_formula(value: Any) -> Any:
    """Put an apostrophe before what a spreadsheet would run as a formula; not before numbers."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
