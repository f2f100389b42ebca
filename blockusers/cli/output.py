"""The output file: a line per outcome, written when it is final, and read when a job goes on.

The file is only ever appended to, so the last line about a user is what counts.  A process that is
killed in the middle of a line leaves it torn; the next one cuts it off.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Final

import orjson

from blockusers.cli.process import UsageError
from blockusers.values.outcome import Operation, Outcome
from blockusers.values.users import INTERNATIONAL, Reader

COLUMNS: Final[tuple[str, ...]] = (
    "input",
    "status",
    "wa_id",
    "user_id",
    "code",
    "message",
    "details",
)
"""What stands in the file for each outcome."""

_HEADER: Final[dict[str, str]] = dict(zip(COLUMNS, COLUMNS, strict=True))

PAST: Final = {Operation.BLOCK: "blocked", Operation.UNBLOCK: "unblocked"}
"""What was done. It stands as message beside who is done: a file can serve both commands, and who
was blocked must not be skipped when they are to be unblocked."""

_JSON_ENDINGS: Final = {".jsonl", ".ndjson"}


@contextlib.contextmanager
def open_output(
    path: Path, operation: Operation, reader: Reader = INTERNATIONAL
) -> Iterator[Output]:
    """Open an output file, to go on with what is in it; only its owner can read it.

    Raises:
        UsageError: It cannot be written, or holds something else.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "a+b", buffering=0, opener=_open_private))
        except OSError as error:
            raise UsageError(f"--output {path}: {error.strerror}") from None
        yield Output(path, operation, file, reader)


class Output:
    """An open output file."""

    def __init__(self, path: Path, operation: Operation, file: FileIO, reader: Reader) -> None:
        self.path = path
        self._operation = operation
        self._file = file
        self._reader = reader
        self._is_json = path.suffix.lower() in _JSON_ENDINGS
        self.done = self._go_on()
        """The keys of the users for whom there is nothing left to do."""

    def write(self, outcomes: Iterable[Outcome]) -> None:
        """Append *outcomes*, and hand them to the operating system before returning."""
        self._append(map(self._row, outcomes))

    def _append(self, rows: Iterable[dict[str, Any]]) -> None:
        data = memoryview(_as_json(rows) if self._is_json else _as_csv(rows))
        while data:  # a disk that is nearly full takes a part at first
            data = data[self._file.write(data) :]

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        row = outcome.to_dict()
        if outcome.ok:
            row["message"] = PAST[self._operation]
        return {column: row[column] for column in COLUMNS}

    def _go_on(self) -> frozenset[str]:
        self._file.seek(0)
        data = self._file.read()
        start = b'{"input":' if self._is_json else _as_csv([_HEADER])
        if not data.startswith(start[: len(data)]):
            raise UsageError(
                f"--output {self.path}: this file is there already, and is no output of"
                " blockusers in this format; name another"
            )
        whole = data[: data.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        if not whole and not self._is_json:
            self._append([_HEADER])
        try:
            return frozenset(self._done_in(whole.decode()))
        except (ValueError, AttributeError, csv.Error) as error:
            raise UsageError(f"--output {self.path}: a line in it is broken: {error}") from None

    def _done_in(self, text: str) -> Iterator[str]:
        last = {self._key(row.get("input")): row for row in self._rows(text)}
        for key, row in last.items():
            if key and (row.get("status"), row.get("message")) == ("done", PAST[self._operation]):
                yield key

    def _key(self, text: object) -> str:
        try:
            return self._reader.read(text).key
        except ValueError:
            return ""

    def _rows(self, text: str) -> Iterable[dict[str, Any]]:
        if self._is_json:
            return map(orjson.loads, filter(None, text.split("\n")))
        return csv.DictReader(io.StringIO(text))


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _as_json(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _as_csv(rows: Iterable[dict[str, Any]]) -> bytes:
    """Write one line per row, whatever is in it: a torn file is cut back to the last line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(
            cell.replace("\r", " ").replace("\n", " ") if isinstance(cell, str) else cell
            for cell in row.values()
        )
    return text.getvalue().encode()
