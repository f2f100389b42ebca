"""What a person sees: words on stderr, and how far a job is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import attrs
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from blockusers.cli.process import to_nowhere
from blockusers.pace.protocol import Pace, PaceState
from blockusers.values.outcome import Outcome

_MOST_COMPLAINTS: Final = 20
_SECONDS_BETWEEN_LINES: Final = 2.0


class Talk(Console):
    """A console on stderr. When nobody listens any more the work goes on in silence."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True
        to_nowhere(self.file)


class Meter(Protocol):
    """Is told what became final, and shows how far the job is."""

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count *outcomes*."""
        ...

    def watch(self, pace: Pace) -> None:
        """Show from now on what *pace* is doing, too."""
        ...


def in_words(state: PaceState) -> str:
    """Say what a pace is doing, in a few words."""
    if state.hold_until is not None:
        return f"rate limited, next try in {state.hold_for:.0f} s"
    parts = [f"{state.rate:.3g} requests/s"] if state.rate else []
    parts += [f"{state.rate_limited:,} refused"] if state.rate_limited else []
    return ", ".join([*parts, f"{state.in_flight} at once"])


@attrs.frozen
class Screen:
    """Where a command talks to the person in front of it."""

    console: Console = attrs.field(factory=Talk)
    quiet: bool = False
    """Whether only the end of the job is worth a word."""

    def say(self, text: str, style: str = "") -> None:
        """Say something that can be missed."""
        if not self.quiet:
            self.tell(text, style)

    def tell(self, text: str, style: str = "") -> None:
        """Say something that matters."""
        # What reads a pipe wants whole lines.
        self.console.print(Text(text, style), soft_wrap=not self.console.is_terminal)

    def show(self, thing: RenderableType) -> None:
        """Show a table, or text with colours of its own."""
        self.console.print(thing)

    def complain(self, complaints: Sequence[str]) -> None:
        """Say what is wrong with the lines of a file, unless there is no end of it."""
        for complaint in complaints[:_MOST_COMPLAINTS]:
            self.say(complaint, "yellow")
        if more := len(complaints[_MOST_COMPLAINTS:]):
            self.say(f"… and {more:,} more like these", "yellow")

    @contextmanager
    def meter(self, total: int) -> Iterator[Meter]:
        """Show how far a job with *total* users is: a bar on a terminal, else a line at times."""
        if self.quiet or not self.console.is_interactive:
            yield Lines(self.say, total)
        else:
            with _bar(self.console) as progress:
                yield Bar(progress, total)


def _bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}", style="yellow"),
        TextColumn("{task.fields[rate]}", style="dim"),
        TimeRemainingColumn(compact=True),
        _PaceColumn(),
        console=console,
        expand=True,
    )


class _PaceColumn(ProgressColumn):
    """What the pace is doing at the moment of drawing, for it may hold while nothing else moves."""

    def render(self, task: Task) -> Text:
        """Ask the pace that the task has."""
        pace: Pace | None = task.fields["pace"]
        return Text(in_words(pace.state) if pace else "", "dim")


class Bar:
    """A bar that moves."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total, failed="0 failed", rate="", pace=None)
        self._failed = 0

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Move on by *outcomes*."""
        self._failed += sum(not outcome.ok for outcome in outcomes)
        speed = self._progress.tasks[self._task].speed
        self._progress.update(
            self._task,
            advance=len(outcomes),
            failed=f"{self._failed:,} failed",
            rate=f"{speed:,.0f}/s" if speed else "",
        )

    def watch(self, pace: Pace) -> None:
        """Show what *pace* is doing beside the bar."""
        self._progress.update(self._task, pace=pace)


@attrs.define
class Lines:
    """Lines that tell from time to time."""

    _say: Callable[[str], None]
    _total: int
    _clock: Callable[[], float] = time.monotonic
    _pace: Pace | None = attrs.field(default=None, init=False)
    _settled: int = attrs.field(default=0, init=False)
    _failed: int = attrs.field(default=0, init=False)
    _began: float = attrs.field(init=False)
    _said: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the clock."""
        self._began = self._said = self._clock()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count *outcomes*, and tell if it is time again."""
        self._settled += len(outcomes)
        self._failed += sum(not outcome.ok for outcome in outcomes)
        now = self._clock()
        if now - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = now
            rate = self._settled / (now - self._began)
            pace = f", {in_words(self._pace.state)}" if self._pace else ""
            self._say(
                f"{self._settled:,} of {self._total:,} ({self._failed:,} failed), {rate:,.0f}/s,"
                f" {(self._total - self._settled) / rate:,.0f} s to go{pace}"
            )

    def watch(self, pace: Pace) -> None:
        """Tell what *pace* is doing, too."""
        self._pace = pace
