"""Retries: which errors are worth another attempt, how long to wait before, when to give up.

Timeouts, resets, unreadable answers, transient errors of Meta's and refusals for the rate limit
are tried again; blocking and unblocking are set operations, so sending one twice does no harm.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import attrs
import tenacity

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

_TRANSIENT: Final = (
    TransportError,  # no usable answer
    ServiceError,  # 139103 and the other transient errors
    RateLimited,  # 130429 and the call limits
)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help; never so for a cancellation, which tenacity asks about too."""
    return isinstance(error, _TRANSIENT)


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
    """Most attempts, the first included. A refusal for the rate limit uses up time instead."""
    timeout: float | None = attrs.field(default=300.0, validator=number(optional=True))
    """Seconds since the first failure after which there is no further attempt; None never gives
    up on the rate limit. Waiting behind other requests, or because the server asked for it, does
    not count, but waiting until an exhausted rate limit lets requests pass again does. A wait
    asked for that is longer than what is left ends the attempts."""
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
        budget = _Budget(self, pace)
        attempts = tenacity.AsyncRetrying(  # shared between tasks, it would lose attempts
            sleep=self.sleep,
            retry=tenacity.retry_if_exception(budget.allows_another),
            wait=budget.wait,
            stop=budget.is_used_up,
            before_sleep=lambda state: on_retry(_error(state), state.upcoming_sleep),
            reraise=True,
        )

        async def attempt() -> T:
            self._check_patience(pace.state.hold_for)
            asked = self.clock()
            async with pace.slot(priority, again=budget.first_failure is not None) as slot:
                budget.waited(self.clock() - asked - slot.held)
                try:
                    return await action(slot)
                except ApiError as error:
                    _teach(slot, error)
                    raise

        with no_foreign_cancellation():
            return await attempts(attempt)

    def _check_patience(self, hold_for: float) -> None:
        """Fail now rather than wait in silence behind a wait that another call was told of."""
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


@attrs.define
class _Budget:
    """What is left of the attempts and the seconds of one use of a policy."""

    policy: RetryPolicy
    pace: Pace
    attempts: int = 0
    first_failure: float | None = None
    not_counted: float = 0.0
    """Seconds since the first failure that were spent waiting for others."""
    tokens_refused: int = 0

    def allows_another(self, error: BaseException) -> bool:
        if isinstance(error, AuthenticationError) and error.sent and self.policy.token_changes:
            self.tokens_refused += 1
            return self.tokens_refused == 1
        return is_transient(error)

    def waited(self, seconds: float) -> None:
        if self.first_failure is not None:
            self.not_counted += seconds

    def wait(self, state: tenacity.RetryCallState) -> float:
        if self._is_paces_business(state) or isinstance(_error(state), AuthenticationError):
            return 0.0
        return max(_hint(state), self.policy.jitter(state.attempt_number))

    def is_used_up(self, state: tenacity.RetryCallState) -> bool:
        now = self.policy.clock()
        if self.first_failure is None:
            self.first_failure = now
        self.attempts += not isinstance(_error(state), RateLimited)
        if self.attempts >= self.policy.attempts:
            return True
        if self.policy.timeout is None:
            return False
        left = self.policy.timeout - (now - self.first_failure - self.not_counted)
        if self._is_paces_business(state):
            return self.pace.state.hold_for > left or left < 0
        self.not_counted += _hint(state)
        return bool(state.upcoming_sleep > left)

    def _is_paces_business(self, state: tenacity.RetryCallState) -> bool:
        """Say whether the wait is that for the next slot of the pace."""
        return self.pace.adapts and isinstance(_error(state), RateLimited)


def _teach(slot: Slot, error: ApiError) -> None:
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


def _error(state: tenacity.RetryCallState) -> BaseException:
    """Return why an attempt failed; about others nobody asks."""
    return state.outcome.exception()  # type: ignore[union-attr, return-value]


def _hint(state: tenacity.RetryCallState) -> float:
    """Return the seconds that the server asked to wait."""
    error = _error(state)
    return (error.retry_after or 0.0) if isinstance(error, ApiError) else 0.0
