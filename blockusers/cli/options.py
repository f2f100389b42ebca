"""Defines the options of the commands, and checks their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blockusers.cli.input_files import reader_of


def _check_region(value: str | None) -> str | None:
    try:
        reader_of(value)
    except (ValueError, ModuleNotFoundError) as error:
        raise typer.BadParameter(str(error).removeprefix("region: ")) from None
    return value


Users = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="USER",
        help="Phone numbers with their country code, WhatsApp ids or BSUIDs.",
        show_default=False,
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
