"""Parses phone numbers, WhatsApp ids and BSUIDs, and rejects input that may name a stranger.

A user is named by a phone number (`+1 650 555 1234`), by a WhatsApp id (`16505551234`, the same
person) or by a business-scoped user id (`US.13491208655302741918`, a BSUID).  The digits decide who
is meant, so the digits are the key.  Junk that is rejected costs a line in a report.  Junk that is
"repaired" into a number blocks a stranger, so every rule here either keeps all the digits as they
stand or rejects the input and says how to fix it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

import attrs

from blockusers.values.addresses import name_in_address
from blockusers.values.characters import BRACKETS, DASHES, DOTS_AND_SLASHES, UNSEEN
from blockusers.values.masking import mask


class Identifier(NamedTuple):
    """One user, as the API is told about them."""

    key: str
    """Who is meant: the bare digits, or the BSUID. Two spellings of one person share it."""
    wire: str
    """What is sent: the key, with a leading `+` where one was written."""

    def __repr__(self) -> str:
        return f"<Identifier {mask(self.key)}>"

    @property
    def is_bsuid(self) -> bool:
        """Whether this goes under `user_id` instead of `user`."""
        return "." in self.key


@attrs.frozen
class Identifiers:
    """Many users, in columns."""

    keys: Sequence[str] = attrs.field(repr=False)
    wires: Sequence[str] = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)


_PLAIN: Final = re.compile(r"\+?([1-9][0-9]{6,14})")
_PLAIN_LINES: Final = re.compile(rf"^{_PLAIN.pattern}$", re.MULTILINE)
_BSUID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9]{1,128}")
_LIKE_BSUID: Final = re.compile(r"[A-Za-z]{2}\.[A-Za-z0-9.]+")
_FLOAT: Final = re.compile(r"[0-9.]+e\+?[0-9]+|[0-9]*\.0+|[0-9]{7,}\.[0-9]{1,2}|[0-9]{9,}\.[0-9]+")
_TRUNK_ZERO: Final = re.compile(r"[(\[]0")

_SAME: Final = str.maketrans(
    {"\uff0b": "+"}
    | dict.fromkeys(DASHES, "-")
    | dict(zip(BRACKETS, "()[]()[]", strict=True))
    | dict(zip(DOTS_AND_SLASHES, "././", strict=True))
)
_SEPARATORS: Final = dict.fromkeys(map(ord, "-()[]./"))
_LONGEST_INPUT: Final = 4096


class Reader:
    """Reads users whose numbers have their country code."""

    at_once: int = 1000
    """Users read before other tasks get a turn."""

    def read(self, user: object) -> Identifier:
        """Read a phone number, a WhatsApp id or a BSUID.

        Blanks, dots, dashes, brackets, slashes and invisible marks are dropped; a leading `+` is
        kept; decimal digits of any script become ASCII; 7 to 15 digits must remain.  Of a WhatsApp
        JID (`16505551234@s.whatsapp.net`), a `wa.me` link, `tel:` and `whatsapp:` the number is
        taken.

        Args:
            user: A `str`, or an `int` that holds a number with its country code.

        Raises:
            ValueError: The input is no user, or would reach a stranger; the message says how to
                fix it, and never repeats the input.
        """
        if isinstance(user, str) and (plain := _PLAIN.fullmatch(user)):
            return Identifier(plain[1], user)
        found = normalize(user)
        return found if isinstance(found, Identifier) else _read_number(found)

    def read_plain(self, users: Sequence[object]) -> list[str] | None:
        """Read a list of nothing but digits with or without a `+`, much faster than one by one.

        Returns:
            The key of each; what is sent is what was passed. None if any needs a closer look.
        """
        try:
            lines = "\n".join(users)  # type: ignore[arg-type]
        except TypeError:
            return None
        keys: list[str] = _PLAIN_LINES.findall(lines)
        return keys if len(keys) == len(users) == lines.count("\n") + 1 else None


INTERNATIONAL: Final = Reader()
read: Final = INTERNATIONAL.read


def normalize(user: object) -> Identifier | str:
    """Read a BSUID; of a number that is not damaged return digits, separators and `+` in ASCII."""
    if isinstance(user, int) and not isinstance(user, bool):
        user = _from_int(user)
    if isinstance(user, float):
        raise ValueError(
            "is a decimal number, in which digits may be lost; pass the phone number as text"
        )
    if not isinstance(user, str):
        raise ValueError(f"a user is a str or an int, not {type(user).__name__}")
    if len(user) > _LONGEST_INPUT:
        raise ValueError(f"has {len(user):,} characters, which is too long for a phone number")
    text = name_in_address(user.strip().translate(UNSEEN).strip())
    if _LIKE_BSUID.fullmatch(text):
        return _read_bsuid(text)
    text = _plain_characters(text)
    _reject_damage(text)
    return text


def _from_int(number: int) -> str:
    if number < 0:
        raise ValueError("a negative number is nobody's; pass the phone number as text")
    if number >= 10**15:
        raise ValueError("more than 15 digits; a phone number has 7 to 15")
    return str(number)


def _read_bsuid(text: str) -> Identifier:
    if text[2:].upper().startswith(".ENT."):
        raise ValueError("a parent id (XX.ENT.…) cannot be blocked; use the person's own BSUID")
    if not _BSUID.fullmatch(text):
        raise ValueError(
            "not a BSUID: two capital letters, one dot, then 1 to 128 letters or digits"
        )
    return Identifier(text, text)


def _read_number(text: str) -> Identifier:
    _reject_national(text)
    plus = "+" if text.startswith("+") else ""
    digits = digits_of(text)
    if digits.startswith("00"):
        raise ValueError("starts with 00, which is dialled, not sent; write + instead of 00")
    if digits.startswith("0"):
        raise ValueError(
            "starts with 0, and no country code does;"
            " write + and the country code instead of the leading 0"
        )
    check_length(digits)
    return Identifier(digits, plus + digits)


def digits_of(text: str) -> str:
    """Return the digits of a normalized number; ValueError if there is anything else in it."""
    digits = text.removeprefix("+").translate(_SEPARATORS)
    for char in digits:
        if not "0" <= char <= "9":
            raise ValueError(f"{_describe(char)} does not belong in a phone number")
    return digits


def check_length(digits: str) -> None:
    """Raise ValueError if no number with its country code has so many digits."""
    if not 7 <= len(digits) <= 15:
        raise ValueError(f"has {len(digits)} digits; a number with its country code has 7 to 15")


def _plain_characters(text: str) -> str:
    """Drop blanks; bring dashes, brackets and digits of every script to their ASCII form."""
    if text.isascii():
        return text.replace(" ", "")
    return "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() else char
        for char in text.translate(_SAME)
        if unicodedata.category(char) != "Zs"
    )


def _reject_damage(text: str) -> None:
    """Reject what has enough digits, but is a part of a number, or more than one."""
    decimal = text.lower().removeprefix("+").replace(",", ".")
    if _FLOAT.fullmatch(decimal) or decimal.endswith(".0"):
        raise ValueError(
            "looks like a spreadsheet's decimal number; format that column as text"
            " and export it again, digits may be lost"
        )
    start = text.removeprefix("+")
    if start.startswith(("-", ".", "/", ")", "]")):
        raise ValueError(
            f"starts with {start[0]!r}: what stood before it is missing, or a spreadsheet"
            " has subtracted; write + and the country code first"
        )
    if text.endswith((")", "]")):
        raise ValueError("ends with a bracket; leave out what is no part of the number")
    *before, last = (len(part.removeprefix("+").translate(_SEPARATORS)) for part in text.split("/"))
    # What stands before a slash is a country and an area code, of eight digits at most.
    if max(before, default=0) > 8 or sum(length >= 7 for length in (*before, last)) > 1:
        raise ValueError("looks like two numbers in one; pass them one by one")


def _reject_national(text: str) -> None:
    """Reject what, with its brackets dropped, names somebody in another country."""
    if text.removeprefix("+").startswith(("(", "[")):
        raise ValueError(
            "starts with a bracket, where the country code belongs;"
            " write + and the country code in front of it"
        )
    if _TRUNK_ZERO.search(text):
        raise ValueError(
            "has a 0 at the start of a bracket, which is dialled only inside the country;"
            " leave that 0 out, or the brackets where it belongs to the number (Italy)"
        )


def _describe(char: str) -> str:
    if char == "+":
        return "a second +"
    name = "a control character" if unicodedata.category(char) == "Cc" else "the character"
    return f"{name} (U+{ord(char):04X})" if not char.isprintable() else f"{char!r}"


# The digit that is dialled before mobile numbers, and what stands around it.
_MOBILE_DIGIT: Final = (
    ("9", re.compile(r"(55[1-9][0-9])9?([0-9]{8})")),  # Brazil: behind the area code
    ("1", re.compile(r"(52)1?([0-9]{10})")),  # Mexico
    ("9", re.compile(r"(54)9?([0-9]{10})")),  # Argentina
)


def same_person(key: str) -> frozenset[str]:
    """Return the keys under which the server may know the person of *key*, itself among them.

    Brazilian, Mexican and Argentine mobile numbers come back with or without the digit that is
    dialled before them, whichever way they were sent:
    https://developers.facebook.com/docs/whatsapp/cloud-api/reference/phone-numbers
    """
    for digit, pattern in _MOBILE_DIGIT:
        if match := pattern.fullmatch(key):
            before, after = match.groups()
            return frozenset({f"{before}{after}", f"{before}{digit}{after}"})
    return frozenset({key})
