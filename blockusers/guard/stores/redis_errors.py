"""Says in plain English why Redis did not do what a store asked, and what to do about it."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import urlsplit

from redis import exceptions

from blockusers.guard.stores.protocol import LeaseLost, StoreUnavailable

ERRORS: Final = (exceptions.RedisError, OSError, asyncio.TimeoutError)
"""What redis-py raises when something is wrong with Redis, or with the way to it."""

_SCHEMES: Final = ("redis", "rediss", "unix")
_LEASE_LOST: Final = "another process drains this number now; nothing was changed"
_REASONS: Final = {
    "WRONGPASS": "it rejects the password or the user name; correct them in the URL",
    "NOAUTH": "it wants a password; add it to the URL: redis://:PASSWORD@HOST",
    "NOPERM": "its user may not do this; give it the permissions that the documentation lists",
    "OOM": "it is out of memory; raise its `maxmemory`, or remove other data",
    "READONLY": "it is a read-only replica; use the URL of its primary",
    "WRONGTYPE": "keys with this prefix hold something else; choose another prefix",
    "MISCONF": "it cannot save its data, so it accepts no changes; look into its log",
    "LOADING": "it has just started and still loads its data; wait",
    "BUSY": "a script blocks it; wait, or stop the script with SCRIPT KILL",
    "MASTERDOWN": "it is a replica that has lost its primary; use the URL of the primary",
    "MOVED": "another node of its cluster has these keys; use the URL of that node",
    "CLUSTERDOWN": "its cluster is down; look into its log",
    "max number of clients": "it has too many clients; raise its `maxclients`",
    "unknown command": "its version is too old; Redis 6.2 or newer is needed",
}
"""What to say about an error, by a word in its text."""


def explained(error: BaseException, place: str, timeout: float) -> StoreUnavailable:
    """Return the error to raise for one of `ERRORS`."""
    text = str(error)
    if "LEASELOST" in text:
        return LeaseLost(f"{place}: {_LEASE_LOST}")
    for word, reason in _REASONS.items():
        if word in text:
            return StoreUnavailable(f"{place}: {reason}")
    return StoreUnavailable(f"{place}: {_of_its_kind(error, timeout)}")


def _of_its_kind(error: BaseException, timeout: float) -> str:
    match error:
        case exceptions.TimeoutError() | asyncio.TimeoutError():
            return f"Redis has not answered within {timeout:g} s; is it overloaded or away?"
        case exceptions.AuthenticationError():
            return "Redis rejects the password or the user name; correct them in the URL"
        case exceptions.ConnectionError() | OSError():
            return "cannot connect to Redis; check that it runs, and host and port of the URL"
    return f"Redis has refused: {str(error).partition(chr(10))[0]:.200}"


def shown(url: str) -> str:
    """Return a URL without its password and its options.

    Raises:
        ValueError: It is no URL of Redis; the message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "localhost", parts.port or 6379
    except ValueError:
        raise ValueError("url: its host or port cannot be read") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError("url: must begin with redis://, rediss:// or unix://")
    user = f"{parts.username or ''}:***@" if parts.password else ""
    if parts.scheme == "unix":
        return f"unix://{user}{parts.path}"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{user}{host}:{port}{parts.path.rstrip('/')}"
