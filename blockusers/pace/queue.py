"""The queue for slots of a pace: decides by priority, age and fairness who gets the next one.

Single calls go before the chunks of a job, and those before the pages of a listing; within a
class, first come, first served.  But every fourth slot goes to whoever has waited longest, so that
no class starves.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from typing import Final

from blockusers.pace.protocol import Priority, Slot

_FAIR: Final = 4


class Queue:
    """Who waits for a slot, and who goes next."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._granted = 0
        # For each class a line of those who are sent again, then one of the others; each waiter has
        # a number that tells who came first.
        self._lines: list[OrderedDict[asyncio.Future[Slot], int]] = [
            OrderedDict() for _ in Priority for _ in (True, False)
        ]

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def add(self, waiter: asyncio.Future[Slot], priority: Priority, *, again: bool) -> None:
        """Add *waiter* behind those of its class."""
        self._lines[2 * priority + (not again)][waiter] = next(self._numbers)

    def discard(self, waiter: asyncio.Future[Slot]) -> None:
        """Forget *waiter*, who waits no more."""
        for line in self._lines:
            line.pop(waiter, None)

    def pop(self) -> asyncio.Future[Slot]:
        """Remove and return the waiter that gets the next slot."""
        self._granted += 1
        lines = [line for line in self._lines if line]
        is_fair = self._granted % _FAIR == 0
        line = min(lines, key=lambda line: next(iter(line.values()))) if is_fair else lines[0]
        waiter, _ = line.popitem(last=False)
        return waiter
