"""What `blockusers guard` prints: a line for each person, and for each number that stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import attrs

from blockusers.cli.screen import Screen
from blockusers.guard.intents import Result
from blockusers.observe.events import DrainChanged, Event
from blockusers.values.masking import mask
from blockusers.values.outcome import Operation

_STATES: Final = {"paused": "paused, tried again every minute"}


@attrs.frozen
class GuardLog:
    """Prints a line for each person who is blocked or unblocked, and for what goes wrong."""

    screen: Screen
    several: bool
    """Whether there are several business numbers, so that each line names its own."""
    clock: Callable[[], float]
    """The time, in seconds since 1970, that the store goes by."""
    _stopped: set[str] = attrs.field(factory=set, init=False)

    def settled(self, results: Sequence[Result]) -> None:
        """Tell of people; not of those who wait while a number pauses, which is told once."""
        for result in results:
            if result.done or result.tries > result.intent.tries or result.retry_at is None:
                say = self.screen.say if result.done else self.screen.tell
                say(self._line(result.intent.phone_number_id, in_words(result, self.clock())))

    def observe(self, event: Event) -> None:
        """Tell of a number that stops, or goes on."""
        if isinstance(event, DrainChanged):
            number = event.phone_number_id
            if event.reason:
                state = _STATES.get(event.state, event.state)
                self.screen.tell(self._line(number, f"{state}: {event.reason}"), "yellow")
                self._stopped.add(number)
            elif number in self._stopped:
                self.screen.tell(self._line(number, "goes on"))
                self._stopped.discard(number)

    def _line(self, number: str, text: str) -> str:
        where = f"{number} " if self.several else ""
        return f"{datetime.now():%H:%M:%S} {where}{text}"  # noqa: DTZ005  # local time


def in_words(result: Result, now: float) -> str:
    """Say in a line what became of somebody."""
    verb = "blocked" if result.intent.operation is Operation.BLOCK else "unblocked"
    who = mask(result.intent.user)
    if result.done:
        return f"{who} {verb} after {(now - result.intent.made_at) * 1000:,.0f} ms"
    later = "" if result.retry_at is None else "; it will be tried again"
    return f"{who} not {verb}: {result.reason}{later}"
