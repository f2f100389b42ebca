"""Adds users to the deny list; what a command does not say of an entry stays as it is.

The library sets the reason and the expiry of whoever is added again.  At a terminal that would make
a ban that ends a lasting one, only because `--expires` was not typed a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from blockusers.cli.expiry import NEVER
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import EVERYWHERE, Action, Change, Entry
from blockusers.guard.stores.protocol import Filter

_AT_ONCE: Final = 2000


@attrs.frozen
class Fields:
    """What a command, or a row of an export, says of entries beside the user."""

    scope: str = EVERYWHERE
    action: Action = "deny"
    origin: str = ""
    reason: str | None = None
    """None keeps the reason of an entry that is there."""
    expires_at: float | None = None
    """`NEVER`, or seconds since 1970; None keeps the end of an entry that is there."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `DenyList.add` for an entry that is new."""
        expires_at = None if self.expires_at == NEVER else self.expires_at
        return {**attrs.asdict(self), "reason": self.reason or "", "expires_at": expires_at}


@attrs.frozen
class Added:
    """What was added."""

    change: Change
    ending: int = 0
    """Entries that were there and end, because no other end was given."""


async def add(deny_list: DenyList, users: Sequence[Any], fields: Fields) -> Added:
    """Add users.

    Raises:
        ValueError: A field is wrong.
        StoreUnavailable: The store failed; to add all again does no harm.
    """
    given = fields.arguments()
    if None in (fields.reason, fields.expires_at) and await deny_list.count():
        there = await _find(deny_list, users, fields)
    else:
        there = {}
    new, old = list[Any](), dict[tuple[str, float | None], list[Any]]()
    for index, user in enumerate(users):
        if (entry := there.get(index)) is None:
            new.append(user)
        else:
            reason = entry.reason if fields.reason is None else fields.reason
            ends = entry.expires_at if fields.expires_at is None else given["expires_at"]
            old.setdefault((reason, ends), []).append(user)
    change = await deny_list.add(new, **given)
    for (reason, ends), those in old.items():
        part = await deny_list.add(those, **{**given, "reason": reason, "expires_at": ends})
        change = attrs.evolve(change, updated=change.updated + part.updated)
    ending = sum(len(those) for (_, ends), those in old.items() if ends is not None)
    return Added(change, ending if fields.expires_at is None else 0)


async def _find(deny_list: DenyList, users: Sequence[Any], fields: Fields) -> dict[int, Entry]:
    """Return the entries of *users* that have not ended, by the index of the user."""
    keys = {
        index: deny_list.key(names[0])
        for index, user in enumerate(users)
        if (names := deny_list.names(user))
    }
    found, now = dict[str, Entry](), deny_list.store.clock()
    wanted = sorted({*keys.values()})  # neighbours share pages of the store
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        chosen = Filter(part, fields.scope, fields.action, fields.origin)
        for entry in await deny_list.store.entries(chosen, None, len(part)):
            if entry.expires_at is None or entry.expires_at > now:
                found[entry.user] = entry
    return {index: found[key] for index, key in keys.items() if key in found}
