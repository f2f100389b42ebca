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
        self._refill(self._rules.rate)
        if self._tokens >= 1:
            self._tokens -= 1
            return True
        if self._rules.rejections_cost:
            self._tokens = max(self._tokens - 1, -4.0 * self._rules.burst)
        return False

    def _refill(self, rate: float) -> None:
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._filled_at) * rate, float(self._rules.burst))
        self._filled_at = now
