"""Encodes and decodes paging cursors, byte for byte as Meta makes them.

A cursor is base64 of compact JSON: the offset of a row, and the version of the list it was read
from.  Base64 is made safe for URLs in a way of Meta's own: `Z` becomes an escape, and what a URL
could not carry is written with it.  A client must treat all this as opaque; only a server may look.
"""

from __future__ import annotations

import base64
import re
from typing import Final, NamedTuple

# ZA and ZD stand in recorded cursors. ZB and ZC are inferred: "+" and "/" never occurred in those.
_ESCAPES: Final = {"Z": "ZA", "+": "ZB", "/": "ZC", "=": "ZD"}
_PLAIN: Final = {escape: plain for plain, escape in _ESCAPES.items()}
_TO_ESCAPE: Final = re.compile(r"[Z+/=]")
_ESCAPED: Final = re.compile(r"Z.?")
_DECODED: Final = re.compile(rb'\{"offset":([0-9]{1,18}),"versionId":"([0-9]{1,30})"\}')


class Cursor(NamedTuple):
    """One row in one version of a blocklist."""

    offset: int
    """The index of a row, counted from 0."""
    version: int
    """When that version came about, in microseconds since 1970."""


def encode(cursor: Cursor) -> str:
    """Write *cursor* as Meta would."""
    text = f'{{"offset":{cursor.offset},"versionId":"{cursor.version}"}}'
    plain = base64.b64encode(text.encode()).decode()
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found[0]], plain)


def decode(text: str) -> Cursor:
    """Read what `encode` wrote.

    Raises:
        ValueError: *text* is no cursor.
    """
    try:
        plain = _ESCAPED.sub(lambda found: _PLAIN[found[0]], text)
    except KeyError:
        raise ValueError("broken escape in a cursor") from None
    found = _DECODED.fullmatch(base64.b64decode(plain, validate=True))
    if found is None:
        raise ValueError("no offset and version in a cursor")
    return Cursor(int(found[1]), int(found[2]))
