"""Writes times as they take the least room in a store."""

from __future__ import annotations


def compact(time: float) -> float:
    """Return a time as it takes the least room."""
    return int(time) if float(time).is_integer() else time
