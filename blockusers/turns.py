"""Who may be sent now: no two requests in flight name the same user, and none overtakes another.

A user has one place in the order: the moment at which the client draws it from a caller, for a job
or for a single call.  Whoever draws a user *joins* behind those that drew it before, may send it
once it is first, and *leaves* when it is final what became of it, retries included.  Nobody keeps
a user that could be sent waiting for another one, so nobody waits in a circle.

A request that ended without an answer may still be carried out late.  After one, an opposite
operation on that user waits for as long as a request may take.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from blockusers.models import Operation


class Member(Protocol):
    """A job or a single call, while it waits for users or has them."""

    @property
    def operation(self) -> Operation:
        """What it does to its users."""
        ...

    def comes(self, key: str) -> None:
        """Hear that it may send this user now."""
        ...

    def hurry(self) -> None:
        """Hear that somebody waits for a user that it may send."""
        ...


def _call_later(seconds: float, call: Callable[[], object]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


class Turns:
    """The order of all operations of one client, user by user."""

    def __init__(
        self,
        patience: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: Callable[[float, Callable[[], object]], object] = _call_later,
    ) -> None:
        """Begin with nobody in line.

        Args:
            patience: For how many seconds a request that was not answered may still take effect.
            clock: Returns the time in seconds.
            call_later: Calls a function after so many seconds.
        """
        self._patience = patience
        self._clock = clock
        self._call_later = call_later
        self._first: dict[str, Member] = {}
        self._behind: dict[str, deque[Member]] = {}
        # The oldest stands first, and is forgotten first.
        self._unanswered: dict[str, tuple[Operation, float]] = {}

    def join(self, member: Member, keys: Sequence[str]) -> set[str]:
        """Queue users up; return those whose turn has yet to come."""
        self._forget_the_old()
        if not self._unanswered and self._first.keys().isdisjoint(keys):
            self._first.update(dict.fromkeys(keys, member))
            return set()
        return {key for key in keys if self._join_behind(member, key)}

    def _join_behind(self, member: Member, key: str) -> bool:
        if key in self._first:
            self._behind.setdefault(key, deque()).append(member)
            self._first[key].hurry()
            return True
        self._first[key] = member
        return self._is_too_early(member, key)

    def is_last(self, member: Member, key: str) -> bool:
        """Say whether nobody joined for this user after *member*."""
        behind = self._behind.get(key)
        return behind[-1] is member if behind else self._first.get(key) is member

    def leave(self, member: Member, keys: Iterable[str], *, unanswered: bool = False) -> None:
        """Give users up, first or not, so that the next may have them."""
        first, behind = self._first, self._behind
        for key in keys:
            if first.get(key) is not member:
                if member in behind.get(key, ()):
                    behind[key].remove(member)
                continue
            if unanswered:
                self._unanswered.pop(key, None)
                self._unanswered[key] = (member.operation, self._clock() + self._patience)
            if key in behind:
                self._next(key)
            else:
                del first[key]

    def _next(self, key: str) -> None:
        if not self._behind[key]:
            del self._first[key], self._behind[key]
            return
        member = self._first[key] = self._behind[key].popleft()
        if not self._is_too_early(member, key):
            member.comes(key)

    def _is_too_early(self, member: Member, key: str) -> bool:
        """Say whether an opposite operation may still take effect; if so, come back to it."""
        operation, until = self._unanswered.get(key, (member.operation, 0.0))
        left = until - self._clock()
        if operation is member.operation or left <= 0:
            return False

        def come_back() -> None:
            if self._first.get(key) is member and not self._is_too_early(member, key):
                member.comes(key)

        self._call_later(left, come_back)
        return True

    def _forget_the_old(self) -> None:
        now = self._clock()
        while self._unanswered:
            key, (_, until) = next(iter(self._unanswered.items()))
            if until > now:
                return
            del self._unanswered[key]
