"""Reads when an entry of the deny list ends: after a span such as `30d`, or on a date."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, date, datetime, timedelta
from typing import Final

NEVER: Final = math.inf
"""The moment at which an entry ends that does not."""
_SPAN: Final = re.compile(r"([0-9]{1,5})([hdw])")
_SECONDS: Final = {"h": 3600, "d": 86_400, "w": 604_800}


def read_expiry(text: str | None, now: float | None = None) -> float | None:
    """Return the moment that *text* means, in seconds since 1970; None if there is none.

    Args:
        text: A span (`12h`, `30d`, `8w`), the last day (`2026-12-31`), which ends by local time, or
            `never`.
        now: What is now; None asks the clock.

    Raises:
        ValueError: It is neither, or has passed.
    """
    if text is None:
        return None
    if text == "never":
        return NEVER
    now = time.time() if now is None else now
    if span := _SPAN.fullmatch(text):
        moment = now + int(span[1]) * _SECONDS[span[2]]
    else:
        moment = _end_of(text)
    if moment <= now:
        raise ValueError(f"{text} has passed")
    return float(int(moment))


def _end_of(text: str) -> float:
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
        return datetime(day.year, day.month, day.day).timestamp()  # noqa: DTZ001  # local time
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r:.40} is no span such as 12h, 30d or 8w, no date such as 2026-12-31,"
            " and not never"
        ) from None


def as_text(moment: float | None) -> str:
    """Return a moment in UTC, such as `2026-12-31T23:00:00Z`; nothing if it is never."""
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def from_text(text: str) -> float:
    """Read what `as_text` has written.

    Raises:
        ValueError: It has not.
    """
    return datetime.fromisoformat(text).timestamp() if text else NEVER
