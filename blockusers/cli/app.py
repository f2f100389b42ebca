"""Defines the commands, such as `blockusers block`: their options, and what each of them calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

import blockusers
from blockusers.cli import help_texts, process
from blockusers.cli.account import blocklist_of, open_account
from blockusers.cli.checking import check_entry, find_blocked, in_words, totals_of
from blockusers.cli.demo import Demo
from blockusers.cli.input_files import Reading, count, reader_of
from blockusers.cli.job import Record, Result, Sources, filter_done, run_job
from blockusers.cli.journal import Journal, open_journal
from blockusers.cli.options import (
    AsJson,
    Column,
    Debug,
    DryRun,
    Files,
    MaxRemovals,
    Output,
    Quiet,
    Region,
    Sandbox,
    Token,
    TokenFile,
    Users,
    Yes,
)
from blockusers.cli.process import emit, emit_lines, error_boundary
from blockusers.cli.sample_data import make_sample
from blockusers.cli.sandbox_server import serve
from blockusers.cli.screen import Meter, Screen
from blockusers.cli.summary import as_json as to_json
from blockusers.cli.summary import sum_up
from blockusers.cli.sync import Sync
from blockusers.client import Client
from blockusers.sandbox import Rules
from blockusers.values.account import Account
from blockusers.values.blocklist import BlockedUser
from blockusers.values.outcome import Operation


def _hide_type(params: list[Any]) -> list[Any]:
    """Hide `<bool>` beside flags in the help, for they take no value."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _hide_type(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _hide_type(super().get_params(ctx))


