"""Saves what a pace has learned as plain values for JSON, and checks them when they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

_INFINITE: Final = 1e18
"""Stands for infinity in JSON, which has no word for it."""


class Number(NamedTuple):
    """What an attribute may be."""

    least: float = -math.inf
    most: float = math.inf
    whole: bool = False
    optional: bool = False


Numbers: TypeAlias = Mapping[str, Number]

COUNT: Final = Number(0, whole=True)
TIME: Final = Number()
FLAG: Final = Number(0, 1, whole=True)


class Saved:
    """Something whose attributes can be saved and restored."""

    _numbers: ClassVar[Numbers] = {}
    """The attributes that are saved."""

    def dump(self) -> dict[str, Any]:
        """Return its attributes as plain values."""
        return {name.lstrip("_"): _plain(getattr(self, name)) for name in self._numbers}

    def restore(self, values: Any) -> None:
        """Take its attributes from what `dump` returned.

        Raises:
            ValueError: Values are missing, or are none that it can have.
        """
        if not isinstance(values, dict):
            raise ValueError("not an object")
        for name, allowed in self._numbers.items():
            setattr(self, name, _read(name.lstrip("_"), values.get(name.lstrip("_")), allowed))


def _plain(value: float | None) -> float | None:
    return math.copysign(_INFINITE, value) if value is not None and math.isinf(value) else value


def _read(name: str, value: Any, allowed: Number) -> float | None:
    if value is None and allowed.optional:
        return None
    if not isinstance(value, int if allowed.whole else int | float):
        raise ValueError(f"{name}: must be a number")
    if abs(value) >= _INFINITE:
        value = math.copysign(math.inf, value)
    if not allowed.least <= value <= allowed.most:
        raise ValueError(f"{name}: out of range")
    return value  # type: ignore[no-any-return]
