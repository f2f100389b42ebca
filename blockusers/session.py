"""The only socket: sends one request, returns what came back.

Nothing is interpreted here.  What this module guarantees:

- one `send` is at most one request on the wire: aiohttp by itself would repeat a DELETE or GET
  whose kept-alive connection is reset, so each `send` brings a middleware that lets one pass;
- the token goes to the account's `base_url` and nowhere else: no redirect, no session defaults;
- aiohttp's errors, whose text holds headers and the signed URL, never leave this module;
- what a borrowed session sets (headers, auth, cookies, timeout, middlewares, …) changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import urllib.request
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

import aiohttp
import attrs
from yarl import URL

from blockusers import __version__
from blockusers.cancelling import no_foreign_cancellation
from blockusers.errors import (
    AuthenticationError,
    ClientClosed,
    ConnectionFailed,
    InvalidResponse,
    RequestTimeout,
    TransportError,
)
from blockusers.models import Account, Provider, check_token
from blockusers.wire import Reply, Request

LARGEST_REPLY: Final = 16 * 1024 * 1024
"""Bytes of an answer that are read at most. 1,000 failed users make about 300 kB."""

_USER_AGENT: Final = f"blockusers/{__version__}"
_SHARE_TO_CONNECT: Final = 0.9
_SHORTEST_SECRET: Final = 16


class Session:
    """Sends requests of one account; an async context manager.

    Args:
        account: Where to, and with which token.
        session: A session to borrow; it stays open. None makes one, and closes it.
        request_timeout: Seconds from the start of a request to the end of its answer.
    """

    def __init__(
        self,
        account: Account,
        *,
        session: aiohttp.ClientSession | None = None,
        request_timeout: float = 30.0,
    ) -> None:
        self._account = account
        self._borrowed = session
        self._session: aiohttp.ClientSession | None = None
        # Less for the connection: only then does aiohttp tell one that was never made.
        self._timeout = aiohttp.ClientTimeout(
            total=request_timeout, connect=_SHARE_TO_CONNECT * request_timeout
        )
        self._url = _url_of(account)
        self._proxy: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether requests can be sent."""
        return self._session is not None and not self._session.closed

    @property
    def url(self) -> str:
        """Where requests go."""
        return str(self._url)

    async def open(self) -> None:
        """Make the aiohttp session, or begin to use the borrowed one."""
        if self._session is not None:
            return
        if self._borrowed is not None:
            self._session = self._borrowed
        else:
            # Not `trust_env`: with that, aiohttp looks into ~/.netrc and the proxy settings
            # anew in a thread for each request, and refuses to send a bearer token to a host
            # that ~/.netrc names.
            self._proxy = _proxy_for(self._url)
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())

    async def close(self) -> None:
        """Close the aiohttp session, unless it is a borrowed one."""
        session, self._session = self._session, None
        if session is not None and session is not self._borrowed:
            await session.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(self, request: Request) -> Reply:
        """Send *request* once.

        Raises:
            ConnectionFailed, RequestTimeout, InvalidResponse: No usable answer came.
            AuthenticationError: The function that returns the token failed; nothing was sent.
            ClientClosed: The session is not open.
        """
        self._ready()
        token = await self._token()
        session = self._ready()  # it may have been closed meanwhile
        query, secrets = dict(request.query), [token]
        if self._account.app_secret is not None:
            secrets.append(query.setdefault("appsecret_proof", self._proof(token)))
        try:
            reply = await self._exchange(
                session, request, self._url.with_query(query), self._headers(request, token)
            )
        except _TooLarge:
            failure: TransportError = InvalidResponse(
                f"the answer is larger than {LARGEST_REPLY // 1024**2} MB; it was not read"
            )
        except Exception as error:  # a borrowed session may run anybody's code
            failure = _translate(error)
        else:
            return attrs.evolve(reply, body=_without(secrets, reply.body))
        # Raised out here, so that aiohttp's error is not its context: see the module's docstring.
        raise failure

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            raise ClientClosed("the session is closed, or was never opened")
        return self._session

    async def _token(self) -> str:
        source = self._account.access_token
        if isinstance(source, str):
            return source
        try:
            with no_foreign_cancellation():
                token = source()
                return check_token(await token if inspect.isawaitable(token) else token)
        except Exception as error:
            failure = AuthenticationError(
                f"the function that returns the access token failed: {type(error).__name__}",
                sent=False,
            )
            cause = None if isinstance(error, aiohttp.ClientError) else error
        raise failure from cause

    def _proof(self, token: str) -> str:
        # https://developers.facebook.com/docs/graph-api/guides/secure-requests
        key = (self._account.app_secret or "").encode()
        return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()

    def _headers(self, request: Request, token: str) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": _USER_AGENT,
        }
        if self._account.provider is Provider.DIALOG360:
            headers["D360-API-KEY"] = token
        else:
            headers["Authorization"] = f"Bearer {token}"
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(request.body))
        return headers

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, url: URL, headers: dict[str, str]
    ) -> Reply:
        async with session.request(
            request.method,
            url,
            data=request.body,
            headers=_acceptable(session, headers),
            timeout=self._timeout,
            proxy=self._proxy,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            middlewares=(_only_once(headers),),
        ) as response:
            return Reply(response.status, response.headers, await _read(response))


