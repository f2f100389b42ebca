"""A server on this machine that behaves like Meta's Block Users endpoint, to test against.

It imports nothing of the client: two independent readings of the protocol test each other.  Names
are loaded when they are asked for, so that the pytest plugin costs a test run nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blockusers.sandbox import glitches
    from blockusers.sandbox.glitches import Glitch
    from blockusers.sandbox.magic import MAGIC, Magic
    from blockusers.sandbox.records import RecordedRequest
    from blockusers.sandbox.rules import SANDBOX_TOKEN, Rules
    from blockusers.sandbox.server import Credentials, Sandbox

__all__ = [
    "MAGIC",
    "SANDBOX_TOKEN",
    "Credentials",
    "Glitch",
    "Magic",
    "RecordedRequest",
    "Rules",
    "Sandbox",
    "glitches",
]

_HOMES = {
    "MAGIC": "magic",
    "SANDBOX_TOKEN": "rules",
    "Credentials": "server",
    "Glitch": "glitches",
    "Magic": "magic",
    "RecordedRequest": "records",
    "Rules": "rules",
    "Sandbox": "server",
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    if name == "glitches":
        return import_module("blockusers.sandbox.glitches")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
