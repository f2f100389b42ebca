"""Sends one HTTP request with the token and `appsecret_proof`; the only module with a socket.

The reply is returned as it came, not interpreted.  What this module guarantees:

- one `send` is at most one request on the wire: aiohttp by itself would repeat a DELETE or GET
  whose kept-alive connection is reset, so each `send` brings a middleware that lets one pass;
- `request_timeout` covers everything, the function that returns the token included; aiohttp's own
  timers are off, for two of them that run out in one turn of the event loop lose a cancellation;
- the token goes to the account's `base_url` and nowhere else: no redirect, no session defaults,
  no proxy for loopback;
- aiohttp's errors, whose text holds headers and the signed URL, never leave this module, nor does
  a traceback whose frames hold a secret;
- no more of a reply is read, or decompressed, than its request allows;
- what a borrowed session sets (headers, auth, cookies, timeout, middlewares, …) changes nothing,
  apart from its connector and, with `trust_env`, the proxies of the environment.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
import os
import re
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Self, TypeVar

import aiohttp
import attrs
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from blockusers import __version__
from blockusers._tools.cancellation import no_foreign_cancellation
from blockusers.protocol.body import read_body, redact
from blockusers.protocol.messages import Reply, Request
from blockusers.values.account import Account, Provider, check_token, is_loopback
from blockusers.values.errors import (
    BlockUsersError,
    ClientClosed,
    ConnectionFailed,
    InvalidResponse,
    RequestTimeout,
    TokenUnavailable,
    TransportError,
)

T = TypeVar("T")

_USER_AGENT: Final = f"blockusers/{__version__}"
_NO_TIMERS: Final = aiohttp.ClientTimeout(None, None, None, None)


@attrs.define
class _Progress:
    """How far a request has come."""

    lacks: Literal["access token", "connection", "answer"] = "access token"

    @property
    def sent(self) -> bool:
        """Whether the request may have reached the server."""
        return self.lacks == "answer"


class Session:
    """Sends requests of one account; an async context manager.

    A *session* is borrowed, and stays open; without one it makes its own, and closes it.
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
        self._timeout = request_timeout
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
            # Not `trust_env`: with that, aiohttp looks into ~/.netrc and the proxy settings anew
            # in a thread for each request.
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

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def send(self, request: Request) -> Reply:
        """Send *request* once.

        Raises:
            ConnectionFailed, RequestTimeout, InvalidResponse: No usable answer came.
            TokenUnavailable: The function that returns the token failed; nothing was sent.
            ClientClosed: The session is not open.
        """
        progress, host = _Progress(), self._account.base_url
        try:
            async with asyncio.timeout(self._timeout):
                return await self._send(request, progress)
        except BlockUsersError as error:  # before TimeoutError, which some of them are
            failure: BaseException = error
        except TimeoutError:
            what = f"{host}: no {progress.lacks} within {self._timeout:g} s (request_timeout)"
            failure = RequestTimeout(what, progress.sent, "TimeoutError")
        except BaseException as error:  # a cancellation, or what a caller's code may raise
            error.sent = progress.sent  # type: ignore[attr-defined]  # as errors of ours tell it
            failure = error
        # Without the traceback so far: the locals of its frames hold the token.
        failure.__context__ = None
        raise failure.with_traceback(None)

    async def _send(self, request: Request, progress: _Progress) -> Reply:
        self._open_session()
        token = await self._token()
        session = self._open_session()  # it may have been closed meanwhile
        progress.lacks = "answer"  # the worst, until the middleware knows better
        query, secrets = dict(request.query), [token]
        if (key := self._account.app_secret) is not None:
            # https://developers.facebook.com/docs/graph-api/guides/secure-requests
            proof = hmac.new(key.encode(), token.encode(), hashlib.sha256).hexdigest()
            query["appsecret_proof"] = proof
            secrets.append(proof)
        url, headers = self._url.with_query(query), self._headers(request, token)
        try:
            with no_foreign_cancellation():
                reply = await self._exchange(session, request, url, headers, progress)
        except InvalidResponse:
            raise
        except Exception as error:  # a borrowed session may run anybody's code
            raise _translate(error, sent=progress.sent, host=self._account.base_url) from None
        return attrs.evolve(reply, body=redact(reply.body, secrets))

    def _open_session(self) -> aiohttp.ClientSession:
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
                token = await _apart(token) if inspect.isawaitable(token) else token
        except aiohttp.ClientError as error:  # its text may hold other secrets
            raise _token_unavailable(error, "") from None
        except Exception as error:
            raise _token_unavailable(error, str(error)) from error
        try:
            return check_token(token)
        except (TypeError, ValueError) as error:  # its traceback holds the token
            raise _token_unavailable(error, str(error)) from error.with_traceback(None)

    def _headers(self, request: Request, token: str) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
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
        self,
        session: aiohttp.ClientSession,
        request: Request,
        url: URL,
        headers: dict[str, str],
        progress: _Progress,
    ) -> Reply:
        async with session.request(
            request.method,
            url,
            timeout=_NO_TIMERS,
            proxy=self._proxy,
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=False,
            middlewares=(_only_once(headers, request.body, progress),),
        ) as response:
            body = await read_body(response, request.largest_reply)
            return Reply(response.status, response.headers, body)


