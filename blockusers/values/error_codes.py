"""The table of Meta's error codes: what each means, what to do, and how a caller reacts."""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Reaction(enum.Enum):
    """What a caller does about an error: `ERROR_OF` maps each to a class of error."""

    FIX_TOKEN = enum.auto()
    GET_PERMISSION = enum.auto()
    FIX_REQUEST = enum.auto()
    ASK_META = enum.auto()
    SLOW_DOWN = enum.auto()
    STOP_BLOCKING = enum.auto()
    RESTART_LISTING = enum.auto()
    RETRY = enum.auto()
    READ_LISTS = enum.auto()
    SKIP_USER = enum.auto()


class Code(NamedTuple):
    """What is known about one of Meta's error codes."""

    reaction: Reaction
    meaning: str
    """What happened; of codes that belong to one user, what is said of that user."""
    advice: str = ""
    """How to fix it; empty where only Meta's own words say it."""
    refuses: bool = True
    """Whether a request that is answered with it was definitely not applied."""


# Meta lists the codes of this endpoint in its Block Users guide, the rest in "Error codes" of the
# Cloud API and in "Handle errors" of the Graph API.
_TOKEN: Final = Code(
    Reaction.FIX_TOKEN,
    "the access token is invalid or expired",
    "create one in Business settings, System users",
)
_PERMISSION: Final = Code(
    Reaction.GET_PERMISSION,
    "the token may not do this",
    "give it whatsapp_business_messaging and access to this business account",
)
_UNKNOWN_ID: Final = Code(
    Reaction.FIX_REQUEST,
    "there is no such phone number id, or the token may not see it",
    "check that it is the id of the phone number, not of the WhatsApp Business Account (WABA)",
)
_CALL_LIMIT: Final = Code(Reaction.SLOW_DOWN, "too many calls", "wait, and send fewer per second")
_TRANSIENT: Final = Code(
    Reaction.RETRY, "a transient error at Meta", "try again later", refuses=False
)

CODES: Final[dict[int, Code]] = {
    139100: Code(
        Reaction.READ_LISTS, "some of the users failed", "read the fault of each", refuses=False
    ),
    139101: Code(Reaction.STOP_BLOCKING, "the blocklist is full (64,000)", "unblock somebody"),
    139102: Code(
        Reaction.RESTART_LISTING,
        "the blocklist changed during the listing",
        "list again",
        refuses=False,
    ),
    139103: _TRANSIENT._replace(meaning="an internal error at Meta"),
    130429: Code(
        Reaction.SLOW_DOWN,
        "too many requests in a short time, or too many users in one",
        "wait, send fewer per second, or use smaller chunks",
    ),
    131021: Code(
        Reaction.SKIP_USER,
        "is the business's own number",
        "take it off your list",
        refuses=False,
    ),
    131047: Code(
        Reaction.SKIP_USER,
        "has not written to you within 24 hours, or is not on WhatsApp",
        "block them when they write again",
        refuses=False,
    ),
    **dict.fromkeys((1, 2, 131000, 131016, 131057, 133004), _TRANSIENT),
    **dict.fromkeys((4, 17, 613, 80007, 80008), _CALL_LIMIT),
    **dict.fromkeys((0, 104, 190), _TOKEN),
    **dict.fromkeys((3, 10, *range(200, 300), 131005), _PERMISSION),
    33: _UNKNOWN_ID,
    803: _UNKNOWN_ID,
    100: Code(Reaction.FIX_REQUEST, "a parameter of the request is wrong"),
    **dict.fromkeys(
        (368, 131031),
        Code(
            Reaction.ASK_META,
            "the business account is restricted or locked",
            "see Business support home for the reason",
        ),
    ),
}
"""Every code with a known meaning."""


def known(code: int | None) -> Code | None:
    """Return what is known about *code*, None if nothing is."""
    return None if code is None else CODES.get(code)
