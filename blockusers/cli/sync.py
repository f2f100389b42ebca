"""Makes the blocklist equal to files: shows what there is to do, asks, and does it.

The list is read by one event loop and changed by another, and the question is asked between them:
Python's own handling of Ctrl-C holds there, so that it ends the question and nothing was done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Final

from blockusers.cli import process
from blockusers.cli.account import Workplace
from blockusers.cli.process import Interrupted, UsageError, describe, emit_lines, printable
from blockusers.cli.questions import is_confirmed
from blockusers.cli.screen import Meter, Screen
from blockusers.cli.summary import ending, show_faults, to_go_on
from blockusers.client import Client
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

_MOST_ON_A_TERMINAL: Final = 10


def sync(
    workplace: Workplace,
    names: Sequence[User],
    *,
    dry_run: bool,
    max_removals: int | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Make the blocklist equal to *names*; return the exit code.

    Raises:
        UsageError: *names* names nobody, or there is no terminal to ask on.
        TooManyRemovals: It would remove more than *max_removals*, or without a question more
            than a tenth; nothing was done.
        BlockUsersError: The list could not be read; nothing was done.
        Interrupted: Nothing was done.
    """
    screen = workplace.screen
    done, error = _make_plan(workplace, names, max_removals), None
    _show_plan(done, screen, as_json=as_json)
    if workplace.journal is not None and not dry_run:
        workplace.journal.write(Operation.BLOCK, done.rejected)
    try:
        check_removals(done)
    except TooManyRemovals as too_many:
        if dry_run:
            screen.say(describe(too_many), "yellow")
        elif yes or max_removals is not None:
            raise
    if not dry_run and (done.to_add or done.to_remove):
        if not (yes or _is_confirmed(done, screen)):
            screen.tell("nothing was done")
            return process.SOME_NOT
        # Only this plan was confirmed, even if the list has changed in the meantime.
        done, error = _carry_out(workplace, done)
    if as_json:
        emit_lines([json.dumps(_to_json(done, error, dry_run=dry_run))])
    return _conclude(done, error, screen)


def _make_plan(workplace: Workplace, names: Sequence[User], max_removals: int | None) -> SyncReport:
    try:
        return workplace.run(
            lambda client, _: client.sync(names, dry_run=True, max_removals=max_removals)
        )
    except ValueError:
        raise UsageError(
            "the file names nobody, and an empty list would unblock everybody; if that is"
            " meant: blockusers list | blockusers unblock --file -"
        ) from None


def _show_plan(plan: SyncReport, screen: Screen, *, as_json: bool) -> None:
    """Print who would be added and removed, one per line, and on stderr how many.

    A terminal gets the first of many, a pipe or a file all.
    """
    for verb, users in (("remove", plan.to_remove), ("add", plan.to_add)):
        if as_json:
            break
        most = _MOST_ON_A_TERMINAL if sys.stdout.isatty() else len(users)
        emit_lines(printable(f"{verb} {written(named_by(user))}") for user in users[:most])
        if more := users[most:]:
            emit_lines([f"… and {len(more):,} more to {verb}; --json shows all"])
    rejected = [f"rejected: {mask(written(one.input))} {one.fault}" for one in plan.rejected]
    screen.complain(rejected, always=True)
    (screen.tell if rejected else screen.say)(plan.summary())


def _is_confirmed(plan: SyncReport, screen: Screen) -> bool:
    removals = len(plan.to_remove)
    consequence = (
        f"{removals:,} of {removals + len(plan.kept):,} blocked users will be unblocked;"
        " each can be blocked again only after writing to you."
    )
    return is_confirmed(
        screen, consequence if removals else "", otherwise="check with --dry-run, then add --yes"
    )


def _carry_out(workplace: Workplace, plan: SyncReport) -> tuple[SyncReport, Exception | None]:
    """Do what *plan* says; however it ends, say what was done: removals cannot be undone."""

    def job(client: Client, meter: Meter) -> Coroutine[Any, Any, SyncReport]:
        # Numbers of the list have a country code in every region.
        removed = partial(workplace.keep, meter, Operation.UNBLOCK, reader=INTERNATIONAL)
        added = partial(workplace.keep, meter, Operation.BLOCK)
        unblock = partial(client.unblock, on_settled=removed)
        block = partial(client.block, on_settled=added)
        return carry_out(plan, block=block, unblock=unblock)

    try:
        return workplace.run(job, len(plan.to_add) + len(plan.to_remove)), None
    except SyncIncomplete as early:
        return early.report, early.error


def _conclude(done: SyncReport, error: Exception | None, screen: Screen) -> int:
    """Print the result, and return the exit code."""
    parts = [report for report in (done.removed, done.added) if report is not None]
    is_equal = not done.rejected and all(outcome.ok for part in parts for outcome in part)
    code = process.exit_code(error, all_done=is_equal)
    if parts:
        (screen.say if code == process.ALL_DONE else screen.tell)(done.summary())
    for part in parts:
        show_faults(screen, part)
    if isinstance(error, Interrupted):
        screen.tell(
            "interrupted; those whose answer was still to come may be done, too. To go on, sync"
            " again."
        )
    elif error is not None:
        screen.tell(f"ended early: {describe(error)}", "bold red")
        screen.tell(f"{to_go_on(error, 'sync again')}.")
    return code


def _to_json(done: SyncReport, error: Exception | None, *, dry_run: bool) -> dict[str, Any]:
    return {
        "operation": "sync",
        "dry_run": dry_run,
        "to_add": [written(named_by(user)) for user in done.to_add],
        "to_remove": [written(named_by(user)) for user in done.to_remove],
        "kept": len(done.kept),
        "rejected": [outcome.to_dict() for outcome in done.rejected],
        "added": done.added and done.added.to_dicts(),
        "removed": done.removed and done.removed.to_dicts(),
        **ending(error),
    }
