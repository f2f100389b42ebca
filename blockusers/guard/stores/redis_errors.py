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
_REASONS: Final = {
    "invalid username-password": "it rejects the password or the user name; correct the URL",
    "AuthenticationError": "it wants a password; add it to the URL: redis://:PASSWORD@HOST",
    "NOAUTH": "it wants a password; add it to the URL: redis://:PASSWORD@HOST",
    "NoPermissionError": "its user may not do this; see the permissions in the documentation",
    "OutOfMemoryError": "it is out of memory; raise its `maxmemory`, or remove other data",
    "ReadOnlyError": "it is a read-only replica; use the URL of its primary",
    "WRONGTYPE": "keys with this prefix hold something else; choose another prefix",
    "MISCONF": "it cannot save its data, so it accepts no changes; look into its log",
    "BusyLoadingError": "it has just started and still loads its data; wait",
    "BUSY": "a script blocks it; wait, or stop the script with SCRIPT KILL",
    "MasterDownError": "it is a replica that has lost its primary; use the URL of the primary",
    "MovedError": "another node of its cluster has these keys; use the URL of that node",
    "ClusterDownError": "its cluster is down; look into its log",
    "max number of clients": "it has too many clients; raise its `maxclients`",
    "TimeoutError": "has not answered in time; is it overloaded, or the network broken?",
    "ConnectionError": "cannot connect; check that it runs, and host and port of the URL",
    "OSError": "cannot connect; check that it runs, and host and port of the URL",
}
"""What to say about an error, by a word in the names of its classes or in its text."""


def explained(error: BaseException, place: str) -> StoreUnavailable:
    """Return the error to raise for one of `ERRORS`."""
    text = str(error)
    if "LEASELOST" in text:
        number = text.partition("LEASELOST ")[2].partition(" now")[0]
        return LeaseLost(f"{place}: another process drains {number} now; nothing was changed")
    classes = " ".join(kind.__name__ for kind in type(error).__mro__)
    for word, reason in _REASONS.items():
        if word in text or word in classes:
            return StoreUnavailable(f"{place}: {reason}")
    return StoreUnavailable(f"{place}: Redis has refused: {text.partition(chr(10))[0]:.200}")


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
