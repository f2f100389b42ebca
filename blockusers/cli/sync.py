"""Makes the blocklist equal to files: shows what there is to do, asks, and does it.

The list is read by one event loop and changed by another, and the question is asked between them:
Python's own handling of Ctrl-C holds there, so that it ends the question and nothing was done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
from rich.prompt import Confirm

from blockusers.cli import process
from blockusers.cli.account import Workplace
from blockusers.cli.job import Record
from blockusers.cli.process import (
    Interrupted,
    UsageError,
    describe,
    emit_lines,
    error_object,
    printable,
)
from blockusers.cli.screen import Screen
from blockusers.cli.summary import show_faults, to_go_on
from blockusers.lists.sync import (
    SyncIncomplete,
    SyncReport,
    TooManyRemovals,
    carry_out,
    check_removals,
)
from blockusers.values.masking import mask
from blockusers.values.outcome import Operation, User, named_by, written
from blockusers.values.users import INTERNATIONAL


@attrs.define
class Sync:
    """One run of the command `sync`."""

    workplace: Workplace
    dry_run: bool
    max_removals: int | None
    yes: bool
    as_json: bool
    screen: Screen = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Take the screen of the workplace."""
        self.screen = self.workplace.screen

    def run(self, names: Sequence[User]) -> int:
        """Make the blocklist equal to *names*; return the exit code.

        Raises:
            UsageError: *names* names nobody, or there is no terminal to ask on.
            TooManyRemovals: It would remove more than *max_removals*, or without a question more
                than a tenth; nothing was done.
            BlockUsersError: The list could not be read; nothing was done.
            Interrupted: Nothing was done.
        """
        plan = self._make_plan(names)
        self._show_plan(plan)
        if self.workplace.journal is not None and not self.dry_run:
            self.workplace.journal.write(Operation.BLOCK, plan.rejected)
        try:
            check_removals(plan)
        except TooManyRemovals as error:
            if self.dry_run:
                self.screen.say(describe(error), "yellow")
            elif self.yes or self.max_removals is not None:
                raise
        if self.dry_run or not (plan.to_add or plan.to_remove):
            return self._end(plan)
        if not (self.yes or self._is_confirmed(plan)):
            self.screen.tell("nothing was done")
            return process.SOME_NOT
        # Only this plan was confirmed, even if the list has changed in the meantime.
        return self._carry_out(plan)

    def _make_plan(self, names: Sequence[User]) -> SyncReport:
        async def read() -> SyncReport:
            async with self.workplace.client(meter) as client:
                return await client.sync(names, dry_run=True, max_removals=self.max_removals)

        try:
            with self.screen.meter(0) as meter:
                return process.run(read())
        except ValueError:
            raise UsageError(
                "the file names nobody, and an empty list would unblock everybody; if that is"
                " meant: blockusers list | blockusers unblock --file -"
            ) from None

    def _show_plan(self, plan: SyncReport) -> None:
        """Print who would be added and removed, one per line, and on stderr how many."""
        if not self.as_json:
            lines = [f"remove {written(named_by(user))}" for user in plan.to_remove]
            lines += [f"add {written(named_by(name))}" for name in plan.to_add]
            emit_lines(map(printable, lines))
        self.screen.complain(
            [f"rejected: {mask(written(one.input))} {one.fault}" for one in plan.rejected],
            always=True,
        )
        tell = self.screen.tell if plan.rejected else self.screen.say
        tell(plan.summary())

    def _is_confirmed(self, plan: SyncReport) -> bool:
        for name, stream in (("stdin", sys.stdin), ("stderr", sys.stderr)):
            if stream is None or not stream.isatty():
                raise UsageError(
                    f"{name} is not a terminal, so I cannot ask; check with --dry-run, then add"
                    " --yes"
                )
        if plan.to_remove:
            removals = len(plan.to_remove)
            self.screen.tell(
                f"{removals:,} of {removals + len(plan.kept):,} blocked users will be unblocked;"
                " each can be blocked again only after writing to you."
            )
        try:
            return Confirm.ask("Go on?", console=self.screen.console, default=False)
        except EOFError:
            self.screen.tell("")
            return False
        except KeyboardInterrupt:
            self.screen.tell("")
            raise Interrupted("interrupted; nothing was done") from None

    def _carry_out(self, plan: SyncReport) -> int:
        """Do what *plan* says; however it ends, say what was done: removals cannot be undone."""
        with self.screen.meter(len(plan.to_add) + len(plan.to_remove)) as meter:
            # These numbers come from the list, so they have a country code in every region.
            journal = self.workplace.journal
            removed = Record(Operation.UNBLOCK, meter, journal, INTERNATIONAL)
            added = Record(Operation.BLOCK, meter, journal)

            async def work() -> SyncReport:
                async with self.workplace.client(meter) as client:
                    unblock = partial(client.unblock, on_settled=removed.keep)
                    block = partial(client.block, on_settled=added.keep)
                    return await carry_out(plan, block=block, unblock=unblock)

            done, error, interrupted = plan, None, False
            try:
                done = process.run(work())
            except SyncIncomplete as early:
                done, error = early.report, early.error
            except Interrupted:
                reports = removed.report(plan.to_remove), added.report(plan.to_add)
                done = attrs.evolve(plan, removed=reports[0], added=reports[1])
                interrupted = True
        return self._end(done, error, interrupted=interrupted)

    def _end(
        self, done: SyncReport, error: Exception | None = None, *, interrupted: bool = False
    ) -> int:
        """Print the result, and return the exit code."""
        parts = [report for report in (done.removed, done.added) if report is not None]
        is_equal = not done.rejected and all(outcome.ok for part in parts for outcome in part)
        code = process.exit_code(error, interrupted=interrupted, all_done=is_equal)
        if self.as_json:
            text = _as_json(done, dry_run=self.dry_run, error=error, interrupted=interrupted)
            emit_lines([text])
        tell = self.screen.say if code == process.ALL_DONE else self.screen.tell
        if parts:
            tell(done.summary())
        for part in parts:
            show_faults(self.screen, part)
        if interrupted:
            self.screen.tell(
                "interrupted; those whose answer was still to come may be done, too. To go on,"
                " sync again."
            )
        if error is not None:
            self.screen.tell(f"ended early: {describe(error)}", "bold red")
            self.screen.tell(f"{to_go_on(error, 'sync again')}.")
        return code


def _as_json(done: SyncReport, *, dry_run: bool, error: Exception | None, interrupted: bool) -> str:
    content: dict[str, Any] = {
        "operation": "sync",
        "dry_run": dry_run,
        "to_add": [written(named_by(user)) for user in done.to_add],
        "to_remove": [written(named_by(user)) for user in done.to_remove],
        "kept": len(done.kept),
        "rejected": [outcome.to_dict() for outcome in done.rejected],
        "added": done.added and done.added.to_dicts(),
        "removed": done.removed and done.removed.to_dicts(),
        "interrupted": interrupted,
        "error": error and error_object(error),
    }
    return json.dumps(content)
