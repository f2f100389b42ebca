"""The blocklist of one business number: who is on it, who may be put on it, and its pages.

Users are keys here: WhatsApp ids in digits, or BSUIDs.  There is no I/O; the time comes from the
clock that is passed in.  The version of the list is the time of its last change in microseconds; it
grows with every change, because a cursor is valid only for the version that it was made from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf
from typing import NamedTuple

import attrs

from blockusers.sandbox.cursors import Cursor, decode
from blockusers.sandbox.magic import MAGIC, Magic
from blockusers.sandbox.refusals import Refusal
from blockusers.sandbox.rules import Rules


class Page(NamedTuple):
    """Some rows of one version of a blocklist."""

    keys: Sequence[str]
    first: Cursor
    """The cursor of the first row."""
    last: Cursor
    """The cursor of the last row."""
    more: bool
    """Whether rows follow."""


@attrs.define
class Blocklist:
    """One business number's blocklist."""

    _rules: Rules
    _clock: Callable[[], float]
    _members: dict[str, None] = attrs.field(init=False, factory=dict)
    _rows: tuple[str, ...] | None = attrs.field(init=False, default=())
    _wrote_at: dict[str, float] = attrs.field(init=False, factory=dict)
    _same: dict[str, frozenset[str]] = attrs.field(init=False, factory=dict)
    _failures: Counter[str] = attrs.field(init=False, factory=Counter)
    version: int = attrs.field(init=False)
    """The time of the last change, in microseconds."""

    def __attrs_post_init__(self) -> None:
        self.version = round(self._clock() * 1e6)

    @property
    def members(self) -> frozenset[str]:
        """Everyone on the list."""
        return frozenset(self._members)

    def block(self, keys: Sequence[str]) -> dict[str, int]:
        """Put *keys* on the list, as far as the rules allow; return the errors of the others."""
        faults = self._faults(keys, blocking=True)
        new = [key for key in keys if key not in faults and key not in self._members]
        faults |= {key: 131047 for key in new if not self._wrote_lately(key)}
        faults |= self._without_room([key for key in new if key not in faults])
        self.put(key for key in keys if key not in faults)
        return faults

    def unblock(self, keys: Sequence[str]) -> dict[str, int]:
        """Take *keys* off the list; return the errors of those that fail. Absent ones do not."""
        faults = self._faults(keys, blocking=False)
        self.drop(key for key in keys if key not in faults)
        return faults

    def put(self, keys: Iterable[str]) -> None:
        """Put *keys* on the list, whatever the rules say."""
        before = len(self._members)
        self._members.update(dict.fromkeys(keys))
        self._note_change(changed=len(self._members) != before)

    def drop(self, keys: Iterable[str]) -> None:
        """Take *keys* off the list, whatever the rules say."""
        before = len(self._members)
        for key in keys:
            self._members.pop(key, None)
        self._note_change(changed=len(self._members) != before)

    def message_from(self, ids: Collection[str], wrote_at: float) -> bool:
        """Let the person who has *ids* write; return whether the business gets the message.

        A person who once showed two ids is known by both from then on. What does not reach the
        business opens no window.
        """
        known = frozenset(ids).union(*(self._same.get(each, ()) for each in ids))
        self._same.update(dict.fromkeys(known, known))
        if not known.isdisjoint(self._members):
            return False
        for each in known:
            self._wrote_at[each] = max(wrote_at, self._wrote_at.get(each, wrote_at))
        return True

    def page(self, limit: int, *, after: str | None = None, before: str | None = None) -> Page:
        """Return up to *limit* rows that follow *after*, or that end just before *before*."""
        if after is not None:
            start = self._read(after).offset + 1
            stop = start + limit
        elif before is not None:
            stop = self._read(before).offset
            start = max(0, stop - limit)
        else:
            start, stop = 0, limit
        rows = self._all_rows()
        keys = rows[start:stop]
        first, last = (Cursor(at, self.version) for at in (start, start + len(keys) - 1))
        return Page(keys, first, last, start + len(keys) < len(rows))

    def _read(self, text: str) -> Cursor:
        try:
            cursor = decode(text)
        except ValueError:
            raise Refusal(100, "The cursor cannot be read") from None
        if cursor.version != self.version:
            raise Refusal(139102)
        return cursor

    def _faults(self, keys: Sequence[str], *, blocking: bool) -> dict[str, int]:
        """Return the error codes of *keys* that always fail; an empty key is nobody on WhatsApp."""
        known = {"": 131047, self._rules.own_number: 131021}
        faults = {key: known[key] for key in keys if key in known}
        if self._rules.magic:
            # A BSUID may end like a magic number by chance, so it never is one.
            for key in [key for key in keys if key[-6:] in MAGIC and "." not in key]:
                magic = MAGIC[key[-6:]]
                if (blocking or not magic.blocking_only) and self._fails(key, magic):
                    faults[key] = magic.code
        return faults

    def _fails(self, key: str, magic: Magic) -> bool:
        """Return whether a magic number fails this time; raise what fails the whole request."""
        self._failures[key] += 1
        if magic.transient and self._failures[key] > self._rules.magic_attempts:
            return False
        if magic.whole:
            raise Refusal(magic.code)
        return True

    def _wrote_lately(self, key: str) -> bool:
        window = self._rules.window
        return window is None or self._wrote_at.get(key, -inf) >= self._clock() - window

    def _without_room(self, new: Sequence[str]) -> dict[str, int]:
        """Return 139101 for those for whom there is no room."""
        room = max(0, self._rules.capacity - len(self._members))
        if len(new) > room and not self._rules.full_per_number:
            raise Refusal(139101)
        return dict.fromkeys(new[room:], 139101)

    def _note_change(self, *, changed: bool) -> None:
        if changed:
            self.version = max(self.version + 1, round(self._clock() * 1e6))
            self._rows = None

    def _all_rows(self) -> tuple[str, ...]:
        """Return all rows in order; copied once per version, so that late pages cost no more."""
        if self._rows is None:
            self._rows = tuple(self._members)
        return self._rows
