"""`Forwarder`: the reverse proxy that passes webhooks on to the bot, and the bot's answers back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from io import BytesIO
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# Those of one connection, not of the message: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_MADE_ANEW: Final = frozenset({"content-length", "expect", "host"})
_LARGEST_ANSWER: Final = 2**20
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
# Servers keep idle connections for five seconds, most of them: not to use one that is just closed.
_KEEP_ALIVE: Final = 2.0


def check_url(url: object) -> str:
    """Return *url* if webhooks can be forwarded to it.

    Raises:
        TypeError, ValueError: They cannot.
    """
    if not isinstance(url, str):
        raise TypeError(f"forward: must be a str, not {type(url).__name__}")
    with suppress(ValueError):  # a bad port, a lone bracket
        parts = urlsplit(url)
        is_clean = parts.username is None and not parts.fragment and url.isprintable()
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and is_clean:
            return url
    raise ValueError(
        "forward: must be the URL of the bot's webhook, such as http://127.0.0.1:3000/webhook,"
        " without a user name or fragment"
    )


class _Failure(NamedTuple):
    """An answer to Meta where the bot gave none."""

    status: int
    why: str


class Forwarder:
    """Passes webhooks on to the bot behind.

    Args:
        url: The URL of the bot's webhook.
        timeout: Seconds that the bot has for its answer.
        on_failure: Called with what the bot did, in words, when Meta has to send a webhook again.
    """

    def __init__(
        self, url: str, *, timeout: float, on_failure: Callable[[str], object] = lambda _: None
    ) -> None:
        self._url = check_url(url)
        self._timeout = timeout
        self._on_failure = on_failure
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(keepalive_timeout=_KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, query: str, headers: CIMultiDict[str], body: bytes) -> web.Response:
        """Post a webhook to the bot, and return its answer.

        Without one it is 502, or 504 after the time-out; then Meta sends the webhook again.

        Args:
            query: The raw query of the request.
            headers: Those of the request; those that belong to its connection are left out.
            body: The body.
        """
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._send(self._target(query), headers, body)
        except TimeoutError:
            answer = _Failure(504, f"did not answer within {self._timeout:g} s")
        except (aiohttp.ClientError, OSError):
            answer = _Failure(502, "cannot be reached")
        if isinstance(answer, _Failure):
            self._on_failure(answer.why)
            return web.Response(status=answer.status, text=f"the bot {answer.why}")
        if answer.status != HTTPStatus.OK:
            self._on_failure(f"answered {answer.status}")
        return answer

    def _target(self, query: str) -> URL:
        if not query:
            return URL(self._url, encoded=True)
        return URL(f"{self._url}{'&' if '?' in self._url else '?'}{query}", encoded=True)

    async def _send(
        self, url: URL, headers: CIMultiDict[str], body: bytes
    ) -> web.Response | _Failure:
        # As a file, for aiohttp writes large bytes in one go.
        async with self._session.post(
            url, data=BytesIO(body), headers=end_to_end(headers), allow_redirects=False
        ) as response:
            chunks, size = [], 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > _LARGEST_ANSWER:
                    response.close()
                    return _Failure(502, "gave an answer that is too large")
                chunks.append(chunk)
            return web.Response(
                status=response.status,
                reason=response.reason,
                headers=end_to_end(response.headers),
                body=b"".join(chunks),
            )


def end_to_end(headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """Return the headers that are passed on, without those that belong to one connection."""
    named = ",".join(headers.getall("Connection", [])).lower().split(",")
    dropped = _HOP_BY_HOP | _MADE_ANEW | {name.strip() for name in named}
    # What is no UTF-8 can be read, but not written by every version of aiohttp.
    return CIMultiDict(
        (name, value.encode(errors="ignore").decode())
        for name, value in headers.items()
        if name.lower() not in dropped
    )
