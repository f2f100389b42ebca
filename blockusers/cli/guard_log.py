"""What `blockusers guard` prints: a line for each person, for numbers that stop, for troubles."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import attrs

from blockusers.cli.screen import Screen
from blockusers.guard.intents import Result
from blockusers.guard.service import Notice
from blockusers.guard.status import GuardStatus
from blockusers.guard.stores.protocol import StoreUnavailable
from blockusers.observe.events import DrainChanged, Event
from blockusers.values.masking import mask
from blockusers.values.outcome import Operation

_STATES: Final = {"paused": "paused, tried again every minute"}


_TROUBLES: Final = {
    "not_verified": (
        "somebody could not verify the URL: {}; enter at Meta what WHATSAPP_VERIFY_TOKEN has",
        "requests that could not verify the URL",
    ),
    "wrong_signature": (
        "a webhook has a wrong signature, or none; is WHATSAPP_APP_SECRET that of this app?",
        "webhooks with a wrong signature",
    ),
    "bot_failed": (
        "the bot {}; Meta will post the webhook again",
        "webhooks that the bot did not answer with 200",
    ),
    "unknown_number": (
        "somebody wrote to number {}, for which there is no account; nobody is blocked there",
        "messages to numbers without an account",
    ),
}
"""What is said of the first trouble of a kind, and what more of them are called."""
_STORE: Final = "store"
_LOOKED_EVERY: Final = 10.0
_A_MINUTE: Final = 6
"""Looks within a minute."""


@attrs.frozen
class GuardLog:
    """Prints a line for each person who is blocked or unblocked, and for what goes wrong."""

    screen: Screen
    several: bool
    """Whether there are several business numbers, so that each line names its own."""
    clock: Callable[[], float]
    """The time, in seconds since 1970, that the store goes by."""
    _stopped: set[str] = attrs.field(factory=set, init=False)
    """Numbers that were said to have stopped; and `store`, while that is said to be away."""
    _more: Counter[str] = attrs.field(factory=Counter[str], init=False)
    """Of each kind of trouble that was told, how many more there were since."""
    _unknown: Counter[str] = attrs.field(factory=Counter[str], init=False)
    """Messages to numbers without an account that were seen."""

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

    def notice(self, kind: Notice, detail: str) -> None:
        """Tell that the URL was verified, or of the first trouble of a kind."""
        if kind == "verified":
            self.screen.say(self._line("", "the URL was verified"), "green")
        else:
            self._trouble(kind, detail)

    async def watch(
        self, status: Callable[[], Awaitable[GuardStatus]], every: float = _LOOKED_EVERY
    ) -> None:
        """Tell for ever of what the guard ignores, and each minute how many troubles there were."""
        looks = 0
        while True:
            await asyncio.sleep(every)
            try:
                self._look(await status())
            except StoreUnavailable as error:
                if not self._stopped:  # else a number has said that it waits for it
                    self._stopped.add(_STORE)
                    self.screen.tell(self._line("", str(error)), "yellow")
            looks += 1
            if looks % _A_MINUTE == 0:
                self._count_troubles()

    def _look(self, status: GuardStatus) -> None:
        self._stopped.discard(_STORE)
        unknown = Counter(status.unknown_numbers)
        for number, times in (unknown - self._unknown).items():
            self._trouble("unknown_number", number, times)
        self._unknown.update(unknown - self._unknown)

    def _trouble(self, kind: str, detail: str, times: int = 1) -> None:
        if kind not in self._more:
            first, _ = _TROUBLES[kind]
            self.screen.tell(self._line("", first.format(detail)), "yellow")
            times -= 1
        self._more[kind] += times

    def _count_troubles(self) -> None:
        """Say how many more there were; of what has stopped, the next is the first again."""
        for kind, number in list(self._more.items()):
            _, name = _TROUBLES[kind]
            if number:
                self.screen.tell(self._line("", f"{number:,} more {name} within a minute"))
                self._more[kind] = 0
            else:
                del self._more[kind]

    def _line(self, number: str, text: str) -> str:
        where = f"{number} " if self.several and number else ""
        return f"{datetime.now():%H:%M:%S} {where}{text}"  # noqa: DTZ005  # local time


def in_words(result: Result, now: float) -> str:
    """Say in a line what became of somebody."""
    verb = "blocked" if result.intent.operation is Operation.BLOCK else "unblocked"
    who = mask(result.intent.user)
    if result.done:
        return f"{who} {verb} after {(now - result.intent.made_at) * 1000:,.0f} ms"
    later = "" if result.retry_at is None else "; it will be tried again"
    return f"{who} not {verb}: {result.reason}{later}"
