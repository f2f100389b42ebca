"""Checks of numbers that callers pass: an error names the argument and says what it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs


def check_number(
    name: str, value: Any, *, whole: bool = False, least: float = 0, most: float | None = None
) -> None:
    """Check that *value* is a number from *least* to *most*.

    Raises:
        TypeError: It is no number, or has a fraction where *whole* is wanted.
        ValueError: It is out of range, or not a number at all (NaN).
    """
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        wanted = "a whole number" if whole else "a number"
        raise TypeError(f"{name}: must be {wanted}, not {type(value).__name__}")
    if not (math.isfinite(value) and least <= value and (most is None or value <= most)):
        span = f"at least {least:g}" if most is None else f"from {least:g} to {most:g}"
        raise ValueError(f"{name}: must be {span}, not {value}")


def number(
    *,
    whole: bool = False,
    least: float = 0,
    most: float | None = None,
    optional: bool = False,
) -> Callable[[Any, Any, Any], None]:
    """Return `check_number` as a validator of an attrs field, which may be None if *optional*."""

    def check(_: Any, field: attrs.Attribute[Any], value: Any) -> None:
        check_number(field.alias or field.name, value, whole=whole, least=least, most=most)

    return attrs.validators.optional(check) if optional else check
