"""Reads the body of a reply, no more than its request allows, decompresses it, redacts secrets."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final

import aiohttp

from blockusers.values.errors import InvalidResponse


async def read_body(response: aiohttp.ClientResponse, largest: int) -> bytes:
    """Return the body, which has at most *largest* bytes, compressed or not.

    Raises:
        InvalidResponse: It has more; the rest is not read, and the connection is closed.
    """
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > largest:
            response.close()
            raise _too_large(largest)
        chunks.append(chunk)
    return _decompressed(b"".join(chunks), response.headers.get("Content-Encoding", ""), largest)


def _decompressed(body: bytes, encoding: str, largest: int) -> bytes:
    # Not by aiohttp: several versions that are in use would make gigabytes of a few kilobytes.
    if encoding.lower() not in {"gzip", "x-gzip"}:
        return body  # nothing else was asked for, so it is read as no JSON
    decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        decompressed = decoder.decompress(body, largest + 1)
    except zlib.error:
        decompressed = b""
    if len(decompressed) > largest:
        raise _too_large(largest)
    if not decoder.eof:
        raise InvalidResponse("the answer cannot be decompressed")
    return decompressed


def _too_large(largest: int) -> InvalidResponse:
    return InvalidResponse(
        f"the answer is larger than {largest / 1024**2:.3g} MB; it was not read to its end"
    )


_SHORTEST_SECRET: Final = 16
_ESCAPED: Final = re.compile(rb"\\(?:u00([2-7][0-9A-Fa-f])|.)", re.DOTALL)


def redact(body: bytes, secrets: Iterable[str]) -> bytes:
    """Redact the secrets: Meta repeats a token that it cannot parse in its error message."""
    known = [secret.encode() for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    if b"\\" in body:
        plain = _ESCAPED.sub(_unescaped, body)
        body = plain if any(secret in plain for secret in known) else body
    for secret in known:
        body = body.replace(secret, b"[secret]")
    return body


def _unescaped(escaped: re.Match[bytes]) -> bytes:
    """Return what a JSON escape stands for, if it can be in a token."""
    if escaped[0] == b"\\/":
        return b"/"
    if escaped[1] is None:
        return escaped[0]
    char = bytes.fromhex(escaped[1].decode())
    return escaped[0] if char in b'"\\' else char
