"""What a listing returns: the blocked users, and pages of them."""

from __future__ import annotations

import attrs

from blockusers.values.masking import mask


def _masked(text: str | None) -> str:
    return "None" if text is None else repr(mask(text))


@attrs.frozen
class BlockedUser:
    """One row of the blocklist. At least one of the first two is there."""

    wa_id: str | None = attrs.field(default=None, repr=_masked)
    """The WhatsApp id: a phone number's digits."""
    user_id: str | None = attrs.field(default=None, repr=_masked)
    """The business-scoped user id (BSUID)."""
    parent_user_id: str | None = attrs.field(default=None, repr=_masked)
    """The BSUID's parent id. It cannot be unblocked by this one."""


@attrs.frozen
class Page:
    """One page of the blocklist, with opaque cursors to its neighbours."""

    users: tuple[BlockedUser, ...]
    before: str | None
    """Pass it to `blocked_pages(before=…)` to go on backward; None if there is no cursor."""
    after: str | None
    """Pass it to `blocked_pages(after=…)` to go on forward; None if there is no cursor."""
