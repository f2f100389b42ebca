"""The retry policy: what is tried again, how long after, and when it gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import (
    AdaptivePace,
    AuthenticationError,
    BlocklistChanged,
    BlocklistFull,
    ClientClosed,
    ConnectionFailed,
    InvalidRequest,
    InvalidResponse,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    ServiceError,
    TokenUnavailable,
)
from blockusers.pace.paces import FixedPace
from blockusers.pace.protocol import Pace, Priority, Slot
from tests.support import Clock, pace, quick

LIMITED = RateLimited("slow down", 130429, status=400)
INTERNAL = ServiceError("internal error", 139103, status=500)


async def attempt_all(
    policy: RetryPolicy, errors: Iterable[Exception], gate: Pace | None = None
) -> tuple[int, object]:
    """Run an action that meets *errors*, then succeeds; return the attempts, and what came out."""
    ahead, attempts = iter(errors), 0

    async def action(_: Slot) -> str:
        nonlocal attempts
        attempts += 1
        if error := next(ahead, None):
            raise error
        return "done"

    try:
        result: object = await policy.run(action, gate or pace(), Priority.BULK)
    except Exception as error:
        result = error
    return attempts, result


@pytest.mark.parametrize(
    ("settings", "error", "name"),
    [
        ({"attempts": 0}, ValueError, "attempts"),
        ({"attempts": 1.5}, TypeError, "attempts"),
        ({"wait_initial": -1}, ValueError, "wait_initial"),
        ({"wait_max": "1"}, TypeError, "wait_max"),
        ({"timeout": -1}, ValueError, "timeout"),
    ],
    ids=str,
)
def test_bad_settings(settings: dict[str, object], error: type[Exception], name: str) -> None:
    """A wrong setting is named in the error."""
    with pytest.raises(error, match=f"^{name}: "):
        RetryPolicy(**settings)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailed("reset"),
        RequestTimeout("late"),
        InvalidResponse("HTML"),
        INTERNAL,
        LIMITED,
    ],
    ids=lambda error: type(error).__name__,
)
async def test_transient_errors(error: Exception) -> None:
    """No usable answer, 139103 and 130429 are tried again until it works."""
    assert await attempt_all(quick(), [error] * 3) == (4, "done")


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", 190),
        InvalidRequest("no", 100),
        BlocklistFull("no", 139101),
        BlocklistChanged("no", 139102),
        ClientClosed("no"),
        ValueError("a bug"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_lasting_errors(error: Exception) -> None:
    """Everything else is raised at once, and as it is."""
    assert await attempt_all(quick(), [error]) == (1, error)


async def test_attempts() -> None:
    """After so many attempts the last error is raised."""
    errors = [ServiceError(str(n), 139103, status=500) for n in range(9)]

    assert await attempt_all(quick(attempts=4), errors) == (4, errors[3])


async def test_rate_limit_uses_time_not_attempts(clock: Clock) -> None:
    """130429 is tried again however often, until the time is up."""
    assert await attempt_all(quick(clock, attempts=2), [LIMITED] * 12) == (13, "done")
    clock.now = 0
    _, error = await attempt_all(quick(clock, timeout=300), [LIMITED] * 1000)

    assert error is LIMITED
    assert 270 <= clock.now <= 300


async def test_never_gives_up(clock: Clock) -> None:
    """Without a limit of time, 130429 is waited out for a whole night."""
    policy = quick(clock, timeout=None)

    assert await attempt_all(policy, [LIMITED] * 1000) == (1001, "done")
    assert clock.now > 8 * 3600


async def test_waits_double(clock: Clock) -> None:
    """The longest wait doubles from the initial to the maximum."""
    await attempt_all(quick(clock, wait_initial=0.5, wait_max=3.0), [INTERNAL] * 5)

    assert clock.slept == [0.5, 1.0, 2.0, 3.0, 3.0]


@given(st.integers(1, 5000), st.floats(0, 1))
def test_full_jitter(attempt: int, chance: float) -> None:
    """A wait is drawn from 0 to its longest, after any number of failures."""
    policy = RetryPolicy(random=lambda: chance)

    longest = min(30.0, 0.5 * 2.0 ** min(attempt - 1, 64))
    assert policy.jitter(attempt) == chance * longest


async def test_hint(clock: Clock) -> None:
    """A wait is never shorter than the server asks for, and may be longer."""
    hints = [3.0, 0.1, None]
    errors = [RateLimited("", 130429, status=400, retry_after=hint) for hint in hints]
    await attempt_all(quick(clock, wait_initial=0.5), errors)

    assert clock.slept == [3.0, 1.0, 2.0]


async def test_hint_does_not_count(clock: Clock) -> None:
    """Waiting because the server asked for it does not use up the time to give up after."""
    asked = RateLimited("", 130429, status=400, retry_after=200.0)
    policy = quick(clock, timeout=300.0, wait_initial=0)

    assert await attempt_all(policy, [asked] * 10) == (11, "done")


async def test_hint_longer_than_what_is_left(clock: Clock) -> None:
    """A wait asked for that is longer than what is left ends the attempts, and tells the wait."""
    asked = RateLimited("", 130429, status=400, retry_after=301.0)
    _, error = await attempt_all(quick(clock, timeout=300.0), [asked])

    assert error is asked
    assert error.retry_after == 301.0
    assert clock.slept == []


async def test_waiting_for_others_does_not_count(clock: Clock) -> None:
    """Time spent behind other requests does not use up the time to give up after."""
    gate = FixedPace(1, per_second=1 / 400, clock=clock, sleep=clock.sleep)
    policy = quick(clock, timeout=300.0, wait_initial=1)

    assert await attempt_all(policy, [INTERNAL] * 3, gate) == (4, "done")
    assert clock.now > 1000 + 3 * 399


async def test_slot_learns_of_the_refusal() -> None:
    """The pace is told of a refusal for the rate limit, and of no other."""
    gate = pace()
    await attempt_all(quick(), [LIMITED, INTERNAL, LIMITED], gate)

    assert gate.state.rate_limited == 2
    assert gate.state.admitted == 2


async def test_a_wait_that_another_call_was_told_of(clock: Clock) -> None:
    """A call that would wait in silence for longer than its patience fails at once instead."""
    gate = pace(clock=clock)
    asked = RateLimited("", 130429, status=400, retry_after=3600.0)
    await attempt_all(quick(clock), [asked], gate)
    attempts, error = await attempt_all(quick(clock), [], gate)

    assert attempts == 0
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3600.0
    assert error.not_applied
    assert await attempt_all(quick(clock, timeout=None), [], gate) == (1, "done")


async def test_any_hint_holds_everyone(clock: Clock) -> None:
    """A wait that a gateway asks for holds all requests; about the rate limit it says nothing."""
    gate = pace(clock=clock)
    asked = ServiceError("busy", status=503, retry_after=9.0)
    await attempt_all(quick(Clock()), [asked, InvalidRequest("no", 100)], gate)

    assert clock.now >= 1009.0
    assert (gate.state.admitted, gate.state.rate_limited) == (1, 0)


@pytest.mark.parametrize(
    ("error", "learned"),
    [
        (ServiceError("internal", 139103), (1, 0)),
        (InvalidRequest("no", 100), (1, 0)),
        (RateLimited("slow down", 130429), (0, 1)),
        (RateLimited("too many requests", status=429), (0, 1)),
        (RateLimited("the server asked to wait", sent=False), (0, 0)),
        (ServiceError("bad gateway", status=502), (0, 0)),
        (InvalidResponse("HTML"), (0, 0)),
        (ConnectionFailed("reset"), (0, 0)),
        (TokenUnavailable("vault: 503", sent=False), (0, 0)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Exception) else "",
)
async def test_what_a_pace_learns_from(error: Exception, learned: tuple[int, int]) -> None:
    """Only what came from behind the rate limit counts as admitted, and only its refusals so."""
    gate = pace()
    await attempt_all(quick(Clock(), attempts=1, timeout=0), [error], gate)

    assert (gate.state.admitted, gate.state.rate_limited) == learned


async def test_tasks_do_not_share_attempts() -> None:
    """Tasks that use one policy at the same time have all their attempts each."""
    policy, counts = quick(attempts=3), []

    async def one() -> None:
        count = 0

        async def action(_: Slot) -> None:
            nonlocal count
            count += 1
            await asyncio.sleep(0)
            raise INTERNAL

        with pytest.raises(ServiceError):
            await policy.run(action, pace(), Priority.BULK)
        counts.append(count)

    await asyncio.gather(*(one() for _ in range(6)))

    assert counts == [3] * 6


async def test_cancellation_passes() -> None:
    """A cancelled attempt is not tried again, it is cancelled."""
    started = asyncio.Event()

    async def action(_: Slot) -> None:
        started.set()
        await asyncio.sleep(3600)

    gate = pace()
    task = asyncio.create_task(quick().run(action, gate, Priority.BULK))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert gate.state.in_flight == 0


# --------------------------------------------------------------------------- an adaptive pace


def adaptive(clock: Clock) -> AdaptivePace:
    return AdaptivePace(clock=clock, sleep=clock.sleep)


async def test_adaptive_pace_decides_when(clock: Clock) -> None:
    """After a refusal the next attempt starts with the pace's next slot, without another wait."""
    own = Clock()
    attempts, result = await attempt_all(quick(own), [LIMITED] * 5, adaptive(clock))

    assert (attempts, result) == (6, "done")
    assert sum(own.slept) == 0
    assert sum(clock.slept) > 0


