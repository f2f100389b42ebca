"""A server on this machine that behaves like Meta's Block Users endpoint, to test against.

It imports nothing of the client: two independent readings of the protocol test each other.  Names
are loaded when they are asked for, so that the pytest plugin costs a test run nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from blockusers._tools.lazy import lazily

if TYPE_CHECKING:
    from blockusers.sandbox import glitches
    from blockusers.sandbox.glitches import Glitch
    from blockusers.sandbox.magic import MAGIC, Magic
    from blockusers.sandbox.records import RecordedRequest, RecordedWebhook
    from blockusers.sandbox.rules import SANDBOX_TOKEN, Rules
    from blockusers.sandbox.server import Credentials, Sandbox

__all__ = [
    "MAGIC",
    "SANDBOX_TOKEN",
    "Credentials",
    "Glitch",
    "Magic",
    "RecordedRequest",
    "RecordedWebhook",
    "Rules",
    "Sandbox",
    "glitches",
]

_load = lazily(
    __name__,
    {
        "glitches": "Glitch",
        "magic": "MAGIC Magic",
        "records": "RecordedRequest RecordedWebhook",
        "rules": "SANDBOX_TOKEN Rules",
        "server": "Credentials Sandbox",
    },
)


def __getattr__(name: str) -> Any:
    """Load a public name at its first use."""
    return import_module(f"{__name__}.glitches") if name == "glitches" else _load(name)
