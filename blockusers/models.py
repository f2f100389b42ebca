"""The frozen values that everything else passes around, and the table of Meta's error codes."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

import attrs

from blockusers.identifiers import mask, mask_all


class Operation(enum.Enum):
    """What is done to the users of a job."""

    BLOCK = "block"
    UNBLOCK = "unblock"


class Status(enum.Enum):
    """What became of one user."""

    DONE = "done"
    """An answer named the user as added (or removed)."""
    FAILED = "failed"
    """The last answer named the user as failed only, or our own check rejected the input."""
    UNKNOWN = "unknown"
    """It was sent, and the last attempt got no answer about this user."""
    REMAINING = "remaining"
    """Not applied by this job, so it is safe to submit again."""


class Reaction(enum.Enum):
    """What a caller does about an error: one per class of `blockusers.errors`."""

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


_TRANSIENT_REACTIONS: Final = (Reaction.RETRY, Reaction.SLOW_DOWN)


@attrs.frozen
class Fault:
    """Why one user failed. Numbers in its texts are masked when it is made."""

    code: int | None
    """Meta's error code; None for a check of our own."""
    message: str = attrs.field(converter=mask_all)
    details: str = attrs.field(default="", converter=mask_all)

    @property
    def transient(self) -> bool:
        """Whether trying again later may help."""
        code = known(self.code)
        return code is not None and code.reaction in _TRANSIENT_REACTIONS

    def __str__(self) -> str:
        if self.code is None:
            return _joined(self.message, self.details)
        if code := known(self.code):
            said = "" if code.advice else self.details or self.message
            return f"{_joined(code.meaning, said)} ({self.code})"
        return f"{_joined(self.message, self.details)} (code {self.code})"


def _joined(*parts: str) -> str:
    return ": ".join(filter(None, parts))


def _masked(text: str | None) -> str:
    return "None" if text is None else repr(mask(text))


@attrs.frozen
class BlockedUser:
    """One row of the blocklist. At least one of the first two is there."""

    wa_id: str | None = attrs.field(default=None, repr=_masked)
    """The WhatsApp id: a phone number's digits."""
    user_id: str | None = attrs.field(default=None, repr=_masked)
    """The business-scoped user id (BSUID)."""
    parent_user_id: str | None = attrs.field(default=None, repr=_masked)
    """The BSUID's parent id. It cannot be unblocked by this one."""


@attrs.frozen
class Page:
    """One page of the blocklist, with opaque cursors to its neighbours."""

    users: tuple[BlockedUser, ...]
    before: str | None
    """Pass it to `blocked_pages(before=…)` to go on backward; None if there is no cursor."""
    after: str | None
    """Pass it to `blocked_pages(after=…)` to go on forward; None if there is no cursor."""


TokenSource: TypeAlias = Callable[[], str | Awaitable[str]]
"""Returns the current access token; called before each request."""

_BLANK_OR_CONTROL: Final = re.compile(r"[^\x21-\x7e]")
_DIALOG360_URL: Final = "https://waba-v2.360dialog.io"


class Provider(enum.Enum):
    """Whose address scheme and headers an account uses."""

    META = "meta"
    DIALOG360 = "360dialog"


def check_token(token: object) -> str:
    """Return *token* if it can stand in a header.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, or has blanks, control or non-ASCII characters.
    """
    if not isinstance(token, str):
        raise TypeError(f"access_token: must be a str, not {type(token).__name__}")
    if not token:
        raise ValueError("access_token: must not be empty")
    if _BLANK_OR_CONTROL.search(token):
        raise ValueError(
            "access_token: has a blank, a line break or another character that no token has;"
            " was it copied whole, and without the word Bearer?"
        )
    return token


def _check_token_field(_: Account, __: object, value: Any) -> None:
    if not callable(value):
        check_token(value)


def _check_secret(_: Account, __: object, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value.strip() == value != ""):
        raise ValueError("app_secret: must be a non-empty str without blanks around it")


def _check_id(account: Account, _: object, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"phone_number_id: must be a str, not {type(value).__name__}")
    if account.provider is Provider.META and not re.fullmatch("[0-9]+", value):
        raise ValueError(
            "phone_number_id: must be digits: the id that Meta's API Setup page shows under"
            " the phone number, not the number itself"
        )
    if not re.fullmatch(r"[\w.-]+", value):
        raise ValueError("name: must be letters, digits, dots, dashes or underscores")


def _check_version(_: Account, __: object, value: Any) -> None:
    if not (isinstance(value, str) and re.fullmatch(r"v[0-9]+\.[0-9]+", value)):
        raise ValueError('api_version: must look like "v25.0"')


