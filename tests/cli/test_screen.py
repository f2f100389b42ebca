"""Progress, as a person sees it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from blockusers import FixedPace, Outcome, Status
from blockusers.cli.screen import Lines, Screen, in_words
from tests.support import Clock

DONE = Outcome("+16505550001", Status.DONE)


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ([], "0 at once"),
        ([None, None], "2 refused, 0 at once"),
        ([None, 3.0], "rate limited, next try in 3 s"),
    ],
    ids=["free", "refused", "held"],
)
async def test_what_the_pace_is_doing(clock: Clock, hints: list[float | None], words: str) -> None:
    """A few words tell how many requests are under way, refused, or why none is."""
    pace = FixedPace(4, clock=clock, sleep=clock.sleep)
    for hint in hints:
        async with pace.slot() as slot:
            slot.rate_limited(hint)

    assert in_words(pace.state) == words


async def test_a_bar_shows_the_pace() -> None:
    """It asks the pace whenever it is drawn, and fits 60 columns."""
    drawn, pace = io.StringIO(), FixedPace(4)
    console = Console(file=drawn, force_terminal=True, width=60, color_system=None)
    with Screen(console).meter(10) as meter:
        meter.add([DONE])
        meter.watch(pace)
        async with pace.slot():
            meter.add([DONE])

    assert "2/10" in drawn.getvalue()
    assert "0 at once" in drawn.getvalue()
    assert all(len(line) < 120 for line in drawn.getvalue().splitlines())


def test_lines_tell_the_pace() -> None:
    """So do the lines in a pipe."""
    said, now = list[str](), [0.0]
    lines = Lines(said.append, 10, lambda: now[0])
    lines.watch(FixedPace(4))
    now[0] = 5.0
    lines.add([DONE])

    assert said == ["1 of 10 (0 failed), 0/s, 45 s to go, 0 at once"]
