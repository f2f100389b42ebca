"""Turns what names a user into the keys of the deny list: plain, or hashed with a `hash_key`."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Final, TypeAlias

from blockusers.values.users import same_person

Hash: TypeAlias = Callable[[str], str]

_PREFIX: Final = "#"
_CHECKED: Final = "blockusers deny list"


class Keys:
    """Makes the keys of a deny list.

    Args:
        hash_key: The secret that they are hashed with; None leaves them plain.

    Raises:
        TypeError: It is neither text nor bytes.
        ValueError: It is too short to be a secret.
    """

    def __init__(self, hash_key: str | bytes | None) -> None:
        if not isinstance(hash_key, str | bytes | None):
            raise TypeError(f"hash_key: must be a str or bytes, not {type(hash_key).__name__}")
        secret = hash_key.encode() if isinstance(hash_key, str) else hash_key
        if secret is not None and len(secret) < 16:
            raise ValueError(f"hash_key: must have at least 16 bytes, not {len(secret)}")
        self.of: Hash = _itself if secret is None else _hash_with(secret)
        """Returns the key for the digits of a number, or for a BSUID."""
        self.check = "" if secret is None else self.of(_CHECKED)
        """Is another one with each `hash_key`; empty without."""

    def spellings(self, name: str) -> list[str]:
        """Return the keys under which the list may have an entry for *name*, its own first."""
        return [self.of(name), *map(self.of, sorted(same_person(name) - {name}))]


def _itself(name: str) -> str:
    return name


def _hash_with(secret: bytes) -> Hash:
    def hashed(name: str) -> str:
        return _PREFIX + _text(hmac.digest(secret, name.encode(), "sha256")[:16])

    return hashed


def digest_of(text: str) -> str:
    """Return a short digest of a text that is too long, or too personal, to be kept."""
    return _text(sha256(text.encode()).digest()[:12])


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
