"""Runs a job on a list of users: reads the input, leaves out who is done, blocks or unblocks."""

from __future__ import annotations

import re
import sys
from collections.abc import Container, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from blockusers.cli import process
from blockusers.cli.account import Workplace
from blockusers.cli.input_files import Entry, Reading, read_file
from blockusers.cli.process import UsageError
from blockusers.cli.screen import Meter, Screen
from blockusers.client import Client
from blockusers.values.masking import mask
from blockusers.values.outcome import Operation, Status, written
from blockusers.values.report import Incomplete, Report
from blockusers.values.users import Reader

T = TypeVar("T")

# Without quotes the shell makes several arguments of one number, and the last may be a stranger's.
_PART_OF_A_NUMBER: Final = re.compile(r"\+?[().\-/]*([0-9][().\-/]*){1,6}")


def check_quotes(users: Sequence[str]) -> None:
    """Reject what looks like one number in several arguments.

    Raises:
        UsageError: It does.
    """
    parts = [user for user in users if _PART_OF_A_NUMBER.fullmatch(user)]
    if parts and len(users) > 1:
        raise UsageError(
            f"{' and '.join(parts[:2])} cannot be a whole number; a number with blanks needs"
            ' quotes: "+49 151 2345678"'
        )


def say_how_to_type(screen: Screen, files: Sequence[Path]) -> None:
    """Say it if one of *files* is a terminal, which waits in silence."""
    if Path("-") in files and sys.stdin is not None and sys.stdin.isatty():
        screen.say("type the users, one per line; Ctrl-D ends the list", "dim")


def read_users(
    screen: Screen,
    users: Sequence[str] | None,
    files: Sequence[Path] | None,
    column: str | None,
) -> Reading:
    """Collect the users that the arguments of a command name.

    Raises:
        UsageError: There are none, a column is named without a file, or a file cannot be read.
    """
    if not files and not users:
        raise UsageError("name the users, or a file that lists them with --file")
    if not files and column is not None:
        raise UsageError("--column belongs to --file")
    say_how_to_type(screen, files or ())
    reading = Reading()
    for number, user in enumerate(users or (), 1):
        # An argument can be any bytes; what is not text is not a user.
        text = user.encode(errors="replace").decode()
        reading.entries.append(Entry(text, f"argument {number}"))
    for file in files or ():
        reading.extend(read_file(file, column))
    for note in reading.notes:
        screen.say(note, "dim")
    return reading


@attrs.frozen
class Inputs:
    """The users of a job."""

    users: Sequence[Any]
    """What is submitted: each user once, without those who are done."""
    repeats: int
    """Inputs that name a user who was named before."""
    skipped: int
    """Inputs that name a user who is done."""
    reading: Reading
    """What the files hold."""
    complaints: Sequence[str]
    """The lines that will fail or cannot be read, and why."""


def filter_done(reading: Reading, reader: Reader, done: Container[str] = ()) -> Inputs:
    """Leave out repeats and users who are done; find out which inputs will be rejected."""
    users, complaints, skipped = dict[object, Any](), [*reading.complaints], 0
    for index, (value, where) in enumerate(reading.entries):
        try:
            key: object = reader.read(value).key
        except ValueError as error:
            complaints.append(f"{where}: {mask(written(value))} {error}")
            key = index  # each has an outcome of its own
        if isinstance(key, str) and key in done:
            skipped += 1
        else:
            users.setdefault(key, value)
    repeats = len(reading.entries) - skipped - len(users)
    return Inputs(tuple(users.values()), repeats, skipped, reading, complaints)


@attrs.frozen
class Result:
    """How a job ended."""

    report: Report
    inputs: Inputs
    error: Exception | None = None
    """What ended it early; an `Interrupted` too."""

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        all_ok = self.report.counts[Status.DONE] == len(self.report)
        all_done = all_ok and not self.inputs.reading.complaints
        return process.exit_code(self.error, all_done=all_done)


def run_job(workplace: Workplace, operation: Operation, inputs: Inputs) -> Result:
    """Block or unblock users, and say how that ended, however it does."""

    def job(client: Client, meter: Meter) -> Coroutine[Any, Any, Report]:
        send = client.block if operation is Operation.BLOCK else client.unblock
        return send(inputs.users, on_settled=partial(workplace.keep, meter, operation))

    try:
        return Result(workplace.run(job, len(inputs.users)), inputs)
    except Incomplete as early:
        return Result(early.report, inputs, early.error)
