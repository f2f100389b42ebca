"""`Webhook`: checks and reads what Meta posts about incoming messages, without any I/O."""

from __future__ import annotations

import time

import attrs

from blockusers.values.masking import mask


def _masked(ids: tuple[str, ...]) -> str:
    return f"({', '.join(map(mask, ids))})"


@attrs.frozen
class Sighting:
    """Somebody wrote to a business number."""

    phone_number_id: str
    """The business number."""
    ids: tuple[str, ...] = attrs.field(repr=_masked, converter=tuple)
    """All ids that the message gives for its sender: WhatsApp id, BSUID, parent id."""
    wrote_at: float = attrs.field(factory=time.time)
    """When, in seconds since 1970."""
    message_id: str | None = attrs.field(default=None, repr=False)
    """Meta's id of the message; it holds the sender's number."""


@attrs.frozen
class IdentityChanged:
    """Somebody has another number or another id now."""

    old: str = attrs.field(repr=mask)
    """The id before."""
    new: str = attrs.field(repr=mask)
    """The id now."""
    phone_number_id: str = ""
    """The business number that was told."""
    changed_at: float = attrs.field(factory=time.time)
    """When, in seconds since 1970."""
    message_id: str | None = attrs.field(default=None, repr=False)
    """Meta's id of the message that told it."""
