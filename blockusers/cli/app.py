"""Defines the commands, such as `blockusers block`: their options, and what each of them calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated

import attrs
import typer
from rich.console import Console

import blockusers
from blockusers.cli import deny, help_texts, options, process
from blockusers.cli.account import open_workplace
from blockusers.cli.base import Command, Group
from blockusers.cli.checking import check_entry, in_words, totals_of
from blockusers.cli.demo import Demo
from blockusers.cli.guard import guard
from blockusers.cli.input_files import count, doubts, reader_of
from blockusers.cli.job import check_quotes, filter_done, read_users, run_job
from blockusers.cli.sample_data import make_sample
from blockusers.cli.sandbox_server import serve
from blockusers.cli.screen import Meter, Screen
from blockusers.cli.summary import sum_up, to_json
from blockusers.cli.sync import sync
from blockusers.client import Client
from blockusers.sandbox import Rules
from blockusers.values.outcome import Operation, written

app = typer.Typer(
    cls=Group,
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
        users: options.Users = None,
        files: options.Files = None,
        column: options.Column = None,
        region: options.Region = None,
        output: options.Output = None,
        sandbox: options.Sandbox = False,
        token_file: options.TokenFile = None,
        quiet: options.Quiet = False,
        as_json: options.AsJson = False,
        _debug: options.Debug = False,
    ) -> None:
        screen = Screen(quiet=quiet)
        check_quotes(users or ())
        # Opened before the input is read: that can take a while, and two runs would both read it.
        with open_workplace(
            screen, sandbox=sandbox, token_file=token_file, region=region, output=output
        ) as workplace:
            reading = read_users(screen, users, files, column)
            done = workplace.journal.done(operation) if workplace.journal else ()
            inputs = filter_done(reading, reader_of(region), done)
            screen.complain(inputs.complaints)
            screen.complain(doubts(inputs.users, reader_of(region)))
            result = run_job(workplace, operation, inputs)
            if as_json:
                process.emit_lines([json.dumps(to_json(result))])
            sum_up(result, screen, output)
        raise typer.Exit(result.exit_code)

    return command


app.command("block", cls=Command, help=help_texts.BLOCK)(_job_command(Operation.BLOCK))
app.command("unblock", cls=Command, help=help_texts.UNBLOCK)(_job_command(Operation.UNBLOCK))


@app.command("sync", cls=Command, help=help_texts.SYNC)
def _sync(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="All users to be blocked: lines, CSV or JSON Lines."),
    ],
    column: options.Column = None,
    region: options.Region = None,
    output: options.Output = None,
    dry_run: options.DryRun = False,
    max_removals: options.MaxRemovals = None,
    yes: options.Yes = False,
    sandbox: options.Sandbox = False,
    token_file: options.TokenFile = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    _debug: options.Debug = False,
) -> None:
    """Make the blocklist equal to files."""
    screen = Screen(quiet=quiet)
    with open_workplace(
        screen, sandbox=sandbox, token_file=token_file, region=region, output=output
    ) as workplace:
        reading = read_users(screen, (), files, column)
        screen.complain(reading.complaints, always=True)
        if reading.complaints:
            raise process.UsageError(
                "fix these lines first, or the users in them would be unblocked"
            )
        if reading.empty:
            screen.say(f"{count(reading.empty, 'empty cell')} skipped")
        names = [entry.value for entry in reading.entries]
        code = sync(
            workplace, names, dry_run=dry_run, max_removals=max_removals, yes=yes, as_json=as_json
        )
    raise typer.Exit(code)


# Listing and checking.


@app.command("list", cls=Command, help=help_texts.LIST)
def _list(
    *,
    sandbox: options.Sandbox = False,
    token_file: options.TokenFile = None,
    quiet: options.Quiet = False,
    json_lines: options.AsJson = False,
    _debug: options.Debug = False,
) -> None:
    """List the blocked users."""
    screen = Screen(quiet=quiet, draws=not sys.stdout.isatty())
    with open_workplace(screen, sandbox=sandbox, token_file=token_file) as workplace:
        listed = workplace.run(partial(_print_blocked, json_lines=json_lines))
    screen.say(f"{count(listed, 'user')} blocked")


async def _print_blocked(client: Client, _: Meter, *, json_lines: bool) -> int:
    listed = 0
    async with aclosing(client.blocked()) as users:
        async for user in users:
            name = user.wa_id or user.user_id or ""
            process.emit(json.dumps(attrs.asdict(user)) if json_lines else name)
            listed += 1
    return listed


@app.command("check", cls=Command, help=help_texts.CHECK)
def _check(
    *,
    users: options.Users = None,
    files: options.Files = None,
    column: options.Column = None,
    region: options.Region = None,
    listed: Annotated[
        bool, typer.Option("--listed", help="Look up on the blocklist who is blocked, too.")
    ] = False,
    sandbox: options.Sandbox = False,
    token_file: options.TokenFile = None,
    quiet: options.Quiet = False,
    json_lines: options.AsJson = False,
    _debug: options.Debug = False,
) -> None:
    """Say how each user is read, or why it is rejected."""
    screen = Screen(quiet=quiet)
    reading = read_users(screen, users, files, column)
    screen.complain(reading.complaints)
    blocked = None
    if listed:
        with open_workplace(
            screen, sandbox=sandbox, token_file=token_file, region=region
        ) as workplace:
            names = [entry.value for entry in reading.entries]
            blocked = {*map(written, workplace.run(lambda client, _: client.find(names)))}
    checks = [check_entry(entry, reader_of(region), blocked) for entry in reading.entries]
    for check in checks:
        process.emit(json.dumps(check) if json_lines else in_words(check))
    screen.say(totals_of(checks, reading, listed=listed))
    is_right = not reading.complaints and all(check["user"] for check in checks)
    raise typer.Exit(process.ALL_DONE if is_right else process.SOME_NOT)


# The deny list and the guard.

app.add_typer(deny.app, name="deny", help=help_texts.DENY)
app.command("guard", cls=Command, help=help_texts.GUARD)(guard)


# The sandbox.


@app.command("sandbox", cls=Command, help=help_texts.SANDBOX)
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
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Serve a sandbox until interrupted."""
    seconds = 86_400.0 if window else None
    served = serve(Rules(window=seconds, rate=rate, burst=burst, latency=latency), host, port)
    Screen(quiet=quiet).say(f"stopped after {count(served, 'request')}")


@app.command(cls=Command, help=help_texts.DEMO)
def demo(
    *,
    users: Annotated[int, typer.Option(min=100, max=50_000, help="How many numbers.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another seed, another list.")] = 1,
    _debug: options.Debug = False,
) -> None:
    """Show what it does."""
    console = Console(highlight=False, emoji=False)
    # Lines of progress would only be in the way of what is explained.
    screen = Screen(console, quiet=not console.is_interactive)
    correct = process.run(Demo(screen, make_sample(users, seed)).run())
    raise typer.Exit(process.ALL_DONE if correct else process.SOME_NOT)
