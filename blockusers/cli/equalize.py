"""Making the blocklist equal to a file: shows what there is to do, asks, and does it."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial

import typer

from blockusers.cli.process import UsageError
from blockusers.cli.screen import Screen
from blockusers.cli.summary import faults_table
from blockusers.client import Client
from blockusers.lists.sync import SyncIncomplete, SyncReport, carry_out, check_removals
from blockusers.values.account import Account
from blockusers.values.masking import mask
from blockusers.values.outcome import Operation, Outcome, User, named_by
from blockusers.values.report import PartialFailure


async def equalize(
    account: Account,
    names: Sequence[User],
    screen: Screen,
    *,
    region: str | None,
    dry_run: bool,
    max_removals: int | None,
    yes: bool,
) -> bool:
    """Make the blocklist equal to *names*; return whether it is, or would be.

    Raises:
        UsageError: *names* is no list to go by, or there is nobody to ask.
        TooManyRemovals: It would remove more than *max_removals*, or without a question more than
            a tenth; nothing was done.
        SyncIncomplete: It ended early; what was done is on the screen.
    """
    async with Client(account, region=region) as client:
        try:
            plan = await client.sync(names, dry_run=True, max_removals=max_removals)
        except ValueError:
            raise UsageError(
                "the file names nobody, and an empty list would unblock everybody; if that is"
                " meant: blockusers list | blockusers unblock --file -"
            ) from None
        tell_plan(plan, screen)
        if dry_run:
            _warn_of_removals(plan, screen)
        if dry_run or not (plan.to_add or plan.to_remove):
            return not plan.rejected
        if yes or max_removals is not None:
            check_removals(plan)
        if not (yes or _confirmed(plan)):
            return False
        # That, and nothing else, is what was confirmed, whoever came onto the list meanwhile.
        return _is_equal(await _carry_out(plan, client, screen), screen)


def tell_plan(plan: SyncReport, screen: Screen) -> None:
    """Print who is to be added and removed, one a line; say how many, and what was rejected."""
    for user in plan.to_remove:
        typer.echo(f"remove {named_by(user)}")
    for name in plan.to_add:
        typer.echo(f"add {named_by(name)}")
    for outcome in plan.rejected:
        screen.say(f"rejected: {mask(str(outcome.input))} {outcome.fault}", "yellow")
    screen.say(plan.summary())


def _warn_of_removals(plan: SyncReport, screen: Screen) -> None:
    if len(plan.to_remove) > plan.max_removals:
        screen.say(
            f"that is more than the {plan.max_removals:,} removals that are permitted; if the file"
            f" is right, pass --max-removals {len(plan.to_remove)}",
            "yellow",
        )


def somebody_is_there() -> bool:
    """Say whether a question would be read."""
    return sys.stdin.isatty()


def _confirmed(plan: SyncReport) -> bool:
    if not somebody_is_there():
        raise UsageError("there is nobody to ask: look at it with --dry-run, then pass --yes")
    if plan.to_remove:
        removals = len(plan.to_remove)
        typer.echo(
            f"{removals:,} of {removals + len(plan.kept):,} blocked users will be unblocked; each"
            " can be blocked again only after writing to you.",
            err=True,
        )
    return typer.confirm("Go on?", err=True)


async def _carry_out(plan: SyncReport, client: Client, screen: Screen) -> SyncReport:
    """Do what *plan* says; however it ends, say what was done, for removals cannot be undone."""
    done = Counter[Operation]()

    def note(operation: Operation, outcomes: Sequence[Outcome]) -> None:
        done[operation] += sum(outcome.ok for outcome in outcomes)

    block = partial(client.block, on_settled=partial(note, Operation.BLOCK))
    unblock = partial(client.unblock, on_settled=partial(note, Operation.UNBLOCK))
    try:
        return await carry_out(plan, block=block, unblock=unblock)
    except SyncIncomplete as early:
        _show_faults(early.report, screen)  # its text has the counts
        raise
    except asyncio.CancelledError:
        screen.tell(
            f"{done[Operation.BLOCK]:,} added, {done[Operation.UNBLOCK]:,} removed, and perhaps"
            " those whose answer was still to come; to go on, sync again"
        )
        raise


def _is_equal(done: SyncReport, screen: Screen) -> bool:
    screen.say(done.summary())
    _show_faults(done, screen)
    try:
        done.raise_for_failures()
    except PartialFailure:
        return False
    return True


def _show_faults(done: SyncReport, screen: Screen) -> None:
    for report in (done.removed, done.added):
        if report is not None and report.failed:
            screen.show(faults_table(report))
