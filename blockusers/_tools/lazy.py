"""Loads a package's public names when they are first asked for.

pytest loads our plugin, and with it the packages above it, in every run of everybody who has
installed us; that must not cost them the import of aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def lazily(package: str, names: Sequence[str], modules: Sequence[str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for *package* that finds *names* in the first of *modules*."""

    def __getattr__(name: str) -> Any:  # noqa: N807  # it is to become that
        if name in names:
            homes = (import_module(f"{package}.{module}") for module in modules)
            return next(getattr(home, name) for home in homes if hasattr(home, name))
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return __getattr__
