"""Shows the result of a job: counts, failures by code, and how to go on; or all of it as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from blockusers.cli import process
from blockusers.cli.input_files import count, unusable
from blockusers.cli.job import Result
from blockusers.cli.process import Interrupted, describe, error_object
from blockusers.cli.screen import Screen
from blockusers.protocol.retry import TRANSIENT
from blockusers.values.errors import BlocklistFull, BlockUsersError, known
from blockusers.values.outcome import Fault, Operation, Status
from blockusers.values.report import Report

_PAST: Final = {Operation.BLOCK: "blocked", Operation.UNBLOCK: "unblocked"}
_MOST_KINDS: Final = 12


def sum_up(result: Result, screen: Screen, output: Path | None) -> None:
    """Print how a job ended; with --quiet only if not all users are done."""
    report, is_done = result.report, result.exit_code == process.ALL_DONE
    if is_done and screen.quiet:
        return
    done = report.counts[Status.DONE]
    screen.tell(
        f"{_PAST[report.operation]} {done:,} of {count(len(report), 'user')}"
        f" in {report.elapsed:.1f} s",
        "bold green" if is_done else "bold yellow",
    )
    for line in _counts(result):
        screen.tell(f"  {line}")
    show_faults(screen, report)
    if report.failed and output is None:
        screen.tell("  --output FILE writes down who failed, and --json prints it")
    if isinstance(result.error, BlocklistFull):
        screen.tell(
            f"ended early: the blocklist is full (64,000): {len(report) - done:,} were not"
            " blocked; unblock somebody, then run the same line again",
            "bold red",
        )
    elif result.error is not None:
        interrupted = isinstance(result.error, Interrupted)
        how = "interrupted" if interrupted else f"ended early: {describe(result.error)}"
        screen.tell(how, "bold red")
        screen.tell(_how_to_go_on(result, output))


def _counts(result: Result) -> list[str]:
    report, inputs, counts = result.report, result.inputs, result.report.counts
    parts = [f"{counts[status]:,} {status.value}" for status in Status if counts[status]]
    lines = [", ".join(parts) or "nothing to do"]
    if inputs.skipped or inputs.repeats:
        parts = [f"{inputs.skipped:,} done before"] if inputs.skipped else []
        parts += [count(inputs.repeats, "repeat")] if inputs.repeats else []
        parts.append(count(len(report), "user"))
        lines.insert(0, f"{count(len(inputs.reading.entries), 'input')} = {' + '.join(parts)}")
    if report.requests:
        refused = f", {report.rate_limited:,} of them refused for the rate limit and sent again"
        refused = refused if report.rate_limited else ""
        lines.append(count(report.requests, "request") + refused)
    return lines + unusable(inputs.reading)


def _explain(fault: Fault) -> tuple[str, str, str]:
    """Return the code of *fault*, what it means and what to do."""
    if fault.code is None:
        meaning, _, advice = fault.message.partition("; ")
        return "input", meaning, advice
    code = known(fault.code)
    if code is not None and code.advice:
        return str(fault.code), code.meaning, code.advice
    return str(fault.code), str(fault).rpartition(" (")[0], ""


def show_faults(screen: Screen, report: Report) -> None:
    """Show the faults by code, the most frequent first: what they mean and what to do."""
    kinds = sorted(report.faults_by_code.values(), key=len, reverse=True)
    if not kinds:
        return
    rows = []
    for outcomes in kinds[:_MOST_KINDS]:
        code, meaning, advice = _explain(outcomes[0].faults[0])
        rows.append((code, f"{len(outcomes):,}", meaning, advice))
    if more := kinds[_MOST_KINDS:]:
        rest = sum(map(len, more))
        rows.append(("…", f"{rest:,}", f"{len(more)} more kinds", "see --output or --json"))
    screen.table(("code", "users", "what it means", "what to do"), rows)


def to_go_on(error: Exception | None, do: str) -> str:
    """Say how to go on after *error*, by *do*, and whether somebody must fix something before."""
    is_transient = isinstance(error, TRANSIENT) or not isinstance(error, BlockUsersError | OSError)
    return f"To go on, {do}" if is_transient else f"To go on, fix it first, then {do}"


def _how_to_go_on(result: Result, output: Path | None) -> str:
    again = to_go_on(result.error, "run the same line again")
    if output is not None:
        return f"{again}: what is done in {output} is skipped."
    verb = result.report.operation.value
    return f"{again}: to {verb} twice does no harm. With --output FILE it would skip what is done."


def ending(error: Exception | None) -> dict[str, Any]:
    """Return what ended a job as plain values."""
    interrupted = isinstance(error, Interrupted)
    shown = None if error is None or interrupted else error_object(error)
    return {"interrupted": interrupted, "error": shown}


def to_json(result: Result) -> dict[str, Any]:
    """Return the whole report as plain values."""
    report, inputs = result.report, result.inputs
    return {
        "operation": report.operation.value,
        "inputs": len(inputs.reading.entries),
        "skipped": inputs.skipped,
        "repeats": inputs.repeats,
        "empty_cells": inputs.reading.empty,
        "unread_lines": len(inputs.reading.complaints),
        "counts": {status.value: report.counts[status] for status in Status},
        "requests": report.requests,
        "rate_limited": report.rate_limited,
        "elapsed": round(report.elapsed, 3),
        **ending(result.error),
        "outcomes": report.to_dicts(),
    }
