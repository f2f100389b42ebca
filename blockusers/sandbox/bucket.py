"""The rate limit: a token bucket per business number."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from blockusers.sandbox.rules import Rules


@attrs.define
class Bucket:
    """Holds up to `Rules.burst` tokens, refilled at `Rules.rate`; a request takes one."""

    _rules: Rules
    _clock: Callable[[], float]
    _tokens: float = attrs.field(init=False)
    _filled_at: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self._rules.burst)
        self._filled_at = self._clock()

    def take(self) -> bool:
        """Return whether one more request is admitted now."""
        if self._rules.rate is None:
            return True
        now = self._clock()
        refill = (now - self._filled_at) * self._rules.rate
        self._tokens = min(self._tokens + refill, float(self._rules.burst))
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
