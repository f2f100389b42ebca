"""What a listing returns: the blocked users, and pages of them."""

from __future__ import annotations

import attrs

from blockusers.values.masking import mask


def _masked(text: str | None) -> str:
    return "None" if text is None else repr(mask(text))


@attrs.frozen
class BlockedUser:
    """One row of the blocklist. It has a `wa_id` or a `user_id`, or both."""

    wa_id: str | None = attrs.field(default=None, repr=_masked)
    """The WhatsApp id: a phone number's digits."""
    user_id: str | None = attrs.field(default=None, repr=_masked)
    """The business-scoped user id (BSUID)."""
    parent_user_id: str | None = attrs.field(default=None, repr=_masked)
    """The BSUID's parent id. It cannot be used to unblock the user."""


@attrs.frozen
class Page:
    """One page of the blocklist, with opaque cursors to its neighbours."""

    users: tuple[BlockedUser, ...]
    """The rows of the page."""
    before: str | None
    """Pass it to `blocked_pages(before=…)` to go on backward; None if there is no cursor."""
    after: str | None
    """Pass it to `blocked_pages(after=…)` to go on forward; None if there is no cursor."""
