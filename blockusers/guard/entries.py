"""`Entry` and `Change`: a line of the deny list, and what changing the list has changed."""

from __future__ import annotations

import time
from typing import Final, Literal, TypeAlias

import attrs

from blockusers.values.masking import mask
from blockusers.values.outcome import Outcome

EVERYWHERE: Final = "*"
"""The scope of an entry that holds for all numbers."""

Action: TypeAlias = Literal["deny", "allow"]


@attrs.frozen
class Entry:
    """One line of the deny list. User, scope, action and origin together are its key."""

    user: str = attrs.field(repr=mask)
    """The digits of a number, or a BSUID; the keyed hash of it in a list with a `hash_key`."""
    scope: str = EVERYWHERE
    """`*`, or the phone number id of the business number for which alone it holds."""
    action: Action = "deny"
    """`deny`, or `allow`, which beats `deny` within its scope."""
    reason: str = ""
    """Why, in words for people."""
    origin: str = ""
    """Who or what added it: a person, an import. Imports with different origins do not overwrite
    each other."""
    added_at: float = attrs.field(factory=time.time)
    """When it was added first, in seconds since 1970."""
    expires_at: float | None = None
    """When it ends, in seconds since 1970; None is never."""


@attrs.frozen
class Change:
    """What changing the deny list has changed."""

    added: int = 0
    """Entries that are new."""
    updated: int = 0
    """Entries whose reason or expiry is another now."""
    removed: int = 0
    """Entries that are gone."""
    refused: tuple[Outcome, ...] = ()
    """Inputs that name nobody, each with its fault; nothing was done about them."""
