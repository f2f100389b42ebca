"""Writes the parts of the documentation that the code knows best, as Markdown.

A page asks for one with a mark such as `<!-- generated: error_codes -->`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from itertools import groupby
from textwrap import dedent
from typing import Any, Final

import typer
from typer.testing import CliRunner

from blockusers import otel
from blockusers.cli.app import app
from blockusers.sandbox import MAGIC
from blockusers.sandbox.refusals import WORDINGS
from blockusers.values import errors
from blockusers.values.errors import CODES, Code

COLUMNS: Final = 88


def _commands(group: Any, *before: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command; of a group, those of its own commands behind it."""
    for name, command in group.commands.items():
        yield *before, name
        if hasattr(command, "commands"):
            yield from _commands(command, *before, name)


COMMANDS: Final = [*_commands(typer.main.get_command(app))]


def error_codes() -> str:
    """Return a table of Meta's error codes."""
    lines = ["| code | meaning | what to do | error |", "| --- | --- | --- | --- |"]
    ordered = sorted(CODES.items(), key=lambda item: (str(item[1]), item[0]))
    groups = [(code, [n for n, _ in same]) for code, same in groupby(ordered, lambda i: i[1])]
    for code, numbers in sorted(groups, key=lambda group: group[1]):
        lines.append(f"| {_ranges(numbers)} | {code.meaning} | {code.advice} | {_error(code)} |")
    return "\n".join(lines)


def _ranges(numbers: list[int]) -> str:
    """Return such as `3, 10, 200 to 299`."""
    runs = [
        [str(number) for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(f"{run[0]} to {run[-1]}" if run[2:] else ", ".join(run) for run in runs)


def _error(code: Code) -> str:
    if code.of_users:
        return "none: users are `FAILED`"
    return f"`{code.error.__name__}`"


def error_tree() -> str:
    """Return the tree of exceptions."""
    tree = [line for line in _docs(errors).splitlines() if line.startswith("    ")]
    return "\n".join(["```none", *(line[4:] for line in tree), "```"])


def magic_numbers() -> str:
    """Return a table of the phone numbers that fail on purpose."""
    lines = ["| ends with | error | who fails | when |", "| --- | --- | --- | --- |"]
    for ending, magic in sorted(MAGIC.items()):
        whole = "the whole request" if magic.whole else "that number"
        lasting = "`Rules.magic_attempts` times" if magic.transient else "always"
        lasting = "when it is blocked" if magic.blocking_only else lasting
        lines.append(f"| `{ending}` | {WORDINGS[magic.code].message} | {whole} | {lasting} |")
    return "\n".join(lines)


def metrics() -> str:
    """Return the table of OpenTelemetry's metrics."""
    return "\n".join(line for line in _docs(otel).splitlines() if line.startswith("|"))


def command_line() -> str:
    """Return what `--help` prints, for the program and for each command."""
    parts = [f"```none\n{help_of()}\n```"]
    parts += [f"## {' '.join(words)}\n\n```none\n{help_of(*words)}\n```" for words in COMMANDS]
    return "\n\n".join(parts)


def help_of(*command: str) -> str:
    """Return what a command prints for `--help`."""
    settings = {"COLUMNS": str(COLUMNS), "TERMINAL_WIDTH": str(COLUMNS), "NO_COLOR": "1"}
    ran = CliRunner().invoke(
        app, [*command, "--help"], prog_name="blockusers", env=settings, catch_exceptions=False
    )
    text = dedent("\n".join(line.rstrip() for line in ran.output.splitlines()))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def _docs(module: object) -> str:
    return inspect.getdoc(module) or ""
