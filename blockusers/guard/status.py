"""`GuardStatus`: what a guard is doing, number by number, for status pages and probes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class NumberStatus:
    """What the guard is doing for one business number."""

    state: str
    """`draining`; `waiting` for another process that drains it, or for the store; `paused`,
    because the server refuses every request; or `full`, because nobody can be evicted."""
    reason: str = ""
    """Why it is not draining; empty if it is."""
    to_block: int = 0
    """People whom it wants to block, but has not yet."""
    to_unblock: int = 0
    """People whom it wants to unblock, but has not yet."""
    blocked: int = 0
    """People whom it has blocked."""
    waiting_seconds: float | None = None
    """How long the one who has waited longest has waited; None if nobody waits."""


@attrs.frozen
class GuardStatus:
    """What a guard is doing, and has seen since it was opened. It names nobody."""

    numbers: Mapping[str, NumberStatus]
    """By phone number id."""
    sightings: int = 0
    """Incoming messages."""
    denied: int = 0
    """Messages of people who are on the deny list."""
    rejected: int = 0
    """Webhooks with a wrong signature, or that were no webhooks of Meta's."""
    skipped: int = 0
    """Parts of webhooks of an unknown shape, and senders whose ids name nobody."""
    unknown_numbers: Mapping[str, int] = attrs.field(factory=dict[str, int])
    """Messages to business numbers that the guard has no account for, by phone number id."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return attrs.asdict(self)