def _url_of(account: Account) -> URL:
    base = URL(account.base_url)
    if account.provider is Provider.DIALOG360:
        return base / "block_users"
    return base / account.api_version / account.phone_number_id / "block_users"


def _proxy_for(url: URL) -> str | None:
    """Return the proxy that the environment names for *url*."""
    if urllib.request.proxy_bypass(url.host or ""):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _acceptable(session: aiohttp.ClientSession, headers: dict[str, str]) -> dict[str, str]:
    """Leave the token to `_only_once` where aiohttp would refuse it.

    It raises ValueError for an `Authorization` header beside credentials that the session, or
    ~/.netrc through it, has for the host.
    """
    if session.auth is None and not session.trust_env:
        return headers
    return {name: value for name, value in headers.items() if name != "Authorization"}


def _only_once(headers: dict[str, str]) -> aiohttp.ClientMiddlewareType:
    """Return a middleware that lets one request pass, with *headers* and no others."""
    passed = False

    async def middleware(
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        nonlocal passed
        if passed:
            raise aiohttp.ServerDisconnectedError
        passed = True
        request.headers.clear()
        request.headers.update({"Host": request.url.host_port_subcomponent or ""} | headers)
        return await handler(request)

    return middleware


class _TooLarge(Exception):
    """The answer has more bytes than anyone should read."""


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body.

    Raises:
        _TooLarge: It exceeds `LARGEST_REPLY`; the rest is not read, the connection is closed.
    """
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_REPLY:
            response.close()
            raise _TooLarge
        chunks.append(chunk)
    return b"".join(chunks)


_UNSENT: Final = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS, the proxy
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,  # of the proxy
    aiohttp.ServerFingerprintMismatch,
)


def _translate(error: Exception) -> TransportError:
    """Return our error for one of aiohttp's, with nothing of its text."""
    cause = type(error).__name__
    number = getattr(error, "errno", None) or getattr(
        getattr(error, "os_error", None), "errno", None
    )
    sent = not isinstance(error, _UNSENT)
    if isinstance(error, TimeoutError):
        what = "no answer in time" if sent else "no connection in time"
        return RequestTimeout(f"{what}; see request_timeout", sent, cause, number)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectionFailed(f"the proxy answered HTTP {error.status}", sent, cause, number)
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return InvalidResponse(f"the answer cannot be decoded ({cause})", sent, cause, number)
    what = "the connection broke" if sent else "no connection could be made"
    return ConnectionFailed(f"{what} ({cause})", sent, cause, number)


def _without(secrets: list[str], body: bytes) -> bytes:
    """Blot out the secrets: Meta repeats a token that it cannot parse in its error message."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            body = body.replace(secret.encode(), b"[secret]")
    return body
