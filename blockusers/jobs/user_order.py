"""Keeps operations on one user in order, one request at a time, also after a lost answer.

A user's place in the order is the moment at which the client draws it from a caller, for a job or
for a single call.  Whoever draws a user *enqueues* it, may send it once it is *granted*, and
*releases* it when its outcome is final, retries included, and no request names it any more.
Whoever holds a user that others wait for is told to *flush* it, that is, not to wait for anything
else before sending it; so nobody waits in a circle.

A request that ended without an answer may still take effect later.  So after such an attempt,
whether or not a later one was answered, an opposite operation on that user waits for as long as a
request may take.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from blockusers.values.outcome import Operation


class Holder(Protocol):
    """A job or a single call, while it waits for users or holds them."""

    @property
    def operation(self) -> Operation:
        """What it does to its users."""
        ...

    def granted(self, key: str) -> None:
        """Called when no earlier operation holds this user any more, so that it may be sent."""
        ...

    def flush(self, key: str) -> None:
        """Called when somebody else waits for this user, which it holds."""
        ...


def _call_later(seconds: float, call: Callable[[], object]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class UserOrder:
    """The order of all operations of one client, user by user."""

    def __init__(
        self,
        late: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], object]], object] = _call_later,
    ) -> None:
        """Begin with no users.

        Args:
            late: Seconds for which a request without an answer may still take effect.
            clock: Returns the time in seconds.
            call_later: Calls a function after so many seconds.
        """
        self._late = late
        self._clock = clock
        self._call_later = call_later
        self._first: dict[str, Holder] = {}
        self._behind: dict[str, deque[Holder]] = {}
        # The oldest stands first, and is forgotten first.
        self._lost: dict[str, tuple[Operation, float]] = {}

    def enqueue(self, holder: Holder, keys: Sequence[str]) -> set[str]:
        """Put *holder* behind those before it; return the users that it may not send yet."""
        self._forget_the_old()
        if not self._lost and self._first.keys().isdisjoint(keys):
            self._first.update(dict.fromkeys(keys, holder))
            return set()
        return {key for key in keys if self._enqueue_one(holder, key)}

    def _enqueue_one(self, holder: Holder, key: str) -> bool:
        if key in self._first:
            self._behind.setdefault(key, deque()).append(holder)
            self._first[key].flush(key)
            return True
        self._first[key] = holder
        return self._delay_if_too_early(holder, key)

    def is_last(self, holder: Holder, key: str) -> bool:
        """Say whether nobody was enqueued for this user after *holder*."""
        behind = self._behind.get(key)
        return behind[-1] is holder if behind else self._first.get(key) is holder

    def note_lost(self, operation: Operation, keys: Iterable[str]) -> None:
        """Note that a request has ended just now without an answer, and may still take effect."""
        until = self._clock() + self._late
        for key in keys:
            self._lost.pop(key, None)
            self._lost[key] = (operation, until)

    def release(self, holder: Holder, keys: Iterable[str]) -> None:
        """Give users up, granted or not, so that the next may have them."""
        first, behind = self._first, self._behind
        for key in keys:
            if first.get(key) is not holder:
                if holder in behind.get(key, ()):
                    behind[key].remove(holder)
            elif key in behind:
                self._grant_next(key)
            else:
                del first[key]

    def _grant_next(self, key: str) -> None:
        behind = self._behind[key]
        if not behind:
            del self._first[key], self._behind[key]
            return
        holder = self._first[key] = behind.popleft()
        if not self._delay_if_too_early(holder, key):
            holder.granted(key)
        if behind:
            holder.flush(key)

    def _delay_if_too_early(self, holder: Holder, key: str) -> bool:
        """Say whether an opposite operation may still take effect; if so, come back to it."""
        operation, until = self._lost.get(key, (holder.operation, 0.0))
        left = until - self._clock()
        if operation is holder.operation or left <= 0:
            return False

        def come_back() -> None:
            if self._first.get(key) is holder and not self._delay_if_too_early(holder, key):
                holder.granted(key)

        self._call_later(left, come_back)
        return True

    def _forget_the_old(self) -> None:
        now = self._clock()
        while self._lost:
            key, (_, until) = next(iter(self._lost.items()))
            if until > now:
                return
            del self._lost[key]
