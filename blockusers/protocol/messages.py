"""HTTP requests and replies as values: what is sent, and what came back, not interpreted yet."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class Request:
    """One request, without the secrets and the address that the session adds."""

    method: str
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes | None = attrs.field(default=None, repr=False)
    largest_reply: int = 4 * 1024 * 1024
    """Bytes of its answer that are read at most."""


@attrs.frozen
class Reply:
    """What came back, not interpreted yet."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Header names in any case; the mapping must not mind the case."""
    body: bytes = attrs.field(repr=False)
