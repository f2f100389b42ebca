"""Holds the users of a job that are to be sent or retried; says when a chunk, even a part, may go.

Each user of a job is in one of these states:

| state | it waits for | next |
| --- | --- | --- |
| waiting | an earlier operation on the same user | ready |
| ready | a full chunk, the end of the source, or (1) | in flight |
| in flight | the answer; attempts and the waits between them included | final or to be retried |
| to be retried | a pause after a 139103, then that nothing else is to do, or (1) | in flight |
| final | | |

(1) that somebody else waits for the user.  So a source that stalls holds nobody up, and the users
to be retried share requests.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from blockusers.jobs.sender import Sender
from blockusers.jobs.source import Source
from blockusers.jobs.state import JobState
from blockusers.values.outcome import User


class Chunk(NamedTuple):
    """Users to be sent in one request."""

    users: list[int]
    taken_from: deque[int]
    """Where those go back to whom it cannot name."""


class Outbox:
    """The users of one job that are still to be sent, by their indexes in its state."""

    def __init__(self, source: Source, state: JobState, sender: Sender) -> None:
        self.operation = state.operation
        self.changed = asyncio.Event()
        """Set when other users may be sent than before."""
        self.drawn = 0
        """How many users came from the source so far."""
        self._source = source
        self._state = state
        self._order = sender.order
        self._chunk_size = sender.chunk_size
        self._at_once = sender.reader.at_once
        self._waiting: dict[str, int] = {}
        self._ready: deque[int] = deque()
        # Ready, too, but to be sent in chunks of their own, and without waiting for a full one.
        self._again: deque[int] = deque()
        # How many at the front of `_ready` were put back because a request took fewer; they need
        # not wait for a full chunk again if the source may stall.
        self._cut_off = 0
        self._wanted: set[str] = set()
        self._is_closed = False

    def __bool__(self) -> bool:
        return bool(self._waiting or self.is_ready or self._state.to_retry)

    @property
    def is_ready(self) -> bool:
        """Whether there are users that need not wait for another operation, or for a pause."""
        return bool(self._ready or self._again)

    async def fill(self) -> None:
        """Read users from the source, at most up to a full chunk."""
        missing = max(0, self._chunk_size - len(self._ready))
        await self._source.read(min(missing, self._at_once), self._add)
        self.changed.set()

    def _add(self, users: Sequence[User]) -> None:
        if self._is_closed:  # a source that goes on although it was cancelled
            return
        self.drawn += len(users)
        indexes = self._state.admit(users)
        keys = self._state.keys(indexes)
        if waiting := self._order.enqueue(self, keys):
            index_of = dict(zip(keys, indexes, strict=True))
            self._waiting |= {key: index_of[key] for key in waiting}
            indexes = [index for key, index in index_of.items() if key not in waiting]
        self._ready.extend(indexes)

    def granted(self, key: str) -> None:
        """Called when no earlier operation holds this user any more."""
        self._ready.append(self._waiting.pop(key))
        self.changed.set()

    def flush(self, key: str) -> None:
        """Called when somebody else waits for this user."""
        self._wanted.add(key)
        self.changed.set()

    def take(self) -> Chunk | None:
        """Take the users of the next request; None if nobody may be sent now."""
        if self._again:
            return Chunk(self._take_from(self._again), self._again)
        is_full = len(self._ready) >= self._chunk_size
        was_full = self._cut_off > 0 and not self._source.is_plain
        is_last = self._source.at_end and bool(self._ready)
        if not (is_full or was_full or is_last or self._is_wanted(self._ready)):
            return None
        users = self._take_from(self._ready)
        self._cut_off = max(0, self._cut_off - len(users))
        return Chunk(users, self._ready)

    def _take_from(self, queue: deque[int]) -> list[int]:
        return [queue.popleft() for _ in range(min(self._chunk_size, len(queue)))]

    def shorten(self, chunk: Chunk, most: int) -> None:
        """Put back whom a request cannot name, for it takes *most* users."""
        rest = chunk.users[most:]
        if rest:
            del chunk.users[most:]
            if chunk.taken_from is self._ready:
                self._cut_off += len(rest)
            chunk.taken_from.extendleft(reversed(rest))
            self.changed.set()

    def may_retry(self, *, is_idle: bool) -> bool:
        """Say whether those that are to be retried need not wait for more of them.

        Args:
            is_idle: Whether nothing else is to do.
        """
        to_retry = self._state.to_retry
        is_full = len(to_retry) >= self._chunk_size
        return bool(to_retry) and (is_idle or is_full or self._is_wanted(to_retry))

    def retry(self) -> None:
        """Let those be sent that are to be retried."""
        self._again.extend(self._state.to_retry)
        self._state.to_retry.clear()

    def release(self, indexes: Iterable[int]) -> None:
        """Let others have users whose outcome is final."""
        keys = self._state.keys(indexes)
        self._wanted.difference_update(keys)
        self._order.release(self, keys)

    def close(self) -> None:
        """Let others have all users, and take no more."""
        self._is_closed = True
        self._order.release(self, self._state.keys(self._state.unsettled))

    def _is_wanted(self, indexes: Iterable[int]) -> bool:
        return bool(self._wanted) and not self._wanted.isdisjoint(self._state.keys(indexes))
