"""The exceptions, one class for each way to react, and the table of Meta's error codes.

    BlockUsersError
    ├── TransportError            no usable answer came
    │   ├── ConnectionFailed      refused, reset, unreachable, TLS; also a ConnectionError
    │   ├── RequestTimeout        no answer in `request_timeout`; also a TimeoutError
    │   ├── InvalidResponse       an answer that the API does not give
    │   └── TokenUnavailable      the function that returns the access token failed
    ├── ApiError                  the server refused the whole request
    │   ├── AuthenticationError   the token is invalid or expired
    │   ├── PermissionDenied      the token may not do this
    │   ├── InvalidRequest        a parameter is wrong, or the phone number id unknown
    │   ├── AccountRestricted     the business account is restricted or locked
    │   ├── RateLimited           too many requests, or too many users in one
    │   ├── BlocklistFull         64,000 users are blocked
    │   ├── BlocklistChanged      the list changed while it was read
    │   └── ServiceError          a transient error of Meta's
    ├── Incomplete                a job ended early; its report says what was done
    ├── SyncIncomplete            a sync ended early; its report says what was done
    ├── PartialFailure            from `Report.raise_for_failures()`
    ├── UserFailed                from `Outcome.raise_for_failure()`
    ├── InvalidUser               a single call for what names nobody; also a ValueError
    ├── JobTimedOut               `timeout` of a job ran out; also a TimeoutError
    ├── TooManyRemovals           a sync would unblock more users than permitted
    ├── ClientClosed              the client is not open, or was closed meanwhile
    ├── QueueFull                 too many single calls wait
    ├── StoreUnavailable          the deny list cannot be read or written now
    │   └── LeaseLost             another process sends for this number now
    ├── WebhookRejected           a webhook is not signed by Meta
    └── InvalidWebhook            a webhook is no JSON of Meta's; also a ValueError

A failure of some users is a value, a `Report`; an exception ends a whole call.  All of them can be
pickled.  Their texts and fields show no token, and phone numbers in them are masked.

`ConnectionFailed` and the two timeouts are `OSError`s for Python: an `except` for those that
stands before one for `BlockUsersError` catches them.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import attrs

from blockusers.values.masking import mask_all

E = TypeVar("E", bound=BaseException)


class BlockUsersError(Exception):
    """Base of every error that this library raises by itself, apart from wrong arguments."""


@attrs.define(slots=False)
class TransportError(BlockUsersError):
    """No usable answer came."""

    message: str = attrs.field(converter=mask_all)
    """What happened."""
    sent: bool = True
    """Whether the request may have reached the server, and may take effect."""
    cause: str = ""
    """Class of the error underneath. The error itself is not kept: its text holds secrets."""
    errno: int | None = None
    """The operating system's error number."""

    def __str__(self) -> str:
        return self.message


class ConnectionFailed(TransportError, ConnectionError):
    """The connection could not be made, or broke."""


class RequestTimeout(TransportError, TimeoutError):
    """The answer did not come within the client's `request_timeout`."""


class InvalidResponse(TransportError):
    """The answer is not one that the API gives: HTML, broken JSON, wrong shapes, too large."""


class TokenUnavailable(TransportError):
    """The function that returns the access token failed, so nothing was sent.

    What it raised is the `__cause__`.
    """


@attrs.define(slots=False)
class ApiError(BlockUsersError):
    """The server refused the whole request."""

    message: str = attrs.field(converter=mask_all)
    """Meta's words."""
    code: int | None = None
    """Meta's error code; None if the answer had none."""
    subcode: int | None = None
    """Meta's `error_subcode`."""
    status: int | None = None
    """The HTTP status; None if the error did not come with an answer of its own."""
    details: str = attrs.field(default="", converter=mask_all)
    """Meta's `error_data.details`."""
    trace_id: str = ""
    """Meta's `fbtrace_id`; their support asks for it."""
    retry_after: float | None = None
    """Seconds that the server asked to wait; None if it did not."""
    sent: bool = True
    """Whether the request was sent at all."""

    @property
    def not_applied(self) -> bool:
        """Whether the request was definitely not applied."""
        code = known(self.code)
        # How far a transient error came is unknown, whatever its code (`is_transient`).
        unclear = code is None or code.of_users or isinstance(self, ServiceError | BlocklistChanged)
        return not (self.sent and unclear)

    def __str__(self) -> str:
        code = known(33 if self.subcode == 33 else self.code)
        said = (self.message, self.details)
        if code is not None:
            said = (code.meaning, code.advice or self.details or self.message)
        numbers = [
            f"{'' if code else 'code '}{self.code}" if self.code is not None else "",
            f"HTTP {self.status}" if self.code is None and self.status else "",
            f"trace {self.trace_id}" if self.trace_id else "",
        ]
        in_brackets = ", ".join(filter(None, numbers))
        texts = (": ".join(filter(None, said)), f"({in_brackets})" if in_brackets else "")
        return mask_all(" ".join(filter(None, texts)))


