"""The requests that a sandbox got and the webhooks that it posted; a `repr` shows no secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import attrs

_LONG_NUMBER: Final = re.compile(r"([0-9]{4})[0-9]{3,}([0-9]{2})")


def _masked(text: str) -> str:
    return repr(_LONG_NUMBER.sub(r"\1…\2", text))


def _counted(users: tuple[str, ...]) -> str:
    return f"<{len(users)}>"


@attrs.define(kw_only=True, eq=False)
class RecordedRequest:
    """One request that a sandbox got. Its `repr` shows neither tokens nor phone numbers."""

    number: int
    """Counted from 1 over the life of the sandbox."""
    method: str
    path: str = attrs.field(repr=_masked)
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names in any case find them."""
    users: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """The strings sent as users; none yet while the body is not read."""
    status: int | None = None
    """The status that was answered; `None`: no answer has been begun."""
    code: int | None = None
    """The error code at the top level of the answer."""
    glitch: str | None = None
    """The name of the glitch that struck it."""


@attrs.define(kw_only=True, eq=False)
class RecordedWebhook:
    """One webhook that a sandbox posts until it is answered with 200."""

    message_id: str
    body: bytes = attrs.field(repr=False)
    attempts: int = 0
    """How often it was posted."""
    status: int | None = None
    """The status of the last answer; `None`: the last attempt got none, or there was no attempt."""
    error: str | None = None
    """Why the last attempt got no answer."""
    delivered_at: float | None = None
    """When it was answered with 200, in seconds since 1970; `None`: it is pending."""
