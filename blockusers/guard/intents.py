"""`Intent`, `Result` and `Record`: what is wanted of a user, what became of it, who is blocked."""

from __future__ import annotations

import enum

import attrs

from blockusers.values.masking import mask
from blockusers.values.outcome import Operation


class Rank(enum.IntEnum):
    """Which intents go first: the smaller."""

    MAKE_ROOM = 0
    """Unblocks that make room in a full blocklist."""
    SINGLE = 1
    """Somebody has just written, or was removed from the deny list."""
    BULK = 2
    """Users of a long list."""


@attrs.frozen
class Intent:
    """What is wanted of one user on one business number. The newest wins."""

    phone_number_id: str
    """The business number."""
    person: str = attrs.field(repr=mask)
    """Who is meant: the key of the user in the deny list, one for all spellings."""
    operation: Operation
    """Whether to block or to unblock."""
    user: str = attrs.field(repr=mask)
    """What is sent to name the user."""
    ids: tuple[str, ...] = attrs.field(default=(), repr=False)
    """All ids that are known of the user, as the deny list looks them up later."""
    entry: str = attrs.field(default="", repr=False)
    """The key of the entry that denies the user; empty if the deny list has nothing to do with
    it, and then there will be no record of it."""
    wrote_at: float = 0.0
    """When the user wrote, in seconds since 1970; when it was decided, for an unblock."""
    message: str = attrs.field(default="", repr=False)
    """A digest of the message's id; empty if there is none."""
    not_after: float | None = None
    """After this moment it is worth no request any more; None is never."""
    rank: Rank = Rank.SINGLE
    """Which intents go first."""
    version: int = 0
    """Given by the store, larger than all before it."""
    tries: int = 0
    """How often it was sent without success."""
    uncertain: bool = False
    """Whether an earlier request of it may have taken effect, or still may."""
    made_at: float = 0.0
    """When it was written first, in seconds since 1970; given by the store."""


@attrs.frozen
class Result:
    """What became of an intent that was taken from the queue."""

    intent: Intent
    """As it was taken."""
    done: bool = False
    """Whether the user is certainly blocked (or unblocked) now."""
    retry_at: float | None = None
    """When to try it again, in seconds since 1970; None if it is settled."""
    tries: int = 0
    """How often it was sent without success by now."""
    lost: bool = False
    """Whether a request of it may still take effect, or has without an answer."""
    reason: str = ""
    """Why it was not done, in words for people."""

    @property
    def may_be_blocked(self) -> bool:
        """Whether, after a block that is not tried again, the user is blocked, or may be."""
        return self.done or (self.retry_at is None and self.lost)


@attrs.frozen
class Record:
    """One user whom the guard has blocked on one business number."""

    phone_number_id: str
    """The business number."""
    person: str = attrs.field(repr=mask)
    """Who is meant, as in `Intent`."""
    user: str = attrs.field(repr=mask)
    """What names the user to the server."""
    ids: tuple[str, ...] = attrs.field(default=(), repr=False)
    """All ids that are known of the user."""
    entry: str = attrs.field(default="", repr=False)
    """The key of the entry that denied the user."""
    blocked_at: float = 0.0
    """When the block was confirmed, in seconds since 1970."""


@attrs.frozen
class Counts:
    """How many intents and records there are of one business number."""

    blocks: int = 0
    """Users whom the guard wants to block, but has not yet."""
    unblocks: int = 0
    """Users whom the guard wants to unblock, but has not yet."""
    blocked: int = 0
    """Users whom the guard has blocked."""
    oldest: float | None = None
    """When the oldest open intent was made, in seconds since 1970; None if none is open."""