def _check_url(account: Account, _: object, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"base_url: must be a str, not {type(value).__name__}")
    parts = _split(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("base_url: must start with https:// and name a host")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("base_url: must have no user name, query or fragment")
    if parts.scheme == "http" and not (account.allow_http or _is_loopback(parts)):
        raise ValueError(
            "base_url: plain http would show the token to the network; use https, or pass"
            " allow_http=True for a host that you trust"
        )


def _split(url: str) -> SplitResult:
    with suppress(ValueError):  # a bad port, a lone bracket
        parts = urlsplit(url)
        if parts.port != 0 and url.isprintable() and not re.search(r"[ \\]", url):
            return parts
    raise ValueError("base_url: must be a URL, without blanks")


def _is_loopback(parts: SplitResult) -> bool:
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _strip_slash(url: str) -> str:
    # The validator sees what is no text.
    return url.rstrip("/") if isinstance(url, str) else url


@attrs.frozen
class Account:
    """Which blocklist to work on, and the right to do so.

    Raises:
        TypeError, ValueError: An argument is wrong; the message begins with its name.
    """

    phone_number_id: str = attrs.field(validator=_check_id)
    """The id of the business phone number: digits, not the number itself."""
    access_token: str | TokenSource = attrs.field(repr=False, validator=_check_token_field)
    """The token, or a function (async or not) that returns the current one: it is asked for each
    request, and once more when the server has refused its token."""
    app_secret: str | None = attrs.field(
        default=None, repr=False, kw_only=True, validator=_check_secret
    )
    """Signs each request with `appsecret_proof`, if given."""
    api_version: str = attrs.field(default="v25.0", kw_only=True, validator=_check_version)
    """Version of the Graph API."""
    base_url: str = attrs.field(
        default="https://graph.facebook.com",
        kw_only=True,
        converter=_strip_slash,
        validator=_check_url,
    )
    """Where requests go, and nowhere else. `http` only to loopback, or with *allow_http*."""
    allow_http: bool = attrs.field(default=False, kw_only=True)
    """Permits a *base_url* of plain `http` to any host."""
    provider: Provider = attrs.field(default=Provider.META, kw_only=True)
    """Set by `Account.dialog360`."""

    @classmethod
    def from_env(cls, *, access_token: str | TokenSource | None = None) -> Self:
        """Read the `WHATSAPP_…` environment variables.

        `WHATSAPP_PHONE_NUMBER_ID` and `WHATSAPP_ACCESS_TOKEN` must be set;
        `WHATSAPP_APP_SECRET`, `WHATSAPP_API_VERSION` and `WHATSAPP_BASE_URL` may be.

        Args:
            access_token: Used instead of `WHATSAPP_ACCESS_TOKEN`.

        Raises:
            ValueError: One of them is missing or wrong.
        """
        fields = ("phone_number_id", "access_token", "app_secret", "api_version", "base_url")
        values: dict[str, Any] = {f: os.environ.get(f"WHATSAPP_{f.upper()}") for f in fields}
        if access_token is not None:
            values["access_token"] = access_token
        if missing := [f"WHATSAPP_{f.upper()}" for f in fields[:2] if not values[f]]:
            variables = "variable" if len(missing) == 1 else "variables"
            raise ValueError(f"set the environment {variables} {' and '.join(missing)}")
        try:
            return cls(**{field: value for field, value in values.items() if value})
        except ValueError as error:
            field, _, why = str(error).partition(": ")
            if field == "access_token" and access_token is not None:
                raise
            # Here is nobody who could pass `allow_http`.
            why = why.partition(", or pass")[0]
            raise ValueError(f"WHATSAPP_{field.upper()}: {why}") from None

    @classmethod
    def dialog360(
        cls,
        api_key: str | TokenSource,
        *,
        name: str,
        base_url: str = _DIALOG360_URL,
        allow_http: bool = False,
    ) -> Self:
        """Work through 360dialog, whose API key names the phone number by itself.

        Args:
            api_key: The `D360-API-KEY`, or a function (async or not) that returns it.
            name: Your own name for the blocklist; it stands in for the phone number id.
            base_url: Where requests go.
            allow_http: Permits a *base_url* of plain `http` to any host.
        """
        return cls(
            name,
            api_key,
            base_url=base_url,
            allow_http=allow_http,
            provider=Provider.DIALOG360,
        )

    @property
    def blocklist_key(self) -> str:
        """A stable name of the blocklist that this account reaches; it holds no secret."""
        url = urlsplit(self.base_url)
        return f"{url.netloc.lower()}{url.path}/{self.phone_number_id}"
