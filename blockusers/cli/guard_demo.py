"""Shows a guard at work: simulated people write to a sandbox, and those on the list are blocked.

A time is measured from the message until the blocklist of the sandbox holds its sender.
"""

from __future__ import annotations

import asyncio
import random
import re
import statistics
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import attrs

from blockusers.cli.demo import program
from blockusers.cli.deny_list import ListPlace
from blockusers.cli.guard_service import Service
from blockusers.cli.sample_data import make_phones
from blockusers.cli.screen import Screen
from blockusers.guard.webhooks import Webhook
from blockusers.sandbox import Sandbox
from blockusers.values.account import Account
from blockusers.values.masking import mask

_SECRET: Final = "of the sandbox"  # noqa: S105
_LISTED: Final = 1000
_DENIED: Final = 9
"""How many of those on the list write."""
_STRANGERS: Final = 51
_SHOWN: Final = 1
_PER_SECOND: Final = 8
_LOOKED_EVERY: Final = 0.001
_NEXT: Final = """
Next, with your own number (the first start says what it needs):
  {0} deny import spammers.csv --column phone
  {0} guard --port 8080"""


@attrs.frozen
class Visit:
    """A message in the simulation."""

    at: float
    """When, in seconds from the start."""
    phone: str
    """Who writes: a WhatsApp id."""
    denied: bool


def make_visits(seconds: float, seed: int = 1) -> tuple[Sequence[str], Sequence[Visit]]:
    """Make up who is on the list, and who writes when; the same seed makes the same."""
    chance = random.Random(seed)  # noqa: S311  # people to look at, no secret
    phones = [re.sub("[+ ]", "", each) for each in make_phones(chance, _LISTED + _STRANGERS)]
    listed, strangers = phones[:_LISTED], phones[_LISTED:]
    visits = [
        Visit(chance.uniform(0, seconds), chance.choice(strangers), denied=False)
        for _ in range(round(seconds * _PER_SECOND) + _STRANGERS)
    ]
    step = seconds / _DENIED
    visits += [
        Visit((number + chance.random()) * step, phone, denied=True)
        for number, phone in enumerate(chance.sample(listed, _DENIED))
    ]
    return listed, sorted(visits, key=lambda visit: visit.at)


@attrs.define
class Show:
    """Lets people write for some seconds, on one screen of 80x24."""

    screen: Screen
    seconds: float
    patience: float = 10.0
    """How many seconds it waits for a block before it says that there is none."""
    _shown: int = attrs.field(default=0, init=False)
    """How many people were shown who are not on the list."""

    async def run(self) -> bool:
        """Run it; return whether those who should be blocked are, and nobody else."""
        listed, visits = make_visits(self.seconds)
        self.screen.tell("A sandbox on this computer plays WhatsApp; nobody is reached.", "bold")
        self.screen.tell(
            f"{len(listed):,} people are on the deny list; {_DENIED} of them, and others, write"
            f" for {self.seconds:g} s.\n",
            "bold",
        )
        with tempfile.TemporaryDirectory() as folder, Sandbox(app_secret=_SECRET) as sandbox:
            service = Service(
                [Account(**sandbox.credentials)],
                Webhook(_SECRET, "unused"),
                ListPlace(f"{folder}/deny.db"),
            )
            quiet = attrs.evolve(self.screen, quiet=True)
            async with service.running(quiet) as (guard, url):
                await guard.deny_list.add(listed, reason="a known spammer")
                sandbox.post_webhooks_to(url)
                seen = await self._let_write(sandbox, visits)
        return conclude(self.screen, seen, len(visits), sandbox.blocklist())

    async def _let_write(self, sandbox: Sandbox, visits: Sequence[Visit]) -> Mapping[str, Seen]:
        seen = {}
        start = time.perf_counter()
        async with asyncio.TaskGroup() as watching:
            for visit in visits:
                await asyncio.sleep(max(0.0, start + visit.at - time.perf_counter()))
                began = time.perf_counter()
                sandbox.message_from(visit.phone)
                if visit.denied:
                    watch = self._watch(sandbox, visit.phone, began)
                    seen[visit.phone] = watching.create_task(watch)
                elif self._shown < _SHOWN:
                    self._shown += 1
                    self._say(visit.phone, "is not on the list")
        return {
            phone: Seen(task.result(), kept_back=sandbox.message_from(phone) is None)
            for phone, task in seen.items()
        }

    async def _watch(self, sandbox: Sandbox, phone: str, began: float) -> float | None:
        """Return after how many seconds the sandbox has blocked somebody; None if it does not."""
        while (seconds := time.perf_counter() - began) < self.patience:
            if phone in sandbox.blocklist():
                self._say(phone, f"is on the list: blocked after {seconds * 1000:.0f} ms")
                return seconds
            await asyncio.sleep(_LOOKED_EVERY)
        return None

    def _say(self, phone: str, text: str) -> None:
        self.screen.say(f"  {mask(phone):9} writes, {text}")


@attrs.frozen
class Seen:
    """What was seen of somebody on the list who wrote."""

    seconds: float | None
    """After how many they were blocked; None if they were not."""
    kept_back: bool = attrs.field(kw_only=True)
    """Whether their next message did not reach the business."""


def conclude(
    screen: Screen, seen: Mapping[str, Seen], messages: int, blocked: Collection[str]
) -> bool:
    """Say how it went, and what to do next; return whether all was right.

    Args:
        screen: Where to say it.
        seen: Those on the list who wrote.
        messages: How many messages were written before their second ones.
        blocked: Who is on the blocklist now.
    """
    times = sorted(each.seconds * 1000 for each in seen.values() if each.seconds is not None)
    correct = {*seen} == {*blocked} and len(times) == len(seen)
    screen.tell(f"\n{messages:,} messages; {len(seen)} were from people on the deny list", "bold")
    mark, style = ("✓", "green") if correct else ("✗", "bold red")
    screen.tell(
        f"{mark} {len({*seen} & {*blocked})} of these {len(seen)} are blocked now,"
        f" and {len({*blocked} - {*seen})} others",
        style,
    )
    if times:
        screen.tell(
            f"  from message to block: median {statistics.median(times):.0f} ms,"
            f" worst {times[-1]:.0f} ms; Meta's time is extra"
        )
    kept_back = sum(each.kept_back for each in seen.values())
    screen.tell(f"  they wrote again: {kept_back} of {len(seen)} messages did not get through")
    screen.tell(_NEXT.format(program()))
    return correct
