"""Retries: which errors are worth another attempt, how long to wait before it, when to give up.

Timeouts, resets, unreadable answers, transient errors of Meta's and refusals for the rate limit
are tried again; blocking and unblocking are set operations, so sending one twice does no harm.

`RetryPolicy.run` puts tenacity's parts together: what to retry, how long to wait, when to stop.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import attrs
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type
from tenacity.retry import retry_base
from tenacity.stop import stop_base

from blockusers._tools.arguments import number
from blockusers._tools.cancellation import no_foreign_cancellation
from blockusers.pace.protocol import Pace, Priority, Slot
from blockusers.values.errors import (
    ApiError,
    AuthenticationError,
    RateLimited,
    ServiceError,
    TransportError,
)

T = TypeVar("T")

TRANSIENT: Final = (
    TransportError,  # no usable answer
    ServiceError,  # 139103 and the other transient errors
    RateLimited,  # 130429 and the call limits
)
"""Errors after which another attempt may help."""


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often to try again, and how long to wait before.

    The wait before attempt n+1 is drawn at random from 0 to `wait_initial * 2**(n-1)` seconds, at
    most `wait_max` ("full jitter"), and is never shorter than the server asks for.  After a
    refusal for the rate limit an `AdaptivePace` decides when the next attempt starts.

    Raises:
        TypeError, ValueError: An argument is wrong.
    """

    attempts: int = attrs.field(default=6, validator=number(whole=True, least=1))
    """Most attempts, the first included. A refusal for the rate limit counts as time instead."""
    timeout: float | None = attrs.field(default=300.0, validator=number(optional=True))
    """Seconds since the first failure after which there is no further attempt; None never gives
    up on the rate limit. Time spent behind other requests, or because the server asked to wait,
    does not count; time until an exhausted rate limit lets requests pass again does. If the server
    asks to wait for longer than what is left, there is no further attempt."""
    wait_initial: float = attrs.field(default=0.5, validator=number())
    """Longest first wait in seconds."""
    wait_max: float = attrs.field(default=30.0, validator=number())
    """Longest wait in seconds, unless the server asks for a longer one."""
    token_changes: bool = False
    """Whether a refused token (190) is worth one more attempt. A client sets it whose
    `access_token` is a function: that is asked anew for each request."""
    sleep: Callable[[float], Awaitable[None]] = attrs.field(default=asyncio.sleep, repr=False)
    """Waits for seconds."""
    clock: Callable[[], float] = attrs.field(default=time.monotonic, repr=False)
    """Returns the time in seconds."""
    random: Callable[[], float] = attrs.field(default=random.random, repr=False)
    """Returns a number from 0 to 1."""

    async def run(
        self,
        action: Callable[[Slot], Awaitable[T]],
        pace: Pace,
        priority: Priority,
        on_retry: Callable[[BaseException, float], None] = lambda *_: None,
    ) -> T:
        """Call *action* in a slot of *pace*, again and again while its error is transient.

        Before each wait *on_retry* is told the error, and the seconds.

        Raises:
            BlockUsersError: The last error, once it is not worth trying again.
        """
        stop_after_time = _StopAfterTime(self, pace)
        retrying = AsyncRetrying(  # one for each call: shared between tasks, it loses attempts
            retry=retry_if_exception_type(TRANSIENT) | _RetryTokenOnce(self.token_changes),
            wait=lambda state: self._wait(state, pace),
            stop=_StopAfterFailures(self.attempts) | stop_after_time,
            sleep=self.sleep,
            before_sleep=lambda state: on_retry(_error(state), state.upcoming_sleep),
            reraise=True,
        )

        async def attempt() -> T:
            self._check_patience(pace.state.hold_for)
            asked = self.clock()
            async with pace.slot(priority, again=retrying.statistics["attempt_number"] > 1) as slot:
                stop_after_time.deadline += self.clock() - asked - slot.held
                try:
                    return await action(slot)
                except ApiError as error:
                    _tell_pace(slot, error)
                    raise
            raise RuntimeError("pace: slot() must let errors pass")

        with no_foreign_cancellation():
            return await retrying(attempt)

    def _check_patience(self, hold_for: float) -> None:
        """Raise at once if the server asked another call to wait longer than this one may."""
        if self.timeout is not None and hold_for > self.timeout:
            raise RateLimited(
                f"the server asked to wait, for another {hold_for:.0f} s",
                retry_after=hold_for,
                sent=False,
            )

    async def pause(self, attempt: int) -> None:
        """Wait as after the *attempt*-th failure in a row."""
        await self.sleep(self.jitter(attempt))

    def jitter(self, attempt: int) -> float:
        """Return a random wait in seconds after the *attempt*-th failure in a row."""
        longest = min(self.wait_max, self.wait_initial * 2.0 ** min(attempt - 1, 64))
        return self.random() * longest

    def _wait(self, state: RetryCallState, pace: Pace) -> float:
        error = _error(state)
        if isinstance(error, AuthenticationError) or _pace_waits(pace, error):
            return 0.0
        return max(_asked_wait(error), self.jitter(state.attempt_number))


@attrs.define
class _RetryTokenOnce(retry_base):
    """Retry once if the server refused the token, where the next one may be another."""

    is_left: bool

    def __call__(self, state: RetryCallState) -> bool:
        error = _error(state)
        if not (self.is_left and isinstance(error, AuthenticationError) and error.sent):
            return False
        self.is_left = False
        return True


@attrs.define
class _StopAfterFailures(stop_base):
    """Stop after so many failures, not counting refusals for the rate limit."""

    left: int

    def __call__(self, state: RetryCallState) -> bool:
        self.left -= not isinstance(_error(state), RateLimited)
        return self.left <= 0


@attrs.define
class _StopAfterTime(stop_base):
    """Stop before a wait that is longer than what is left of the time since the first failure."""

    policy: RetryPolicy
    pace: Pace
    deadline: float = math.inf
    """Set by the first failure, and moved by every wait that does not count."""

    def __call__(self, state: RetryCallState) -> bool:
        now, error = self.policy.clock(), _error(state)
        if self.policy.timeout is not None and self.deadline == math.inf:
            self.deadline = now + self.policy.timeout
        left = self.deadline - now
        if _pace_waits(self.pace, error):
            return self.pace.state.hold_for > left
        self.deadline += _asked_wait(error)
        return state.upcoming_sleep > left


def _pace_waits(pace: Pace, error: BaseException) -> bool:
    """Say whether the next attempt waits for a slot of the pace, and for nothing else."""
    return pace.adapts and isinstance(error, RateLimited)


def _tell_pace(slot: Slot, error: ApiError) -> None:
    """Tell the pace what an error says about the rate limit.

    Only the API's own answers come from behind the limit: an error without a code is the page of
    a gateway, which says nothing about it, except where it asks to slow down itself (429).
    """
    if isinstance(error, RateLimited) and error.sent:
        slot.rate_limited(error.retry_after)
    elif error.code is not None:
        slot.admitted(error.retry_after)
    else:
        slot.asked_to_wait(error.retry_after)


def _error(state: RetryCallState) -> BaseException:
    """Return the error of an attempt that failed; tenacity asks only about those."""
    return state.outcome.exception()  # type: ignore[union-attr, return-value]


def _asked_wait(error: BaseException) -> float:
    """Return the seconds that the server asked to wait."""
    return (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