app = typer.Typer(
    cls=_Group,
    name="blockusers",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if value:
        typer.echo(f"blockusers {blockusers.__version__}")
        raise typer.Exit


@app.callback(help=help_texts.PROGRAM)
def _main(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Handle the options before the command."""


# Blocking and unblocking.


def _job_command(operation: Operation) -> Callable[..., None]:
    def command(
        *,
        users: Users = None,
        files: Files = None,
        column: Column = None,
        region: Region = None,
        output: Output = None,
        sandbox: Sandbox = False,
        token_file: TokenFile = None,
        quiet: Quiet = False,
        as_json: AsJson = False,
        debug: Debug = False,
        _token: Token = None,
    ) -> None:
        screen = Screen(quiet=quiet)
        with error_boundary(debug=debug, as_json=as_json), ExitStack() as stack:
            sources = Sources(users or (), files or (), column)
            sources.check_quotes()
            account = stack.enter_context(
                open_account(screen, sandbox=sandbox, token_file=token_file)
            )
            # Before the input is read: that can take a while, and two runs would both read it.
            blocklist = blocklist_of(account, sandbox=sandbox)
            journal = _open(stack, screen, output, blocklist=blocklist, region=region)
            reading = _read(sources, screen)
            done = journal.done(operation) if journal else ()
            inputs = filter_done(reading, reader_of(region), done)
            screen.complain(inputs.complaints)
            with screen.meter(len(inputs.users)) as meter:
                record = Record(operation, meter, journal)
                result = run_job(account, inputs, record, region=region)
            _conclude(result, screen, journal, as_json=as_json)

    return command


def _open(
    stack: ExitStack, screen: Screen, output: Path | None, *, blocklist: str, region: str | None
) -> Journal | None:
    if output is None:
        return None
    journal = stack.enter_context(open_journal(output, blocklist, region))
    for line in journal.notes:
        screen.say(line, "yellow")
    return journal


def _read(sources: Sources, screen: Screen) -> Reading:
    if Path("-") in sources.files and sys.stdin is not None and sys.stdin.isatty():
        screen.say("type the users, one per line; Ctrl-D ends the list", "dim")
    reading = sources.read()
    for line in reading.headers:
        screen.say(line, "dim")
    return reading


def _conclude(result: Result, screen: Screen, journal: Journal | None, *, as_json: bool) -> None:
    if as_json:
        emit_lines([json.dumps(to_json(result))])
    sum_up(result, screen, journal)
    raise typer.Exit(result.exit_code)


app.command("block", cls=_Command, help=help_texts.BLOCK)(_job_command(Operation.BLOCK))
app.command("unblock", cls=_Command, help=help_texts.UNBLOCK)(_job_command(Operation.UNBLOCK))


@app.command("sync", cls=_Command, help=help_texts.SYNC)
def _sync(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="All users to be blocked: lines, CSV or JSON Lines."),
    ],
    column: Column = None,
    region: Region = None,
    output: Output = None,
    dry_run: DryRun = False,
    max_removals: MaxRemovals = None,
    yes: Yes = False,
    sandbox: Sandbox = False,
    token_file: TokenFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
    _token: Token = None,
) -> None:
    """Make the blocklist equal to files."""
    screen = Screen(quiet=quiet)
    with error_boundary(debug=debug, as_json=as_json), ExitStack() as stack:
        account = stack.enter_context(open_account(screen, sandbox=sandbox, token_file=token_file))
        blocklist = blocklist_of(account, sandbox=sandbox)
        journal = _open(stack, screen, output, blocklist=blocklist, region=region)
        reading = _read(Sources((), files, column), screen)
        screen.complain(reading.complaints, always=True)
        if reading.complaints:
            raise process.UsageError(
                "fix these lines first, or the users in them would be unblocked"
            )
        if reading.empty:
            screen.say(f"{count(reading.empty, 'empty cell')} skipped")
        work = Sync(
            account,
            screen,
            region=region,
            dry_run=dry_run,
            max_removals=max_removals,
            yes=yes,
            as_json=as_json,
            journal=journal,
        )
        raise typer.Exit(work.run([entry.value for entry in reading.entries]))


# Listing and checking.


@app.command("list", cls=_Command, help=help_texts.LIST)
def _list(
    *,
    sandbox: Sandbox = False,
    token_file: TokenFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
    _token: Token = None,
) -> None:
    """List the blocked users."""
    screen = Screen(quiet=quiet)
    with error_boundary(debug=debug):
        with (
            open_account(screen, sandbox=sandbox, token_file=token_file) as account,
            screen.meter(0) as meter,
        ):
            listed = process.run(_print_blocked(account, meter, as_json=as_json))
        screen.say(f"{count(listed, 'user')} blocked")


async def _print_blocked(account: Account, meter: Meter, *, as_json: bool) -> int:
    listed = 0
    async with (
        Client(account, observers=[meter.observe]) as client,
        aclosing(client.blocked()) as users,
    ):
        async for user in users:
            emit(_line(user, as_json=as_json))
            listed += 1
    return listed


def _line(user: BlockedUser, *, as_json: bool) -> str:
    return json.dumps(attrs.asdict(user)) if as_json else user.wa_id or user.user_id or ""


@app.command("check", cls=_Command, help=help_texts.CHECK)
def _check(
    *,
    users: Users = None,
    files: Files = None,
    column: Column = None,
    region: Region = None,
    listed: Annotated[
        bool, typer.Option("--listed", help="Look up on the blocklist who is blocked, too.")
    ] = False,
    sandbox: Sandbox = False,
    token_file: TokenFile = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
    debug: Debug = False,
    _token: Token = None,
) -> None:
    """Say how each user is read, or why it is rejected."""
    screen = Screen(quiet=quiet)
    with error_boundary(debug=debug):
        reading = _read(Sources(users or (), files or (), column), screen)
        screen.complain(reading.complaints)
        blocked = None
        if listed:
            names = [entry.value for entry in reading.entries]
            with (
                open_account(screen, sandbox=sandbox, token_file=token_file) as account,
                screen.meter(0) as meter,
            ):
                blocked = process.run(find_blocked(account, names, region, meter))
        checks = [check_entry(entry, reader_of(region), blocked) for entry in reading.entries]
        for check in checks:
            emit(json.dumps(check) if as_json else in_words(check))
        screen.say(totals_of(checks, reading, listed=listed))
        is_right = not reading.complaints and all(check["user"] for check in checks)
        raise typer.Exit(process.ALL_DONE if is_right else process.SOME_NOT)


# The sandbox.


@app.command("sandbox", cls=_Command, help=help_texts.SANDBOX)
def _sandbox(
    *,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks one.")] = 8064,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Requests per second; more get 130429.")
    ] = None,
    burst: Annotated[int, typer.Option(min=1, help="Requests at once after a rest.")] = 10,
    window: Annotated[
        bool, typer.Option(help="Block only who wrote within 24 hours, as Meta does.")
    ] = False,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that an answer takes.")] = 0.0,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Serve a sandbox until interrupted."""
    with error_boundary(debug=debug):
        seconds = 86_400.0 if window else None
        rules = Rules(window=seconds, rate=rate, burst=burst, latency=latency)
        served = serve(rules, host, port)
        Screen(quiet=quiet).say(f"stopped after {count(served, 'request')}")


@app.command(cls=_Command, help=help_texts.DEMO)
def demo(
    *,
    users: Annotated[int, typer.Option(min=100, max=50_000, help="How many numbers.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another seed, another list.")] = 1,
    debug: Debug = False,
) -> None:
    """Show what it does."""
    console = Console(highlight=False, emoji=False)
    with error_boundary(debug=debug):
        # Lines of progress would only be in the way of what is explained.
        screen = Screen(console, quiet=not console.is_interactive)
        correct = process.run(Demo(screen, make_sample(users, seed)).run())
        raise typer.Exit(process.ALL_DONE if correct else process.SOME_NOT)