async def _apart(work: Awaitable[T]) -> T:
    """Await *work* in a task of its own, which is left behind if it does not end when cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        # asyncio would complain of an error that nobody looked at.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        raise
    return task.result()


_QUERY: Final = re.compile(r"\?[^\s'\"]+")


def _token_unavailable(error: Exception, text: str) -> TokenUnavailable:
    name = type(error).__name__
    # A URL of an identity provider may hold a client's secret in its query.
    why = f"{_QUERY.sub('?…', text)} ({name})" if text else name
    message = f"the function that returns the access token failed: {why}"
    return TokenUnavailable(message, sent=False, cause=name)


def _url_of(account: Account) -> URL:
    base = URL(account.base_url)
    if account.provider is Provider.DIALOG360:
        return base / "block_users"
    return base / account.api_version / account.phone_number_id / "block_users"


def _proxy_for(url: URL) -> str | None:
    """Return the proxy that the environment names for *url*; never one for loopback."""
    if is_loopback(url.host) or urllib.request.proxy_bypass(url.host or ""):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


class _Body(aiohttp.BytesPayload):
    """A request's body that notes when it is written, for only then was the request sent."""

    def __init__(self, body: bytes, progress: _Progress) -> None:
        super().__init__(body)
        self._progress = progress

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        self._progress.lacks = "answer"
        await super().write_with_length(writer, content_length)


def _only_once(
    headers: dict[str, str], body: bytes | None, progress: _Progress
) -> aiohttp.ClientMiddlewareType:
    """Return a middleware that lets one request pass, with *headers* and *body* and no others."""
    passed = False

    async def middleware(
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        nonlocal passed
        if passed:
            raise aiohttp.ServerDisconnectedError
        passed = True
        if body is not None:
            progress.lacks = "connection"
            request.update_body_from_data(_Body(body, progress))
        request.headers.clear()
        request.headers.update({"Host": request.url.host_port_subcomponent or ""} | headers)
        return await handler(request)

    return middleware


_UNSENT: Final = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS, the proxy
    aiohttp.ClientHttpProxyError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,  # of the proxy
    aiohttp.ServerFingerprintMismatch,
)


def _translate(error: Exception, *, sent: bool, host: str) -> TransportError:
    """Return our error for one of aiohttp's, with nothing of its text."""
    cause = type(error).__name__
    number = _errno(error)
    sent = sent and not isinstance(error, _UNSENT)
    if isinstance(error, TimeoutError):
        what = "no answer in time" if sent else "no connection in time"
        return RequestTimeout(f"{host}: {what}", sent, cause, number)
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError) and sent:
        return InvalidResponse(f"the answer cannot be decoded ({cause})", sent, cause, number)
    what = f"{host}: the connection broke" if sent else f"cannot reach {host}"
    return ConnectionFailed(f"{what}: {_reason(error)}", sent, cause, number)


def _errno(error: Exception) -> int | None:
    below = getattr(error, "os_error", None)
    return getattr(error, "errno", None) or getattr(below, "errno", None)


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answered HTTP {error.status}"
        case aiohttp.ClientConnectorDNSError():
            return "the host name is unknown"
        case aiohttp.ClientConnectorCertificateError():
            below = error.certificate_error
            return (
                f"TLS failed ({getattr(below, 'verify_message', 'its certificate is not valid')})"
            )
        case aiohttp.ClientConnectorSSLError():
            reason = getattr(error.os_error, "reason", None) or "unknown"
            return f"TLS failed ({reason.replace('_', ' ').lower()})"
        case aiohttp.ServerDisconnectedError():
            return "the server closed it"
    number = _errno(error)
    return os.strerror(number).lower() if number else type(error).__name__
