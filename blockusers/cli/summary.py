"""What a job came to: the counts, the faults by code, how to go on, and all of it as JSON."""

from __future__ import annotations

import json
from collections import Counter
from typing import Final, NamedTuple

from rich import box
from rich.table import Table

from blockusers.cli.job import Ending
from blockusers.cli.output import PAST, Output
from blockusers.cli.process import describe
from blockusers.cli.screen import Screen
from blockusers.values.error_codes import known
from blockusers.values.outcome import Fault, Status
from blockusers.values.report import Report

_MOST_KINDS: Final = 12


def count(number: int, thing: str) -> str:
    """Return such as `1 user`, `2,000 users`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def sum_up(ending: Ending, screen: Screen, output: Output | None) -> None:
    """Tell how a job ended."""
    report, style = ending.report, "bold green" if ending.exit_code == 0 else "bold yellow"
    done = f"{len(report.succeeded):,} of {count(ending.inputs.distinct, 'user')}"
    screen.tell(f"{PAST[report.operation]} {done} in {report.elapsed:.1f} s", style)
    for line in _accounts(ending):
        screen.tell(f"  {line}")
    if report.faults_by_code:
        screen.show(faults_table(report))
    if ending.interrupted:
        screen.tell("interrupted", "bold red")
    if ending.error is not None:
        screen.tell(f"ended early: {describe(ending.error)}", "bold red")
    if ending.interrupted or ending.error is not None:
        screen.tell(_how_to_go_on(output))


def _accounts(ending: Ending) -> list[str]:
    report, inputs = ending.report, ending.inputs
    lines = [books(report.repeats, inputs.distinct, inputs.skipped), statuses(report, ending.left)]
    if report.requests:
        lines.append(requests(report))
    if inputs.unread:
        lines.append(f"{count(inputs.unread, 'line')} could not be read")
    return lines


def books(repeats: int, distinct: int, skipped: int = 0) -> str:
    """Say how the inputs add up."""
    parts = [count(repeats, "repeat"), count(distinct, "user")]
    if skipped:
        parts.insert(0, f"{skipped:,} done before")
    return f"{count(skipped + repeats + distinct, 'input')} = {' + '.join(parts)}"


def requests(report: Report) -> str:
    """Say how many requests it took."""
    text = count(report.requests, "request")
    if report.rate_limited:
        text += f", {report.rate_limited:,} of them refused for the rate limit and sent again"
    return text


def statuses(report: Report, left: int = 0) -> str:
    """Count the users by status; *left* are those that the report does not reach."""
    counts = Counter(outcome.status for outcome in report)
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
    if code := known(fault.code):
        return _Kind(str(fault.code), code.meaning, code.advice)
    return _Kind(str(fault.code), str(fault), "")


def faults_table(report: Report) -> Table:
    """Show the faults by code, the most frequent first: what they mean and what to do."""
    kinds = Counter(_kind(outcome.fault) for outcome in report if outcome.fault)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("code", style="bold", no_wrap=True)
    table.add_column("users", justify="right", no_wrap=True)
    table.add_column("what it means")
    table.add_column("what to do")
    for kind, users in kinds.most_common(_MOST_KINDS):
        table.add_row(kind.code, f"{users:,}", kind.meaning, kind.advice)
    if more := list(kinds.values())[_MOST_KINDS:]:
        rest = sum(sorted(kinds.values())[: len(more)])
        table.add_row("…", f"{rest:,}", f"{len(more)} more kinds", "see --output or --json")
    return table


def _how_to_go_on(output: Output | None) -> str:
    if output is not None:
        return f"To go on, run the same line again: what is done in {output.path} is skipped."
    return (
        "To go on, run the same line again: to do it twice does no harm."
        " With --output FILE it would skip what is done."
    )


def as_json(ending: Ending) -> str:
    """Return the whole report as one JSON object, in ASCII so that any pipe carries it."""
    report, inputs = ending.report, ending.inputs
    content = {
        "operation": report.operation.value,
        "inputs": inputs.skipped + report.repeats + inputs.distinct,
        "skipped": inputs.skipped,
        "repeats": report.repeats,
        "unread_lines": inputs.unread,
        "left": ending.left,
        "counts": {s.value: sum(o.status is s for o in report) for s in Status},
        "requests": report.requests,
        "rate_limited": report.rate_limited,
        "elapsed": round(report.elapsed, 3),
        "interrupted": ending.interrupted,
        "error": None if ending.error is None else describe(ending.error),
        "outcomes": report.to_dicts(),
    }
    return json.dumps(content)
