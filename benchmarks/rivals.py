"""Other ways to meet a rate limit, to run in the simulation beside ours."""

from __future__ import annotations

import random

from blockusers.pace.protocol import Slot


class Unpaced:
    """Sends whenever a worker is free; the workers' backoff is all that slows it down."""

    def wait(self, now: float) -> float:  # noqa: ARG002
        """Never wait."""
        return 0.0

    def grant(self, now: float) -> Slot:
        """Let a request of any size go."""
        return Slot(1000, started=now)

    def end(self, now: float, slot: Slot) -> None:
        """Learn nothing."""


def full_jitter(attempt: int, random: random.Random) -> float:
    """Return what `tenacity.wait_random_exponential(multiplier=1, max=60)` waits."""
    return random.uniform(0.0, min(60.0, 2.0 ** min(attempt - 1, 10)))


class Botocore:
    """The rate limiter of botocore's *adaptive* retry mode: its own classes, on our clock."""

    def __init__(self) -> None:
        from botocore.retries import adaptive, bucket, throttling  # noqa: PLC0415

        self._now = 0.0
        self._enabled = False
        self._bucket = bucket.TokenBucket(max_rate=1, clock=self)
        self._no_token = bucket.CapacityNotAvailableError
        self._limiter = adaptive.ClientRateLimiter(
            rate_adjustor=throttling.CubicCalculator(starting_max_rate=0, start_time=0.0),
            rate_clocker=adaptive.RateClocker(self),
            token_bucket=self._bucket,
            throttling_detector=self,
            clock=self,
        )

    def current_time(self) -> float:
        """Be botocore's clock."""
        return self._now

    def is_throttling_error(self, *, slot: Slot) -> bool:
        """Be botocore's detector of refusals."""
        return slot.was_admitted is False

    def wait(self, now: float) -> float:
        """Take a token, or return when there will be one."""
        self._now = now
        if not self._enabled:
            return 0.0
        try:
            self._bucket.acquire(block=False)
        except self._no_token:
            missing = 1 - self._bucket.available_capacity
            return max(float(missing / self._bucket.max_rate), 1e-6)
        return 0.0

    def grant(self, now: float) -> Slot:
        """Let a request of any size go."""
        return Slot(1000, started=now)

    def end(self, now: float, slot: Slot) -> None:
        """Let botocore learn."""
        self._now = now
        self._enabled = self._enabled or slot.was_admitted is False
        self._limiter.on_receiving_response(slot=slot)


def botocore_backoff(attempt: int, random: random.Random) -> float:
    """Return what botocore's standard mode waits."""
    return random.random() * min(2.0 ** min(attempt - 1, 10), 20.0)
