"""The error messages of the sandbox, by code: for a whole request, or for one user.

Meta does not settle which HTTP status goes with which code.  The ones here are plausible, and a
client should read the code first.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Wording(NamedTuple):
    """The texts of one error code."""

    status: int
    """The HTTP status, where the code refuses a whole request."""
    message: str
    details: str
    """What `error_data` says, unless the refusal has details of its own."""


WORDINGS: Final[dict[int, Wording]] = {
    100: Wording(400, "Invalid parameter", "A parameter is missing or has a wrong value"),
    104: Wording(400, "An access token is required to request this resource", "No token was sent"),
    190: Wording(401, "Invalid OAuth access token - Cannot parse access token", "Get a new token"),
    368: Wording(403, "Temporarily blocked for policies violations", "The account is restricted"),
    803: Wording(404, "Some of the aliases you requested do not exist", "Not a phone number id"),
    2500: Wording(400, "Unknown path components", "There is nothing at this path"),
    130429: Wording(400, "Rate limit hit", "Too many requests, or too many users in one request"),
    131000: Wording(500, "Something went wrong", "An unknown error: try again"),
    131005: Wording(403, "Access denied", "The token may not manage this business number"),
    131016: Wording(503, "Service unavailable", "A service is temporarily unavailable: try again"),
    131021: Wording(400, "Recipient cannot be sender", "The business cannot block itself"),
    131031: Wording(403, "Business account has been locked", "The account is restricted"),
    131047: Wording(
        400, "Re-engagement message", "No WhatsApp user, or has not written in the last 24 hours"
    ),
    131057: Wording(500, "Account in maintenance mode", "The account is being upgraded: try later"),
    133004: Wording(503, "Server temporarily unavailable", "The server is down: try again"),
    139100: Wording(400, "Failed to block/unblock users", "Some or all of the users failed"),
    139101: Wording(
        400, "Blocklist limit reached", "The blocklist is full: unblock somebody first"
    ),
    139102: Wording(
        400,
        "Blocklist concurrent update",
        "Blocklist was updated during retrieval - retry with offset 0",
    ),
    139103: Wording(500, "Internal error", "The blocklist could not be reached: try again"),
}


class Refusal(Exception):
    """The whole request is refused, and nothing of it was carried out."""

    def __init__(
        self,
        code: int,
        details: str | None = None,
        *,
        message: str | None = None,
        subcode: int | None = None,
    ) -> None:
        wording = WORDINGS[code]
        self.code = code
        self.subcode = subcode
        self.status = wording.status
        self.message = message or wording.message
        self.details = details or wording.details
        super().__init__(f"({code}) {self.details}")
