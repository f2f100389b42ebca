"""What a person sees on stderr: messages, tables, and how far a job is."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import attrs
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task
from rich.text import Text

from blockusers.cli.process import printable, to_nowhere
from blockusers.observe.events import Event, RequestEnded, Retrying
from blockusers.pace.protocol import Pace
from blockusers.values.errors import RateLimited
from blockusers.values.outcome import Outcome, Status

_MOST_COMPLAINTS: Final = 20
_SECONDS_BETWEEN_LINES: Final = 2.0
_SPEED_OVER: Final = 30.0
"""The speed is that of so many seconds until now, whether or not anything happened in them."""


class Talk(Console):
    """A console on stderr. When nobody listens any more the work goes on in silence."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Say no more."""
        self.quiet = True
        to_nowhere(self.file)


@attrs.define
class Meter:
    """Counts what became final in a job, and knows what the job is waiting for."""

    total: int = 0
    """How many users there are."""
    _explain: Callable[[Exception], str] = str
    _clock: Callable[[], float] = time.monotonic
    settled: int = attrs.field(default=0, init=False)
    failed: int = attrs.field(default=0, init=False)
    _pace: Pace | None = attrs.field(default=None, init=False)
    _samples: deque[tuple[float, int]] = attrs.field(init=False)
    """When how many were settled; the first is of the beginning of the time that counts."""
    _waits: tuple[str, float] | None = attrs.field(default=None, init=False)
    """Why requests are sent again, and when."""

    def __attrs_post_init__(self) -> None:
        """Start the clock."""
        self._samples = deque([(self._clock(), 0)])

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count *outcomes*."""
        counts = Counter(outcome.status for outcome in outcomes)
        self.settled += len(outcomes) - counts[Status.REMAINING]
        self.failed += counts[Status.FAILED]
        self._samples.append((self._clock(), self.settled))

    def watch(self, pace: Pace) -> None:
        """Tell from now on what *pace* is doing, too."""
        self._pace = pace

    def observe(self, event: Event) -> None:
        """Take note of requests that get no answer, and of the first that does."""
        match event:
            case Retrying(error=Exception() as error) if not isinstance(error, RateLimited):
                self._waits = (self._explain(error), self._clock() + event.wait)
            case RequestEnded(error=None):
                self._waits = None

    def seconds_left(self) -> float | None:
        """Return how long it will take at the present speed; None if nothing moves."""
        now = self._clock()
        while len(self._samples) > 1 and self._samples[1][0] <= now - _SPEED_OVER:
            self._samples.popleft()
        began, settled = self._samples[0]
        if self.settled == settled:
            return None
        return (self.total - self.settled) * (now - began) / (self.settled - settled)

    def time_left(self) -> str:
        """Return the same to read."""
        seconds = self.seconds_left()
        return "-:--:-- left" if seconds is None else f"{timedelta(seconds=round(seconds))} left"

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


@attrs.define
class _Lines(Meter):
    """Tells how far the job is with a line from time to time."""

    _say: Callable[[str], None] = attrs.field(alias="say", kw_only=True)
    _said: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start the clock."""
        super().__attrs_post_init__()
        self._said = self._clock()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Count *outcomes*, and tell if it is time again."""
        super().add(outcomes)
        self._tell()

    def observe(self, event: Event) -> None:
        """Take note of *event*, and tell if it is time again."""
        super().observe(event)
        if isinstance(event, Retrying):
            self._tell()

    def _tell(self) -> None:
        if self._clock() - self._said < _SECONDS_BETWEEN_LINES:
            return
        self._said = self._clock()
        # A listing does not know how many there are.
        counts = f"{self.settled:,} of {self.total:,} ({self.failed:,} failed), {self.time_left()}"
        self._say(", ".join(filter(None, (counts if self.total else "", self.status()))))


class _Told(ProgressColumn):
    """A column that asks for its text whenever it is drawn."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        super().__init__()

    def render(self, task: Task) -> Text:  # noqa: ARG002
        """Ask."""
        return Text(self._text(), no_wrap=True)


class _Bar(Progress):
    """A bar that moves, and below it what the job is waiting for."""

    def __init__(self, meter: Meter, console: Console) -> None:
        self._meter = meter
        super().__init__(
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _Told(lambda: f"{meter.failed:,} failed"),
            _Told(meter.time_left),
            console=console,
            expand=True,
            transient=True,
        )
        self.add_task("", total=meter.total)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Ask the meter at the moment of drawing, for nothing may move for a while."""
        for task in self.tasks:
            task.completed = self._meter.settled
        yield self.make_tasks_table(self.tasks)
        yield Text(printable(self._meter.status()), "dim", no_wrap=True, overflow="ellipsis")


@attrs.frozen
class Screen:
    """Where a command talks to the person in front of it."""

    console: Console = attrs.field(factory=Talk)
    quiet: bool = False
    """Whether only errors are worth a word."""

    def say(self, text: str, style: str = "") -> None:
        """Say something that can be missed."""
        if not self.quiet:
            self.tell(text, style)

    def tell(self, text: str, style: str = "") -> None:
        """Say something that matters."""
        # What reads a pipe wants whole lines.
        self.console.print(Text(printable(text), style), soft_wrap=not self.console.is_terminal)

    def show(self, thing: RenderableType) -> None:
        """Show a table, or text with colours of its own."""
        self.console.print(thing)

    def complain(self, complaints: Sequence[str], *, matters: bool = False) -> None:
        """Say what is wrong with the lines of a file, the first of them if they are many.

        Args:
            complaints: What is wrong.
            matters: Whether nothing else will say that something is wrong.
        """
        say = self.tell if matters else self.say
        for complaint in complaints[:_MOST_COMPLAINTS]:
            say(complaint, "yellow")
        if more := len(complaints[_MOST_COMPLAINTS:]):
            say(f"… and {more:,} more like these", "yellow")

    @contextmanager
    def meter(self, total: int, explain: Callable[[Exception], str] = str) -> Iterator[Meter]:
        """Show how far a job with *total* users is: a bar on a terminal, else a line at times.

        Args:
            total: How many users there are; 0 where that is unknown, as in a listing.
            explain: Says in a line why a request will be sent again.
        """
        if self.quiet:
            yield Meter(total, explain)
        elif total and self.console.is_interactive:
            meter = Meter(total, explain)
            with _Bar(meter, self.console):
                yield meter
        else:
            yield _Lines(total, explain, say=self.say)
