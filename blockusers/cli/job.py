"""A job on a list of users, from what is written down to how it ended."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from blockusers.cli import process
from blockusers.cli.input_files import Entry, Reading, read_file
from blockusers.cli.journal import Journal
from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.screen import Meter
from blockusers.client import Client
from blockusers.values.account import Account
from blockusers.values.masking import mask
from blockusers.values.national import NationalReader
from blockusers.values.outcome import Operation, Outcome, written
from blockusers.values.report import Incomplete, Report
from blockusers.values.users import INTERNATIONAL, Reader


@attrs.frozen
class Sources:
    """Where the users of a command are written down.

    Raises:
        UsageError: Nowhere, or there is a column without a file.
    """

    users: Sequence[str]
    files: Sequence[Path]
    column: str | None

    def __attrs_post_init__(self) -> None:
        """Check the combination."""
        if not self.files and not self.users:
            raise UsageError("name the users, or a file that lists them with --file")
        if not self.files and self.column is not None:
            raise UsageError("--column belongs to --file")

    def read(self) -> Reading:
        """Collect the users.

        Raises:
            UsageError: A file cannot be read.
        """
        reading = Reading()
        for number, user in enumerate(self.users, 1):
            # An argument can be any bytes; what is no text is no user either.
            text = user.encode(errors="replace").decode()
            reading.entries.append(Entry(text, f"argument {number}"))
        for file in self.files:
            reading.extend(read_file(file, self.column))
        return reading


@attrs.frozen
class Inputs:
    """Whom a job is about."""

    users: Sequence[Any]
    """What is submitted: all that was written, but for those who are done already."""
    distinct: int
    """How many outcomes there will be."""
    skipped: int
    """Inputs that name somebody who is done already."""
    empty: int
    """Empty cells."""
    unread: int
    """Lines that cannot be read."""
    complaints: Sequence[str]
    """Why which line will fail or cannot be read."""

    @property
    def repeats(self) -> int:
        """Inputs that name somebody named before."""
        return len(self.users) - self.distinct


def reader_of(region: str | None) -> Reader:
    """Return what reads users: with national spellings, if a region is named."""
    return INTERNATIONAL if region is None else NationalReader(region)


def filter_done(reading: Reading, reader: Reader, done: Container[str] = ()) -> Inputs:
    """Leave out who is done, and see whom the library will reject."""
    users, keys, complaints = list[Any](), set[str](), [*reading.complaints]
    rejected = 0
    for value, where in reading.entries:
        try:
            key = reader.read(value).key
        except ValueError as error:
            complaints.append(f"{where}: {mask(written(value))} {error}")
            rejected += 1
        else:
            if key in done:
                continue
            keys.add(key)
        users.append(value)
    return Inputs(
        users,
        distinct=len(keys) + rejected,
        skipped=len(reading.entries) - len(users),
        empty=reading.empty,
        unread=len(reading.complaints),
        complaints=complaints,
    )


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
    journal: Journal | None = None
    region: str | None = None

    def run(self, account: Account) -> Ending:
        """Carry it out, however it ends."""
        began = time.monotonic()
        settled = list[Outcome]()
        try:
            return Ending(process.run(self._send(account, settled)), self.inputs)
        except Incomplete as early:
            return Ending(early.report, self.inputs, early.error)
        except Interrupted:
            report = Report(
                self.operation,
                tuple(settled),
                repeats=self.inputs.repeats,
                elapsed=time.monotonic() - began,
            )
            return Ending(report, self.inputs, interrupted=True)

    async def _send(self, account: Account, settled: list[Outcome]) -> Report:
        async with Client(account, region=self.region, observers=[self.meter.observe]) as client:
            self.meter.watch(client.pace)
            send = client.block if self.operation is Operation.BLOCK else client.unblock
            keep = partial(note, self.operation, self.journal, self.meter, settled)
            return await send(self.inputs.users, on_settled=keep)


def note(
    operation: Operation,
    journal: Journal | None,
    meter: Meter,
    settled: list[Outcome],
    outcomes: Sequence[Outcome],
    *,
    reader: Reader | None = None,
) -> None:
    """Keep *outcomes*: first in the file, so that what the person sees is certain."""
    if journal is not None:
        journal.write(operation, outcomes, reader)
    settled.extend(outcomes)
    meter.add(outcomes)
