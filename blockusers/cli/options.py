"""Defines the options of the commands, and checks their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from blockusers.cli.expiry import read_expiry
from blockusers.cli.input_files import reader_of


def _check_region(value: str | None) -> str | None:
    try:
        reader_of(value)
    except (ValueError, ModuleNotFoundError) as error:
        raise typer.BadParameter(str(error).removeprefix("region: ")) from None
    return value


def _check_expiry(value: str | None) -> str | None:
    try:
        read_expiry(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def _check_number(value: str | None) -> str | None:
    if value is not None and not (value.isascii() and value.isdigit()):
        raise typer.BadParameter("must be a phone number id, which has digits only")
    return value


def _check_numbers(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        _check_number(value)
    return values


Users = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="USER",
        help="Phone numbers with their country code, WhatsApp ids or BSUIDs.",
        show_default=False,
    ),
]
SomeUsers = Annotated[
    list[str],
    typer.Argument(
        metavar="USER", help="Phone numbers with their country code, WhatsApp ids or BSUIDs."
    ),
]
Files = Annotated[
    list[Path] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="Read users from this file: lines, CSV or JSON Lines; - is stdin. Can be repeated.",
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        "-c",
        metavar="NAME",
        help="The column of the file with the users: its name, or its number from 1.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        "--region",
        "-r",
        metavar="XX",
        callback=_check_region,
        help="Read national numbers of this country, too, such as BR.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Append every outcome to this file (CSV, or JSON Lines if it ends in .jsonl).",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
MaxRemovals = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Unblock at most N users; without it a tenth of the list, or what you confirm.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="Try it on a sandbox of its own; reaches nobody.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="Read the access token from this file instead of WHATSAPP_ACCESS_TOKEN.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Say nothing on stderr, unless something went wrong.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", envvar="BLOCKUSERS_DEBUG", help="Show where an error comes from."),
]

# Of the deny list.

Store = Annotated[
    str,
    typer.Option(
        "--store",
        "-s",
        metavar="FILE|URL",
        envvar=["BLOCKUSERS_STORE", "BLOCKUSERS_REDIS_URL"],
        show_envvar=False,
        help="The file of the deny list, or the URL of Redis.",
    ),
]
DEFAULT_STORE: Final = "deny.db"
HashKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--hash-key-file",
        metavar="FILE",
        help="The key of a list that holds hashes instead of numbers; or set BLOCKUSERS_HASH_KEY.",
    ),
]
Scope = Annotated[
    str,
    typer.Option(
        "--scope", metavar="ID", help="Only for this business number: its phone number id."
    ),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, for people to read.")
]
Expires = Annotated[
    str | None,
    typer.Option(
        "--expires",
        metavar="WHEN",
        callback=_check_expiry,
        help="When it ends: in 12h, 30d or 8w, with the day 2026-12-31, or never.",
    ),
]
Allow = Annotated[bool, typer.Option("--allow", help="An exception: do not block these users.")]
ChosenScope = Annotated[
    str | None,
    typer.Option(
        "--scope",
        metavar="ID",
        help="Only entries of this phone number id; or *, those for all numbers.",
    ),
]
ChosenOrigin = Annotated[
    str | None, typer.Option("--origin", metavar="NAME", help="Only entries with this origin.")
]
ChosenAction = Annotated[
    Literal["deny", "allow"] | None,
    typer.Option("--action", help="Only entries that deny, or that allow."),
]

Number = Annotated[
    str | None,
    typer.Option(
        "--number", metavar="ID", callback=_check_number, help="On this business number: its id."
    ),
]
Numbers = Annotated[
    list[str] | None,
    typer.Option(
        "--number",
        metavar="ID",
        callback=_check_numbers,
        help="Show what a guard has to do for this id.",
    ),
]
