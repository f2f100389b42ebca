"""Progress, as a person sees it."""

from __future__ import annotations

import io
from collections.abc import Callable

import attrs
import pytest
from rich.console import Console

from blockusers import FixedPace, Outcome, Status
from blockusers.cli.screen import Meter, Screen
from blockusers.observe.events import RequestEnded, Retrying
from blockusers.values.errors import ConnectionFailed, RateLimited
from tests.support import Clock

DONE = Outcome("+16505550001", Status.DONE)
FAILED = Outcome("1", Status.FAILED)
OUTAGE = Retrying("block", ConnectionFailed("cannot reach https://host: connection refused"), 4.0)
ANSWER = RequestEnded("block", 1, 1, 0.1, 200, None)


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(100, clock=clock)


def test_time_left(meter: Meter, clock: Clock) -> None:
    """It is that of the last half minute, so it grows while nothing moves, until nobody knows."""
    assert meter.time_left() == "-:--:-- left"
    clock.now += 10
    meter.add([DONE] * 50)
    assert meter.time_left() == "0:00:10 left"
    clock.now += 10
    assert meter.time_left() == "0:00:20 left"
    clock.now += 20
    assert meter.time_left() == "-:--:-- left"
    meter.add([DONE] * 40)
    assert meter.time_left() == "0:00:08 left"


async def test_tells_the_rate_limit(clock: Clock) -> None:
    """How fast requests may leave, or how long none may."""
    pace = FixedPace(4, 2.0, clock=clock, sleep=clock.sleep)
    meter = Meter(10, clock=clock)
    meter.watch(pace)
    assert meter.status() == "2 requests/s"

    async with pace.slot() as slot:
        slot.rate_limited(3.0)
    meter.observe(Retrying("block", RateLimited("slow down"), 3.0))
    assert meter.status() == "rate limited; next try in 3 s"


def test_tells_of_an_outage(meter: Meter, clock: Clock) -> None:
    """What it waits for, until when, and nothing any more after an answer."""
    meter.observe(OUTAGE)
    assert meter.status() == "cannot reach https://host: connection refused; next try in 4 s"
    clock.now += 4
    assert meter.status() == "cannot reach https://host: connection refused; trying again"
    meter.observe(attrs.evolve(ANSWER, error=OUTAGE.error))
    assert meter.status().endswith("trying again")
    meter.observe(ANSWER)
    assert meter.status() == ""


@pytest.mark.parametrize("width", [40, 60, 80])
def test_a_bar_fits_the_terminal(width: int) -> None:
    """Its two lines are never wider, however large the numbers are and long the reasons."""
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=width, color_system=None)
    with Screen(console).meter(64_000) as meter:
        meter.add([DONE, FAILED] * 31_000)
        meter.observe(Retrying("block", ConnectionFailed(f"cannot reach {'x' * 100}"), 4.0))

    lines = drawn.getvalue().replace("\x1b[2K", "\n").replace("\r", "\n").split("\n")
    shown = [line for line in lines if "\x1b" not in line]
    assert any("62,000 of 64,000 (31,000 failed)" in line for line in shown) or width < 60
    assert any("cannot reach" in line for line in shown)
    assert max(map(len, shown)) <= width


def test_a_line_now_and_then(clock: Clock) -> None:
    """Where there is no bar a line every two seconds, with what is done, and how long it takes."""
    said = list[str]()
    lines = Meter(1000, clock, say=said.append)
    for seconds in (1.0, 1.0, 1.5, 2.0):
        clock.now += seconds
        lines.add([DONE] * 99 + [FAILED])

    assert said == [
        "200 of 1,000 (2 failed), 0:00:08 left",
        "400 of 1,000 (4 failed), 0:00:08 left",
    ]


@pytest.mark.parametrize(("total", "counts"), [(10, "1 of 10 (0 failed), 0:01:30 left, "), (0, "")])
def test_lines_tell_of_an_outage(clock: Clock, total: int, counts: str) -> None:
    """So do the lines in a pipe, and those of a listing, which counts nobody."""
    said = list[str]()
    lines = Meter(total, clock, say=said.append)
    lines.add([DONE])
    lines.observe(OUTAGE)
    clock.now += 10
    lines.observe(ANSWER)
    lines.observe(OUTAGE)

    assert said == [f"{counts}cannot reach https://host: connection refused; next try in 4 s"]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """It counts all the same."""
    with Screen(quiet=True).meter(2) as meter:
        meter.add([DONE])

    assert meter.settled == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("print_it", [Screen.tell, Screen.say])
def test_nothing_reaches_the_terminal_raw(
    capsys: pytest.CaptureFixture[str], print_it: Callable[[Screen, str], None]
) -> None:
    """What would move the cursor, or turn the text round, is escaped."""
    print_it(Screen(), "a\x1b[2Jb\u202ec\x07")

    assert capsys.readouterr().err == "a\\x1b[2Jb\\u202ec\\x07\n"
