"""The queue for slots of a pace: decides by priority, age and fairness who gets the next one.

Single calls go before the chunks of a job, and those before the pages of a listing; within a
class, first come, first served.  But every fourth slot goes to whoever has waited longest, so that
no class starves.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, TypeVar

from blockusers.pace.protocol import Priority

_FAIR: Final = 4

Head = TypeVar("Head", tuple[int, float], tuple[int, float, str])


def first_of(heads: Iterable[Head], granted: int) -> Head:
    """Return which of *heads* gets a slot, after so many were granted.

    A head is the number of its line, then what tells who came first, then whatever else.
    """
    is_fair = (granted + 1) % _FAIR == 0
    return min(heads, key=lambda head: head[1:] if is_fair else head)


class Queue:
    """Who waits for a slot, and who goes next.

    Args:
        stamp: Returns what tells who came first: it never falls.
    """

    def __init__(self, stamp: Callable[[], float] | None = None) -> None:
        self._stamp = stamp or itertools.count().__next__
        self._granted = 0
        # For each class a line of those who are sent again, then one of the others; each waiter has
        # a stamp that tells who came first.
        self._lines: list[OrderedDict[asyncio.Future[Any], float]] = [
            OrderedDict() for _ in Priority for _ in (True, False)
        ]

    def __len__(self) -> int:
        return sum(map(len, self._lines))

    def add(self, waiter: asyncio.Future[Any], priority: Priority, *, again: bool) -> None:
        """Add *waiter* behind those of its class."""
        self._lines[2 * priority + (not again)][waiter] = self._stamp()

    def discard(self, waiter: asyncio.Future[Any]) -> None:
        """Forget *waiter*, who waits no more."""
        for line in self._lines:
            line.pop(waiter, None)

    def lines(self) -> set[int]:
        """Return the numbers of the lines in which somebody waits."""
        return {n for n, line in enumerate(self._lines) if line}

    def stamps(self, most: int) -> dict[int, list[float]]:
        """Return the stamps of the first ones in each line where somebody waits."""
        return {n: list(islice(self._lines[n].values(), most)) for n in sorted(self.lines())}

    def pop(self, line: int | None = None) -> asyncio.Future[Any]:
        """Remove and return the waiter that gets the next slot; if there is one, of *line*."""
        if line is None or not self._lines[line]:
            heads = [(n, next(iter(each.values()))) for n, each in enumerate(self._lines) if each]
            line, _ = first_of(heads, self._granted)
        self._granted += 1
        waiter, _ = self._lines[line].popitem(last=False)
        return waiter
