"""A job on a list of users, from what is written down to how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from blockusers.cli import process
from blockusers.cli.files import Entry, Reading, read_file
from blockusers.cli.output import Output
from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.screen import Meter
from blockusers.client import Client
from blockusers.values.account import Account
from blockusers.values.masking import mask
from blockusers.values.national import NationalReader
from blockusers.values.outcome import Operation, Outcome
from blockusers.values.report import Incomplete, Report
from blockusers.values.users import INTERNATIONAL, Reader


@attrs.frozen
class Inputs:
    """Whom a job is about."""

    users: Sequence[Any]
    """What is handed in: all that was written, but for those who are done already."""
    distinct: int
    """How many outcomes there will be."""
    skipped: int
    """Inputs that name somebody who is done already."""
    unread: int
    """Lines that cannot be read."""
    complaints: Sequence[str]
    """Why which line will fail or cannot be read."""

    @property
    def repeats(self) -> int:
        """Inputs that name somebody named before."""
        return len(self.users) - self.distinct


def gather(users: Iterable[str], file: Path | None, column: str | None) -> Reading:
    """Collect the users named as arguments and in a file.

    Raises:
        UsageError: There are neither, or the file cannot be read.
    """
    # An argument can be any bytes; what is no text is no user either.
    names = [user.encode(errors="replace").decode() for user in users]
    if file is None and not names:
        raise UsageError("name the users, or a file that lists them with --file")
    if file is None and column is not None:
        raise UsageError("--column belongs to --file")
    reading = Reading() if file is None else read_file(file, column)
    arguments = [Entry(name, f"argument {n}") for n, name in enumerate(names, 1)]
    return Reading([*arguments, *reading.entries], reading.complaints)


def reader_of(region: str | None) -> Reader:
    """Return what reads users: with national spellings, if a region is named."""
    return INTERNATIONAL if region is None else NationalReader(region)


def sift(reading: Reading, reader: Reader, done: frozenset[str] = frozenset()) -> Inputs:
    """Leave out who is done, and see whom the library will refuse."""
    users, keys, complaints = list[Any](), set[str](), [*reading.complaints]
    refused = 0
    for value, where in reading.entries:
        try:
            key = reader.read(value).key
        except ValueError as error:
            complaints.append(f"{where}: {mask(str(value))} {error}")
            refused += 1
        else:
            if key in done:
                continue
            keys.add(key)
        users.append(value)
    skipped = len(reading.entries) - len(users)
    return Inputs(users, len(keys) + refused, skipped, len(reading.complaints), complaints)


@attrs.frozen
class Ending:
    """How a job ended."""

    report: Report
    inputs: Inputs
    error: Exception | None = None
    """What ended it early."""
    interrupted: bool = False

    @property
    def left(self) -> int:
        """How many users an interrupted job has not come to."""
        return self.inputs.distinct - len(self.report)

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.interrupted:
            return process.INTERRUPTED
        if self.error is not None:
            return process.ENDED_EARLY
        all_done = all(outcome.ok for outcome in self.report) and not self.inputs.unread
        return process.ALL_DONE if all_done else process.SOME_NOT


@attrs.define
class Job:
    """One command's worth of blocking or unblocking."""

    operation: Operation
    inputs: Inputs
    meter: Meter
    output: Output | None = None
    region: str | None = None
    _settled: list[Outcome] = attrs.field(factory=list[Outcome], init=False)

    def run(self, account: Account) -> Ending:
        """Carry it out, however it ends."""
        began = time.monotonic()
        try:
            return Ending(process.run(self._send(account)), self.inputs)
        except Incomplete as incomplete:
            return Ending(incomplete.report, self.inputs, incomplete.error)
        except Interrupted:
            report = Report(
                self.operation,
                tuple(self._settled),
                repeats=self.inputs.repeats,
                elapsed=time.monotonic() - began,
            )
            return Ending(report, self.inputs, interrupted=True)

    async def _send(self, account: Account) -> Report:
        async with Client(account, region=self.region) as client:
            self.meter.watch(client.pace)
            send = client.block if self.operation is Operation.BLOCK else client.unblock
            return await send(self.inputs.users, on_settled=self._note)

    def _note(self, outcomes: tuple[Outcome, ...]) -> None:
        # First the file: what the person sees is certain then.
        if self.output is not None:
            self.output.write(outcomes)
        self._settled.extend(outcomes)
        self.meter.add(outcomes)
