"""Reads the users named in a request: the entries of `block_users`, strictly.

A user is a phone number in digits, with or without a plus, or a business-scoped user id (BSUID).
The key says who is meant, whatever the spelling.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from blockusers.sandbox.refusals import Refusal

_PHONE: Final = re.compile(r"\+?([1-9][0-9]{6,14})")
_BSUID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9]{1,128}")
_PARENT_ID: Final = re.compile(r"[A-Z]{2}\.ENT\..*")


class User(NamedTuple):
    """One entry of a request."""

    input: str
    """The string that was sent."""
    key: str
    """The WhatsApp id or the BSUID; empty: the string is neither."""


def id_name(key: str) -> str:
    """Return under which name answers have *key*."""
    return "user_id" if "." in key else "wa_id"


def wa_id(digits: str) -> str:
    """Return the other spelling of *digits*, where a country has two.

    WhatsApp knows Brazilian mobiles without their ninth digit, Mexican ones without the 1, and
    Argentine ones with a 9.
    """
    match digits[:2], len(digits):
        case "55", 13 if digits[4] == "9":
            return digits[:4] + digits[5:]
        case "52", 13 if digits[2] == "1":
            return "52" + digits[3:]
        case "54", 12:
            return "549" + digits[2:]
        case _:
            return digits


def key_of(text: str, *, rewrite: bool) -> str:
    """Return the key of a phone number or a BSUID; with *rewrite*, its `wa_id` at WhatsApp.

    Raises:
        ValueError: it is neither.
    """
    key = _bsuid_key(text) or _phone_key(text, rewrite=rewrite)
    if not key:
        raise ValueError("a user is a phone number in digits or a BSUID")
    return key


def read_entry(entry: Any, *, rewrite: bool) -> User:
    """Read one entry of `block_users`; where both keys stand in it, `user` wins."""
    if not isinstance(entry, dict):
        raise Refusal(100, "Each entry of block_users must be an object")
    fields: dict[str, Any] = entry
    name = "user" if "user" in fields else "user_id"
    text = fields.get(name)
    if not isinstance(text, str):
        raise Refusal(100, "Each entry of block_users needs a string as user or user_id")
    key = _phone_key(text, rewrite=rewrite) if name == "user" else _bsuid_key(text)
    if any(_PARENT_ID.fullmatch(value) for value in fields.values() if isinstance(value, str)):
        raise Refusal(100, "Parent business-scoped user ids are not supported")
    return User(text, key)


def _phone_key(text: str, *, rewrite: bool) -> str:
    found = _PHONE.fullmatch(text)
    if found is None:
        return ""
    return wa_id(found[1]) if rewrite else found[1]


def _bsuid_key(text: str) -> str:
    return text if _BSUID.fullmatch(text) else ""
