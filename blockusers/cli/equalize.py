"""Making the blocklist equal to a file: shows what there is to do, asks, and does it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from blockusers.cli.process import UsageError
from blockusers.cli.screen import Screen
from blockusers.cli.summary import faults_table
from blockusers.client import Client
from blockusers.identifiers import mask
from blockusers.models import Account
from blockusers.report import PartialFailure, User, named_by
from blockusers.syncing import SyncReport, carry_out


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
        if dry_run or not (plan.to_add or plan.to_remove):
            return not plan.refused
        if not (yes or _confirmed(plan)):
            return False
        # That, and nothing else, is what was confirmed, whoever came onto the list meanwhile.
        done = await carry_out(plan, block=client.block, unblock=client.unblock)
    screen.say(done.summary())
    for report in (done.removed, done.added):
        if report is not None and report.failed:
            screen.show(faults_table(report))
    return _is_equal(done)


def tell_plan(plan: SyncReport, screen: Screen) -> None:
    """Print who is to be added and removed, one a line; say how many, and what was refused."""
    for user in plan.to_remove:
        typer.echo(f"remove {named_by(user)}")
    for name in plan.to_add:
        typer.echo(f"add {named_by(name)}")
    for outcome in plan.refused:
        screen.say(f"refused: {mask(str(outcome.input))} {outcome.fault}", "yellow")
    screen.say(plan.summary())


def somebody_is_there() -> bool:
    """Say whether a question would be read."""
    return sys.stdin.isatty()


def _confirmed(plan: SyncReport) -> bool:
    if not somebody_is_there():
        raise UsageError("there is nobody to ask: look at it with --dry-run, then pass --yes")
    if plan.to_remove:
        typer.echo("Whoever is removed can be blocked again only after writing to you.", err=True)
    return typer.confirm("Go on?", err=True)


def _is_equal(done: SyncReport) -> bool:
    try:
        done.raise_for_failures()
    except PartialFailure:
        return False
    return True
