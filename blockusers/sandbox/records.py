"""The requests that a sandbox saw, without secrets in their `repr`."""

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
