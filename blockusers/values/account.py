"""`Account`: phone number id, token, app secret, URL, version; or from the environment; checked."""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

import attrs

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
    text = _check_text("access_token", token)
    if not text:
        raise ValueError("access_token: must not be empty")
    if _BLANK_OR_CONTROL.search(text):
        raise ValueError(
            "access_token: has a blank, a line break or another character that no token has;"
            " was it copied whole, and without the word Bearer?"
        )
    return text


def _check_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be a str, not {type(value).__name__}")
    return value


def _check_token_field(_: Account, __: object, value: Any) -> None:
    if not callable(value):
        check_token(value)


def _check_secret(_: Account, __: object, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value.strip() == value != ""):
        raise ValueError("app_secret: must be a non-empty str without blanks around it")


def _check_id(account: Account, _: object, value: Any) -> None:
    _check_text("phone_number_id", value)
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


def _check_url(account: Account, _: object, value: str) -> None:
    parts = _split(value)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("base_url: must start with https:// and name a host")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("base_url: must have no user name, query or fragment")
    if parts.scheme == "http" and not (account.allow_http or is_loopback(parts.hostname)):
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


def is_loopback(host: str | None) -> bool:
    """Return whether *host* is this machine."""
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def _without_slash(url: Any) -> str:
    return _check_text("base_url", url).rstrip("/")


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
        converter=_without_slash,
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
            # The environment cannot set `allow_http`.
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
            name, api_key, base_url=base_url, allow_http=allow_http, provider=Provider.DIALOG360
        )

    @property
    def blocklist_key(self) -> str:
        """A stable name of the blocklist that this account reaches; it holds no secret."""
        url = urlsplit(self.base_url)
        return f"{url.netloc.lower()}{url.path}/{self.phone_number_id}"
