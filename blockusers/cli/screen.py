"""Writes to stderr: messages, tables, and how far a job is."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import attrs
from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from blockusers.cli.input_files import count
from blockusers.cli.process import describe, discard, printable
from blockusers.observe.events import Event, RequestEnded, Retrying
from blockusers.pace.protocol import Pace
from blockusers.values.errors import RateLimited
from blockusers.values.outcome import Outcome, Status

MOST_COMPLAINTS: Final = 20
_SECONDS_BETWEEN_LINES: Final = 2.0
_SPEED_OVER: Final = 30.0
"""The speed is that of so many seconds until now, whether or not anything happened in them."""


class ErrorConsole(Console):
    """A console on stderr. If stderr is closed, the work continues without messages."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True
        discard(self.file)


@attrs.define
class Meter:
    """Counts the outcomes of a job, and tells what it waits for: in a bar, or in lines."""

    total: int = 0
    """How many users there are; 0 if that is unknown, as for a listing."""
    _clock: Callable[[], float] = time.monotonic
    _say: Callable[[str], object] | None = attrs.field(default=None, alias="say")
    """Prints a line from time to time; None if there is a bar, or nothing is shown."""
    settled: int = attrs.field(default=0, init=False)
    failed: int = attrs.field(default=0, init=False)
    pages: int = attrs.field(default=0, init=False)
    """How many pages of the blocklist were read."""
    _pace: Pace | None = attrs.field(default=None, init=False)
    _samples: deque[tuple[float, int]] = attrs.field(init=False)
    """Pairs of a time and how many were settled then, for the last *_SPEED_OVER* seconds."""
    _waits: tuple[str, float] | None = attrs.field(default=None, init=False)
    """Why requests are sent again, and when."""
    _said: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the clock."""
        self._said = self._clock()
        self._samples = deque([(self._said, 0)])

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count *outcomes*."""
        counts = Counter(outcome.status for outcome in outcomes)
        self.advance(len(outcomes) - counts[Status.REMAINING], counts[Status.FAILED])

    def advance(self, settled: int, failed: int = 0) -> None:
        """Count users, of whom some failed."""
        self.settled += settled
        self.failed += failed
        self._samples.append((self._clock(), self.settled))
        self._print_line()

    def watch(self, pace: Pace) -> None:
        """Show the state of *pace* from now on."""
        self._pace = pace

    def observe(self, event: Event) -> None:
        """Take note of requests that get no answer, and of the first that does."""
        match event:
            case Retrying(error=Exception() as error):
                if not isinstance(error, RateLimited):
                    self._waits = (describe(error), self._clock() + event.wait)
                self._print_line()
            case RequestEnded(error=None):
                self._waits = None
                self.pages += event.operation == "list"

    def time_left(self) -> str:
        """Return how long it will take at the present speed; nobody knows if nothing moves."""
        now = self._clock()
        while len(self._samples) > 1 and self._samples[1][0] <= now - _SPEED_OVER:
            self._samples.popleft()
        began, settled = self._samples[0]
        if self.settled == settled:
            return "-:--:-- left"
        seconds = (self.total - self.settled) * (now - began) / (self.settled - settled)
        return f"{timedelta(seconds=round(seconds))} left"

    def status(self) -> str:
        """Say what the job is waiting for, or how fast it may send."""
        state = self._pace.state if self._pace else None
        if state and state.hold_until is not None:
            return f"rate limited; next try in {math.ceil(state.hold_for)} s"
        if self._waits:
            why, until = self._waits
            left = math.ceil(until - self._clock())
            return f"{why}; next try in {left} s" if left > 0 else f"{why}; trying again"
        return f"{state.rate:.3g} requests/s" if state and state.rate else ""

    def _counts(self) -> str:
        return f"{self.settled:,} of {self.total:,} ({self.failed:,} failed), {self.time_left()}"

    def _print_line(self) -> None:
        if self._say and self._clock() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = self._clock()
            self._say(
                ", ".join(filter(None, (self._counts() if self.total else "", self.status())))
            )

    def __rich__(self) -> RenderableType:
        """Draw a bar, or how much of the list is read, and below it what the job waits for."""
        status = Text(printable(self.status()), "dim", no_wrap=True, overflow="ellipsis")
        if not self.total:
            return Group(f"reading the blocklist: {count(self.pages, 'page')} so far", status)
        bar = Table.grid(padding=(0, 1), expand=True)
        bar.add_column(ratio=1)
        bar.add_row(ProgressBar(self.total, self.settled), Text(self._counts(), no_wrap=True))
        return Group(bar, status)


@attrs.frozen
class Screen:
    """Where a command writes its messages."""

    console: Console = attrs.field(factory=ErrorConsole)
    quiet: bool = False
    """Whether only what went wrong is printed."""
    draws: bool = True
    """Whether progress is drawn; not where data goes to the same terminal meanwhile."""

    def say(self, text: str, style: str = "") -> None:
        """Print a message that --quiet hides."""
        if not self.quiet:
            self.tell(text, style)

    def tell(self, text: str, style: str = "") -> None:
        """Print a message, with --quiet too."""
        # Programs that read a pipe need whole lines.
        self.console.print(Text(printable(text), style), soft_wrap=not self.console.is_terminal)

    def complain(self, complaints: Sequence[str], *, always: bool = False) -> None:
        """Print what is wrong with the lines of a file; of many, only the first.

        Args:
            complaints: What is wrong.
            always: Print it with --quiet too.
        """
        say = self.tell if always else self.say
        for complaint in complaints[:MOST_COMPLAINTS]:
            say(complaint, "yellow")
        if more := len(complaints[MOST_COMPLAINTS:]):
            say(f"… and {more:,} more like these", "yellow")

    def table(self, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; only its columns of text are wrapped."""
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in names:
            justify: JustifyMethod = "right" if name == "users" else "left"
            table.add_column(name, justify=justify, no_wrap=name in {"code", "users"})
        for row in rows:
            table.add_row(*map(printable, row))
        self.console.print(table)

    @contextmanager
    def meter(self, total: int | None) -> Iterator[Meter]:
        """Show how far a job with *total* users is: a bar on a terminal, else a line at times.

        A listing has no *total*, for it is not known.
        """
        if total != 0 and self.draws and self.console.is_interactive and not self.quiet:
            meter = Meter(total or 0)
            with Live(
                meter,
                console=self.console,
                transient=True,
                refresh_per_second=10,
                redirect_stdout=False,  # data must not become a message
            ):
                yield meter
        else:
            yield Meter(total or 0, say=None if self.quiet else self.say)
