"""What all commands have in common: how errors end them, no token as an argument, and the help.

A file with commands of its own makes them with `cls=Command`, or a `typer.Typer(cls=Group)`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from blockusers.cli.process import error_boundary


def _hide_type(params: list[Any]) -> list[Any]:
    """Hide `<bool>` beside flags in the help, for they take no value."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command, with the option `_debug`; whatever it raises becomes one line and an exit code.

    A command that prints one JSON object has the option `as_json`: an error is printed so, too.
    """

    def get_params(self, ctx: Any) -> Any:
        """Return the options for the help."""
        return _hide_type(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the arguments; reject a token, and do not show it once more."""
        if {"--token", "--access-token"} & {arg.partition("=")[0] for arg in args}:
            raise typer.BadParameter(
                "a token on the command line ends up in the shell's history and in the process"
                " list; put it into the environment variable WHATSAPP_ACCESS_TOKEN, or into a"
                " file for --token-file",
                ctx,
            )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        as_json = ctx.params.get("as_json", False)
        with error_boundary(debug=ctx.params["_debug"], as_json=as_json):
            return super().invoke(ctx)


class Group(TyperGroup):
    """The program, or commands that have a first word in common."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options for the help."""
        return _hide_type(super().get_params(ctx))
