"""The command `blockusers guard`: the webhook service that blocks the denied, or a show of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from blockusers.cli import options, process
from blockusers.cli.deny_list import find_list
from blockusers.cli.guard_demo import Show
from blockusers.cli.guard_service import Service, find_accounts, serve
from blockusers.cli.process import UsageError
from blockusers.cli.screen import Screen

_NOT_IN_THE_SHOW: Final = (
    "port",
    "host",
    "store",
    "accounts",
    "forward",
    "drop_denied",
    "on_store_error",
    "on_full",
    "hash_key_file",
    "token_file",
)


def _check_options(context: typer.Context, *, sandbox: bool) -> None:
    """Raise UsageError for options that would do nothing."""
    given = [
        param.opts[0]
        for param in context.command.params
        if _is_typed(context, param.name or "")
        and (param.name in _NOT_IN_THE_SHOW if sandbox else param.name == "seconds")
    ]
    if given and sandbox:
        raise UsageError(
            f"--sandbox has an account and a deny list of its own; leave out {', '.join(given)}"
        )
    if given:
        raise UsageError("--seconds is how long --sandbox runs; add --sandbox, or leave it out")


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def guard(
    context: typer.Context,
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 picks one.")] = 8080,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    store: options.Store = options.DEFAULT_STORE,
    accounts: Annotated[
        Path | None,
        typer.Option(
            "--accounts", metavar="FILE", help="Several numbers: a JSON list of their accounts."
        ),
    ] = None,
    forward: Annotated[
        str | None,
        typer.Option("--forward", metavar="URL", help="Pass every webhook on to this bot."),
    ] = None,
    drop_denied: Annotated[
        bool, typer.Option("--drop-denied", help="Keep what denied people write from the bot.")
    ] = False,
    on_store_error: Annotated[
        Literal["refuse", "pass"],
        typer.Option(help="If the list cannot be read: let Meta send it again, or pass it on."),
    ] = "refuse",
    on_full: Annotated[
        Literal["evict", "stop"],
        typer.Option(help="If the blocklist is full: unblock those blocked longest ago, or wait."),
    ] = "evict",
    hash_key_file: options.HashKeyFile = None,
    token_file: options.TokenFile = None,
    sandbox: Annotated[
        bool,
        typer.Option("--sandbox", help="Show it at work: simulated people, a list of its own."),
    ] = False,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, help="With --sandbox: how long people write.")
    ] = 15.0,
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Serve the webhook, or show it."""
    screen = Screen(quiet=quiet)
    _check_options(context, sandbox=sandbox)
    if sandbox:
        correct = process.run(Show(screen, seconds).run())
        raise typer.Exit(process.ALL_DONE if correct else process.SOME_NOT)
    numbers, webhook = find_accounts(screen, accounts, token_file)
    deny_list = find_list(screen, store, hash_key_file)
    serve(
        Service(
            numbers, webhook, deny_list, host, port, forward, drop_denied, on_store_error, on_full
        ),
        screen,
    )
