"""The commands: their arguments and their help. What they do is in the modules beside this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Container
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Annotated, TypeAlias

import attrs
import typer
from rich.console import Console

import blockusers
from blockusers.cli import helps, process
from blockusers.cli.access import NO_TOKEN_HERE, open_account
from blockusers.cli.demo import Tour
from blockusers.cli.equalize import equalize
from blockusers.cli.files import Entry
from blockusers.cli.job import Ending, Job, gather, reader_of, sift
from blockusers.cli.output import Output, open_output
from blockusers.cli.process import leaving_reader, plain_words
from blockusers.cli.screen import Screen
from blockusers.cli.serve import serve
from blockusers.cli.summary import as_json as to_json
from blockusers.cli.summary import count, sum_up
from blockusers.client import Client
from blockusers.sandbox import Rules
from blockusers.values.account import Account
from blockusers.values.blocklist import BlockedUser
from blockusers.values.outcome import Operation
from blockusers.values.users import Reader

app = typer.Typer(
    name="blockusers",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _refuse_token(value: str | None) -> None:
    if value is not None:
        raise typer.BadParameter(NO_TOKEN_HERE)


def _check_region(value: str | None) -> str | None:
    try:
        reader_of(value)
    except (ValueError, ModuleNotFoundError) as error:
        raise typer.BadParameter(str(error).removeprefix("region: ")) from None
    return value


def _show_version(value: bool) -> None:  # noqa: FBT001  # Typer calls it so
    if value:
        typer.echo(f"blockusers {blockusers.__version__}")
        raise typer.Exit


_Users: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="USER",
        help="Phone numbers with their country code, WhatsApp ids or BSUIDs.",
        show_default=False,
    ),
]
_File: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        help="Read users from this file: lines, CSV or JSON Lines; - is stdin.",
    ),
]
_Column: TypeAlias = Annotated[
    str | None,
    typer.Option("--column", "-c", help="The column of the file: its name, or its number from 1."),
]
_Region: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--region",
        "-r",
        metavar="XX",
        callback=_check_region,
        help="Read national numbers of this country, too, such as BR.",
    ),
]
_Output: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        dir_okay=False,
        help="Append every outcome to this file (CSV, or JSON Lines if it ends in .jsonl),"
        " and skip whom it has as done.",
    ),
]
_Sandbox: TypeAlias = Annotated[
    bool, typer.Option("--sandbox", help="Try it on a sandbox of its own; reaches nobody.")
]
_TokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        exists=True,
        dir_okay=False,
        help="Read the access token from this file instead of WHATSAPP_ACCESS_TOKEN.",
    ),
]
_Token: TypeAlias = Annotated[
    str | None,
    typer.Option("--token", "--access-token", hidden=True, is_eager=True, callback=_refuse_token),
]
_Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Tell only the end.")]
_Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
_Debug: TypeAlias = Annotated[
    bool,
    typer.Option("--debug", envvar="BLOCKUSERS_DEBUG", help="Show where an error comes from."),
]


@app.callback(help=helps.PROGRAM)
def _main(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version."),
    ] = False,
) -> None:
    """Take what stands before the command."""


# Blocking and unblocking.


def _job_command(operation: Operation) -> Callable[..., None]:
    def command(
        *,
        users: _Users = None,
        file: _File = None,
        column: _Column = None,
        region: _Region = None,
        output: _Output = None,
        sandbox: _Sandbox = False,
        token_file: _TokenFile = None,
        quiet: _Quiet = False,
        as_json: _Json = False,
        debug: _Debug = False,
        _token: _Token = None,
    ) -> None:
        screen = Screen(quiet=quiet)
        with plain_words(debug=debug):
            reading, reader = gather(users or (), file, column), reader_of(region)
            with ExitStack() as stack:
                book: Output | None = None
                if output is not None:
                    book = stack.enter_context(open_output(output, operation, reader))
                inputs = sift(reading, reader, book.done if book else frozenset())
                screen.complain(inputs.complaints)
                if sandbox:
                    screen.say("on a sandbox, nobody is reached", "dim")
                account = stack.enter_context(open_account(sandbox=sandbox, token_file=token_file))
                meter = stack.enter_context(screen.meter(inputs.distinct))
                ending = Job(operation, inputs, meter, book, region).run(account)
            _conclude(ending, screen, book, as_json=as_json)

    return command


def _conclude(ending: Ending, screen: Screen, output: Output | None, *, as_json: bool) -> None:
    if as_json:
        with leaving_reader():
            typer.echo(to_json(ending))
    sum_up(ending, screen, output)
    raise typer.Exit(ending.exit_code)


app.command("block", help=helps.BLOCK)(_job_command(Operation.BLOCK))
app.command("unblock", help=helps.UNBLOCK)(_job_command(Operation.UNBLOCK))


@app.command("sync", help=helps.SYNC)
def _sync(
    *,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="All who shall be blocked: lines, CSV or JSON Lines."),
    ],
    column: _Column = None,
    region: _Region = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what there is to do.")
    ] = False,
    max_removals: Annotated[
        int | None,
        typer.Option(min=0, help="Most users to unblock; without it, a tenth of those blocked."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    sandbox: _Sandbox = False,
    token_file: _TokenFile = None,
    debug: _Debug = False,
    _token: _Token = None,
) -> None:
    """Make the blocklist equal to a file."""
    screen = Screen()
    with plain_words(debug=debug), leaving_reader():
        reading = gather((), file, column)
        screen.complain(reading.complaints)
        if reading.complaints:
            raise process.UsageError("mend these lines first: whom they name would be unblocked")
        names = [entry.value for entry in reading.entries]
        with open_account(sandbox=sandbox, token_file=token_file) as account:
            work = equalize(
                account,
                names,
                screen,
                region=region,
                dry_run=dry_run,
                max_removals=max_removals,
                yes=yes,
            )
            done = process.run(work)
        raise typer.Exit(process.ALL_DONE if done else process.SOME_NOT)


# Looking.


@app.command("list", help=helps.LIST)
def _list(
    *,
    sandbox: _Sandbox = False,
    token_file: _TokenFile = None,
    quiet: _Quiet = False,
    as_json: _Json = False,
    debug: _Debug = False,
    _token: _Token = None,
) -> None:
    """List the blocked users."""
    with plain_words(debug=debug), leaving_reader():
        with open_account(sandbox=sandbox, token_file=token_file) as account:
            listed = process.run(_print_blocked(account, as_json=as_json))
        Screen(quiet=quiet).say(f"{count(listed, 'user')} blocked")


async def _print_blocked(account: Account, *, as_json: bool) -> int:
    listed = 0
    async with Client(account) as client, aclosing(client.blocked()) as users:
        async for user in users:
            typer.echo(_line(user, as_json=as_json))
            listed += 1
    return listed


def _line(user: BlockedUser, *, as_json: bool) -> str:
    return json.dumps(attrs.asdict(user)) if as_json else user.wa_id or user.user_id or ""


@app.command(help=helps.CHECK)
def check(
    *,
    users: _Users = None,
    file: _File = None,
    column: _Column = None,
    region: _Region = None,
    listed: Annotated[
        bool, typer.Option("--listed", help="Look up on the blocklist who is blocked, too.")
    ] = False,
    sandbox: _Sandbox = False,
    token_file: _TokenFile = None,
    debug: _Debug = False,
    _token: _Token = None,
) -> None:
    """Say how each user is read, or why it is refused."""
    with plain_words(debug=debug), leaving_reader():
        reading, reader = gather(users or (), file, column), reader_of(region)
        Screen().complain(reading.complaints)
        blocked: Container[str] | None = None
        if listed:
            names = [entry.value for entry in reading.entries]
            with open_account(sandbox=sandbox, token_file=token_file) as account:
                blocked = process.run(_find_blocked(account, names, region))
        refused = sum(not _check(entry, reader, blocked) for entry in reading.entries)
        raise typer.Exit(process.SOME_NOT if refused or reading.complaints else process.ALL_DONE)


async def _find_blocked(account: Account, names: list[str], region: str | None) -> Container[str]:
    async with Client(account, region=region) as client:
        return {str(name) for name in await client.find(names)}


def _check(entry: Entry, reader: Reader, blocked: Container[str] | None) -> bool:
    """Print how *entry* is read, and whether it is blocked; return whether it names a user."""
    try:
        found = reader.read(entry.value)
    except ValueError as error:
        typer.echo(f"{entry.value}: refused: {error}")
        return False
    bare = len(found.key) == 10 and found.wire == found.key
    hint = " (if 10 digits are all, is the country code there?)" if bare else ""
    kind = "BSUID" if found.is_bsuid else "phone number"
    state = "" if blocked is None else ", blocked" if entry.value in blocked else ", not blocked"
    typer.echo(f"{entry.value}: {kind} {found.wire}{state}{hint}")
    return True


# The sandbox.


@app.command("sandbox", help=helps.SANDBOX)
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
    debug: _Debug = False,
) -> None:
    """Serve a sandbox until interrupted."""
    with plain_words(debug=debug):
        seconds = 86_400.0 if window else None
        rules = Rules(window=seconds, rate=rate, burst=burst, latency=latency)
        with leaving_reader():
            served = serve(rules, host, port)
            Screen().say(f"stopped after {count(served, 'request')}")


@app.command(help=helps.DEMO)
def demo(
    *,
    users: Annotated[int, typer.Option(min=100, max=50_000, help="How many numbers.")] = 5000,
    seed: Annotated[int, typer.Option(help="Another seed, another list.")] = 1,
    debug: _Debug = False,
) -> None:
    """Take the tour."""
    console = Console(highlight=False, emoji=False)
    with plain_words(debug=debug):
        balanced = process.run(Tour(Screen(console), users=users, seed=seed).run())
        raise typer.Exit(process.ALL_DONE if balanced else process.SOME_NOT)