async def test_hold_counts(clock: Clock) -> None:
    """The time that the pace spends in hold is time in which nothing got better."""
    attempts, error = await attempt_all(
        quick(clock, timeout=300.0), [LIMITED] * 999, adaptive(clock)
    )

    assert error is LIMITED
    assert attempts > 5
    assert 240 <= clock.now - 1000 <= 360


async def test_adaptive_pace_never_gives_up(clock: Clock) -> None:
    """With `timeout=None` a refusal is tried again for ever."""
    attempts, result = await attempt_all(
        quick(clock, timeout=None), [LIMITED] * 200, adaptive(clock)
    )

    assert (attempts, result) == (201, "done")


async def test_hints_do_not_count_with_adaptive_pace(clock: Clock) -> None:
    """Waits that the server asks for are kept and not counted, unless one alone is too long."""
    asked = RateLimited("slow down", 130429, status=400, retry_after=200.0)
    attempts, result = await attempt_all(quick(clock, timeout=300.0), [asked] * 4, adaptive(clock))
    assert (attempts, result) == (5, "done")
    assert clock.now - 1000 >= 800

    too_long = RateLimited("slow down", 130429, status=400, retry_after=301.0)
    assert await attempt_all(quick(clock, timeout=300.0), [too_long, LIMITED], adaptive(clock)) == (
        1,
        too_long,
    )


async def test_a_pace_that_swallows_errors() -> None:
    """A pace of a caller's own that lets no error pass is an error itself, not an endless loop."""

    class Swallowing(FixedPace):
        @asynccontextmanager
        async def slot(self, *arguments: Any, **more: Any) -> AsyncIterator[Slot]:
            with suppress(Exception):
                async with super().slot(*arguments, **more) as slot:
                    yield slot

    attempts, error = await attempt_all(quick(), [INTERNAL] * 9, Swallowing(1))

    assert (attempts, str(error)) == (1, "pace: slot() must let errors pass")
