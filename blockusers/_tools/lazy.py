"""Loads a package's public names when they are first asked for.

pytest loads our plugin, and with it the packages above it, in every run of everybody who has
installed us; that must not cost them the import of aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, names_in: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a `__getattr__` for *package*, given each module with the public names in it."""
    module_of = {name: module for module, names in names_in.items() for name in names.split()}

    def __getattr__(name: str) -> Any:  # noqa: N807  # it is to become that
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{module_of[name]}"), name)

    return __getattr__
