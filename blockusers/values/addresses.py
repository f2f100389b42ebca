"""Takes the phone number out of WhatsApp JIDs, `wa.me` links, `tel:` and `whatsapp:` addresses."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs

_SCHEME: Final = re.compile(r"^(?:tel|whatsapp):(?!//)\s*", re.IGNORECASE)
# What stands behind the colon is one of the person's devices.
_JID: Final = re.compile(r"([0-9]+)(?::[0-9]{1,5})?@(?:s\.whatsapp\.net|c\.us)", re.IGNORECASE)
_OTHER_JID: Final = re.compile(r"[^@]*@(g\.us|lid|broadcast|newsletter)", re.IGNORECASE)
_NO_PERSON: Final = {
    "g.us": "a group, not a person; pass the number of the member who is meant",
    "lid": "a hidden id (LID), which the API does not take; pass the phone number or the BSUID",
    "broadcast": "a broadcast list, not a person; pass the number of the person who is meant",
    "newsletter": "a channel, not a person; pass the number of the person who is meant",
}
_LINK: Final = re.compile(
    r"(?:https?://)?(?:www\.)?wa\.me/(?P<number>[^/?#]*)/?(?:[?#].*)?"
    r"|(?:(?:https?://)?(?:(?:api|web|www)\.)?whatsapp\.com|whatsapp:/)/send/?\?(?P<query>[^#]*).*",
    re.IGNORECASE | re.DOTALL,
)
_LIKE_LINK: Final = re.compile(r"://|wa\.me/|whatsapp\.com", re.IGNORECASE)
_LINKED_NUMBER: Final = re.compile(r"\s*\+?([0-9]+)\s*")


def name_in_address(text: str) -> str:
    """Take the user out of a JID, a link or what stands behind a scheme; return all else as it is.

    JIDs and links hold the country code by definition, so their numbers are given a `+`.
    """
    text = _SCHEME.sub("", text)
    if found := _JID.fullmatch(text):
        return f"+{found[1]}"
    if found := _OTHER_JID.fullmatch(text):
        raise ValueError(f"is {_NO_PERSON[found[1].lower()]}")
    return _number_in_link(text) if _LIKE_LINK.search(text) else text


def _number_in_link(text: str) -> str:
    link = _LINK.fullmatch(text)
    # A `+` in a query means a blank.
    numbers = [link["number"]] if link and link["number"] else []
    if link and link["query"]:
        numbers = parse_qs(link["query"]).get("phone", [])
    number = _LINKED_NUMBER.fullmatch(numbers[0]) if len(numbers) == 1 else None
    if number is None:
        raise ValueError("is a link that holds no phone number; pass the number itself")
    return f"+{number[1]}"
