"""Masks phone numbers and BSUIDs in what is shown: logs, messages, representations."""

from __future__ import annotations

import re
from typing import Final

from blockusers.values.characters import (
    BLANKS,
    BRACKETS,
    DASHES,
    DOTS_AND_SLASHES,
    INVISIBLE,
    UNSEEN,
)


def mask(text: str) -> str:
    """Shorten a user's name for logs and messages: `+16505551234` becomes `+1650…34`.

    What is short shows less, what cannot be printed is shown as `?`, and nothing shows whole.
    """
    text = text.strip().translate(UNSEEN)
    shown = "".join(char if char.isprintable() else "?" for char in text[:5] + text[-2:])
    if len(text) >= 10:
        return f"{shown[: 5 if text[0] == '+' else 4]}…{shown[-2:]}"
    return f"{shown[: len(text) // 3]}…"


# Between the digits stands whatever `read` drops there.
_BETWEEN: Final = re.escape(BLANKS + DASHES + BRACKETS + DOTS_AND_SLASHES + INVISIBLE)
# Digits behind a BSUID belong to it if they and its end could be taken for a number.
_LONG_NUMBER: Final = re.compile(
    rf"[+\uff0b]?\d(?:[{_BETWEEN}]*\d){{6,}}"
    r"|(?<![A-Za-z])[A-Z]{2}\.[A-Za-z0-9]{6,}(?:\.[A-Za-z0-9]+)*"
    rf"(?:(?:[{_BETWEEN}]*\d){{5,}})?"
)


def mask_all(text: str) -> str:
    """Mask every number of seven digits or more, and every BSUID, inside a sentence.

    To mask a text twice changes nothing.
    """
    return _LONG_NUMBER.sub(lambda found: mask(found[0]), text)
