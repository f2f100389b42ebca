"""`Pace`: what a pace has to offer a client, with `Slot`, `Priority` and `PaceState`."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeAlias

import attrs

LARGEST_REQUEST: Final = 1000
"""Most users in one request, says Meta's guide."""


@attrs.define
class Slot:
    """Permission to send one request."""

    max_users: int
    """Most users that the request may name."""
    users: int = attrs.field(default=0, init=False)
    """How many it names; 0 for a listing."""
    was_admitted: bool | None = attrs.field(default=None, init=False)
    """Whether the request passed the server's rate limit; None if nobody knows."""
    retry_after: float | None = attrs.field(default=None, init=False)
    """Seconds that the server asked to wait."""
    held: float = attrs.field(default=0.0, init=False)
    """Seconds of the wait for this slot in which an exhausted rate limit let nobody through."""
    started: float = attrs.field(default=0.0, kw_only=True)
    """When it was given, by the pace's clock."""
    prompt: bool = attrs.field(default=True, kw_only=True)
    """Whether it was given as soon as the rate permitted; else it says nothing about the rate."""

    def rate_limited(self, retry_after: float | None) -> None:
        """Tell the pace that the server refused the request for its rate limit."""
        self.was_admitted, self.retry_after = False, retry_after

    def admitted(self, retry_after: float | None = None) -> None:
        """Tell the pace that the request passed; the server may ask to wait all the same."""
        self.was_admitted, self.retry_after = True, retry_after

    def asked_to_wait(self, retry_after: float | None) -> None:
        """Tell the pace to wait, although nothing is known about the rate limit."""
        self.retry_after = retry_after


class Priority(enum.IntEnum):
    """Who goes first: the smaller."""

    SINGLE = 0
    BULK = 1
    LISTING = 2


@attrs.frozen
class PaceState:
    """What a pace is doing now."""

    mode: str
    """`fixed` for a `FixedPace`; `start`, `hold` or `steady` for an `AdaptivePace`."""
    rate: float | None
    """Requests per second; None if they are not spaced."""
    max_users: int
    """Most users that a request may name now."""
    hold_until: float | None
    """When the next request may leave, by the pace's clock, if all wait because the server asked
    for it or its rate limit is exhausted; else None."""
    in_flight: int
    """Requests that hold a slot now."""
    admitted: int
    """Requests that the server let through its rate limit so far."""
    rate_limited: int
    """Requests that it refused for its rate limit so far."""
    hold_for: float = 0.0
    """Seconds until *hold_until*."""


class Pace(Protocol):
    """What a client needs of a pace."""

    @property
    def max_in_flight(self) -> int:
        """Most requests at the same time."""
        ...

    @property
    def adapts(self) -> bool:
        """Whether it slows down by itself where the server refuses a request for its rate limit.

        If so, whoever was refused asks for the next slot at once.
        """
        ...

    @property
    def state(self) -> PaceState:
        """What the pace is doing."""
        ...

    @property
    def listeners(self) -> set[OnChange]:
        """Who is told when the mode, the rate or the largest request changes."""
        ...

    def slot(
        self, priority: Priority = Priority.BULK, *, again: bool = False
    ) -> AbstractAsyncContextManager[Slot]:
        """Wait until one request may be sent; leaving the context gives the slot back.

        With *again* the request was sent before, and goes before all others of its class.
        """
        ...


OnChange: TypeAlias = Callable[[PaceState, PaceState], object]
"""Called with what a pace was doing, and with what it does now."""
