"""What a job came to: the counts, the faults by code, how to go on, and all of it as JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from rich import box
from rich.table import Table

from blockusers.cli import process
from blockusers.cli.job import Ending
from blockusers.cli.journal import Journal
from blockusers.cli.process import describe, error_object, printable
from blockusers.cli.screen import Screen
from blockusers.protocol.retry import TRANSIENT
from blockusers.values.error_codes import known
from blockusers.values.errors import BlocklistFull, BlockUsersError
from blockusers.values.outcome import Fault, Operation, Status
from blockusers.values.report import Report

PAST: Final = {Operation.BLOCK: "blocked", Operation.UNBLOCK: "unblocked"}
_MOST_KINDS: Final = 12


def count(number: int, thing: str) -> str:
    """Return such as `1 user`, `2,000 users`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def sum_up(ending: Ending, screen: Screen, journal: Journal | None) -> None:
    """Tell how a job ended; quietly only where not all is done."""
    report, is_done = ending.report, ending.exit_code == process.ALL_DONE
    if is_done and screen.quiet:
        return
    done = f"{len(report.succeeded):,} of {count(ending.inputs.distinct, 'user')}"
    screen.tell(
        f"{PAST[report.operation]} {done} in {report.elapsed:.1f} s",
        "bold green" if is_done else "bold yellow",
    )
    for line in _counts(ending):
        screen.tell(f"  {line}")
    show_faults(screen, report)
    if ending.interrupted:
        screen.tell("interrupted", "bold red")
    if isinstance(ending.error, BlocklistFull):
        left = ending.inputs.distinct - len(report.succeeded)
        screen.tell(
            f"ended early: the blocklist is full (64,000): {left:,} were not blocked; unblock"
            " somebody, then run the same line again",
            "bold red",
        )
        return
    if ending.error is not None:
        screen.tell(f"ended early: {describe(ending.error)}", "bold red")
    if ending.interrupted or ending.error is not None:
        screen.tell(_how_to_go_on(ending, journal))


def _counts(ending: Ending) -> list[str]:
    report, inputs = ending.report, ending.inputs
    lines = [statuses(report, ending.left)]
    if inputs.skipped or report.repeats:
        lines.insert(0, inputs_add_up(report.repeats, inputs.distinct, inputs.skipped))
    if report.requests:
        lines.append(requests(report))
    if inputs.empty:
        lines.append(f"{count(inputs.empty, 'empty cell')} skipped")
    if inputs.unread:
        lines.append(f"{count(inputs.unread, 'line')} could not be read")
    return lines


def inputs_add_up(repeats: int, distinct: int, skipped: int = 0) -> str:
    """Say what the inputs are made of."""
    parts = [f"{skipped:,} done before"] if skipped else []
    parts += [count(repeats, "repeat")] if repeats else []
    parts.append(count(distinct, "user"))
    return f"{count(skipped + repeats + distinct, 'input')} = {' + '.join(parts)}"


def requests(report: Report) -> str:
    """Say how many requests it took."""
    text = count(report.requests, "request")
    if report.rate_limited:
        text += f", {report.rate_limited:,} of them refused for the rate limit and sent again"
    return text


def statuses(report: Report, left: int = 0) -> str:
    """Count the users by status; *left* are those that the report does not reach."""
    counts = report.counts
    counts[Status.REMAINING] += left
    parts = [f"{counts[status]:,} {status.value}" for status in Status if counts[status]]
    return ", ".join(parts) or "nothing to do"


class _Kind(NamedTuple):
    """A row of the table of faults."""

    code: str
    meaning: str
    advice: str


def _kind(fault: Fault) -> _Kind:
    if fault.code is None:
        meaning, _, advice = fault.message.partition("; ")
        return _Kind("input", meaning, advice)
    code = known(fault.code)
    if code is not None and code.advice:
        return _Kind(str(fault.code), code.meaning, code.advice)
    return _Kind(str(fault.code), str(fault).rpartition(" (")[0], "")


def show_faults(screen: Screen, report: Report) -> None:
    """Show the faults by code, the most frequent first: what they mean and what to do."""
    kinds = Counter(_kind(outcome.fault) for outcome in report if outcome.fault)
    if not kinds:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("code", style="bold", no_wrap=True)
    table.add_column("users", justify="right", no_wrap=True)
    table.add_column("what it means")
    table.add_column("what to do")
    for kind, users in kinds.most_common(_MOST_KINDS):
        table.add_row(kind.code, f"{users:,}", printable(kind.meaning), printable(kind.advice))
    if more := kinds.most_common()[_MOST_KINDS:]:
        rest = sum(users for _, users in more)
        table.add_row("…", f"{rest:,}", f"{len(more)} more kinds", "see --output or --json")
    screen.show(table)


def must_be_fixed(error: BaseException | None) -> bool:
    """Whether running the same line again is of no use before somebody has done something."""
    if isinstance(error, BlockUsersError):
        return not isinstance(error, TRANSIENT)
    return isinstance(error, OSError)


def _how_to_go_on(ending: Ending, journal: Journal | None) -> str:
    again = "To go on, run the same line again"
    if must_be_fixed(ending.error):
        again = "To go on, fix it first, then run the same line again"
    if journal is not None:
        return f"{again}: what is done in {journal.path} is skipped."
    verb = ending.report.operation.value
    return f"{again}: to {verb} twice does no harm. With --output FILE it would skip what is done."


def as_json(ending: Ending) -> dict[str, Any]:
    """Return the whole report as plain values."""
    report, inputs = ending.report, ending.inputs
    return {
        "operation": report.operation.value,
        "inputs": inputs.skipped + report.repeats + inputs.distinct,
        "skipped": inputs.skipped,
        "repeats": report.repeats,
        "empty_cells": inputs.empty,
        "unread_lines": inputs.unread,
        "left": ending.left,
        "counts": {status.value: report.counts[status] for status in Status},
        "requests": report.requests,
        "rate_limited": report.rate_limited,
        "elapsed": round(report.elapsed, 3),
        "interrupted": ending.interrupted,
        "error": None if ending.error is None else error_object(ending.error),
        "outcomes": report.to_dicts(),
    }