class AuthenticationError(ApiError):
    """The access token is invalid or expired."""


class PermissionDenied(ApiError):
    """The token may not do this."""


class InvalidRequest(ApiError):
    """The server does not take the request as it is; sending it again changes nothing."""


class AccountRestricted(ApiError):
    """The business account is restricted or locked."""


class RateLimited(ApiError):
    """Too many requests in a short time, or too many users in one."""


class BlocklistFull(ApiError):
    """The blocklist holds its 64,000 users."""


class BlocklistChanged(ApiError):
    """The blocklist changed while it was read."""


class ServiceError(ApiError):
    """A transient error of Meta's."""


class ClientClosed(BlockUsersError):
    """The client was used before it was opened or after it was closed."""


class QueueFull(BlockUsersError):
    """Too many single calls wait already."""


class InvalidUser(BlockUsersError, ValueError):
    """A single call was made for what names nobody, or would reach a stranger.

    The message says how to fix it, and shows the input masked.
    """


class JobTimedOut(BlockUsersError, TimeoutError):
    """The `timeout` of a job ran out."""


class Code(NamedTuple):
    """What is known about one of Meta's error codes."""

    error: type[ApiError]
    """What is raised when a whole request is answered with it."""
    meaning: str
    """What happened; of codes that belong to one user, what is said of that user."""
    advice: str = ""
    """How to fix it; empty where only Meta's own words say it."""
    of_users: bool = False
    """Whether it belongs to single users: a whole request that has it is one to look at."""


# Meta lists the codes of this endpoint in its Block Users guide, the rest in "Error codes" of the
# Cloud API and in "Handle errors" of the Graph API.
_TOKEN: Final = Code(
    AuthenticationError,
    "the access token is invalid or expired",
    "create one in Business settings, System users",
)
_PERMISSION: Final = Code(
    PermissionDenied,
    "the token may not do this",
    "give it whatsapp_business_messaging and access to this business account",
)
_UNKNOWN_ID: Final = Code(
    InvalidRequest,
    "there is no such phone number id, or the token may not see it",
    "check that it is the id of the phone number, not of the WhatsApp Business Account (WABA)",
)
_RESTRICTED: Final = Code(
    AccountRestricted,
    "the business account is restricted or locked",
    "see Business support home for the reason",
)
_CALL_LIMIT: Final = Code(RateLimited, "too many calls", "wait, and send fewer per second")
_TRANSIENT: Final = Code(ServiceError, "a transient error at Meta", "try again later")

CODES: Final[dict[int, Code]] = {
    139100: Code(
        InvalidRequest, "some of the users failed", "read the fault of each", of_users=True
    ),
    139101: Code(BlocklistFull, "the blocklist is full (64,000)", "unblock somebody"),
    139102: Code(BlocklistChanged, "the blocklist changed during the listing", "list again"),
    139103: _TRANSIENT._replace(meaning="an internal error at Meta"),
    130429: Code(
        RateLimited,
        "too many requests in a short time, or too many users in one",
        "wait, send fewer per second, or use smaller chunks",
    ),
    131021: Code(
        InvalidRequest, "is the business's own number", "take it off your list", of_users=True
    ),
    131047: Code(
        InvalidRequest,
        "has not written to you within 24 hours, or is not on WhatsApp",
        "block them when they write again",
        of_users=True,
    ),
    **dict.fromkeys((1, 2, 131000, 131016, 131057, 133004), _TRANSIENT),
    **dict.fromkeys((4, 17, 613, 80007, 80008), _CALL_LIMIT),
    **dict.fromkeys((0, 104, 190), _TOKEN),
    **dict.fromkeys((3, 10, *range(200, 300), 131005), _PERMISSION),
    **dict.fromkeys((33, 803), _UNKNOWN_ID),
    **dict.fromkeys((368, 131031), _RESTRICTED),
    100: Code(InvalidRequest, "a parameter of the request is wrong"),
}
"""Every code with a known meaning."""


def known(code: int | None) -> Code | None:
    """Return what is known about *code*, None if nothing is."""
    return None if code is None else CODES.get(code)


def fresh(error: E) -> E:
    """Return an equal error without a traceback, to be raised for one more caller.

    Only ours are known to be made of their `args`; any other is returned as it is.
    """
    if not type(error).__module__.startswith("blockusers."):
        return error
    equal = type(error)(*error.args)
    equal.__cause__ = error.__cause__
    return equal
