"""How a `RedisStore` writes entries: one text each, in the order of their keys.

A text is user, scope, action, origin, `added_at`, `expires_at` and reason, with a NUL after each
but the last.  Those texts are the members of one sorted set; Redis sorts them byte by byte.
"""

from __future__ import annotations

from typing import TypeAlias

from blockusers.guard.entries import Action, Entry
from blockusers.guard.stores.protocol import Filter
from blockusers.guard.stores.times import compact

Row: TypeAlias = tuple[str, str, str, str]
"""The key of an entry, `added_at`, `expires_at` and the reason, as `redis.lua` takes them."""


def name(text: str) -> str:
    """Return a text without NUL, in the same order among others as it was."""
    return text.replace("\1", "\1\2").replace("\0", "\1\1")


def _unnamed(text: str) -> str:
    return text.replace("\1\1", "\0").replace("\1\2", "\1")


def key_of(entry: Entry) -> str:
    """Return what tells an entry from all others."""
    parts = (entry.user, entry.scope, entry.action, entry.origin)
    return "".join(f"{name(part)}\0" for part in parts)


def row_of(entry: Entry) -> Row:
    """Return an entry as it is added."""
    ends = "" if entry.expires_at is None else str(compact(entry.expires_at))
    return key_of(entry), str(compact(entry.added_at)), ends, entry.reason


def entry_of(text: str) -> Entry:
    """Return the entry that a text stands for."""
    user, scope, action, origin, added_at, expires_at, reason = text.split("\0", 6)
    kind: Action = "deny" if action == "deny" else "allow"
    ends = float(expires_at) if expires_at else None
    return Entry(
        _unnamed(user), _unnamed(scope), kind, reason, _unnamed(origin), float(added_at), ends
    )


def is_chosen(entry: Entry, chosen: Filter) -> bool:
    """Whether a filter means this entry of a user that it means."""
    return (
        chosen.scope in (None, entry.scope)
        and chosen.action in (None, entry.action)
        and chosen.origin in (None, entry.origin)
    )
