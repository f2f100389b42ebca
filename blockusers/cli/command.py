"""What all commands share: how their options are shown, tokens rejected, and errors ended."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from blockusers.cli import help_texts, process


def _hide_type(params: list[Any]) -> list[Any]:
    """Hide `<bool>` beside flags in the help, for they take no value."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command of the program: whatever it raises becomes one line and an exit code."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options for the help."""
        return _hide_type(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the arguments; reject a token, and do not show it once more."""
        if {"--token", "--access-token"} & {arg.partition("=")[0] for arg in args}:
            raise typer.BadParameter(help_texts.NOT_AS_ARGUMENT, ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run it; an error goes to stdout, too, where a command prints one JSON object."""
        as_json = ctx.params.get("as_json", False)
        with process.error_boundary(debug=ctx.params["_debug"], as_json=as_json):
            return super().invoke(ctx)


class Group(TyperGroup):
    """The program, or a command that has commands of its own."""

    def get_params(self, ctx: Any) -> Any:
        """Return the options for the help."""
        return _hide_type(super().get_params(ctx))
