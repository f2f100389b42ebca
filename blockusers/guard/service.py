"""`make_app`: the webhook service of `blockusers guard`, on `aiohttp.web`.

It answers Meta's verification, gives every webhook to the guard, and passes it on to the bot
behind.  Nothing that somebody sends without the app secret costs more than its bytes: bodies are
limited each and all together, read within a time-out, and never decompressed.

Meta wants HTTPS, so in production a server that speaks TLS stands in front of it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from sys import getsizeof
from typing import Any, Final, Literal, Protocol, TypeAlias

import attrs
import orjson
from aiohttp import web
from multidict import CIMultiDict

from blockusers._tools.arguments import check_number
from blockusers.guard.dropping import without_denied
from blockusers.guard.entries import Entry
from blockusers.guard.forwarding import Forwarder
from blockusers.guard.payload import LARGEST
from blockusers.guard.webhooks import InvalidWebhook, Webhook, WebhookRejected
from blockusers.values.errors import BlockUsersError

OnStoreError: TypeAlias = Literal["refuse", "pass"]

Notice: TypeAlias = Literal["verified", "not_verified", "wrong_signature", "bot_failed"]
"""What whoever runs the service wants to know: the URL was verified, or was not; a webhook has no
signature or a wrong one; Meta has to send a webhook again, for the bot did not answer with 200."""
OnNotice: TypeAlias = Callable[[Notice, str], object]

_SIGNATURE: Final = "X-Hub-Signature-256"
_RETRY_AFTER: Final = {"Retry-After": "5"}
_STATUS_TIMEOUT: Final = 5.0
# Seconds for which a body that was refused is read on, so that its sender sees the answer.
_LINGERING: Final = 2.0


class Matcher(Protocol):
    """What the service needs of a deny list."""

    async def match(self, *ids: str, phone_number_id: str) -> Entry | None:
        """Return the entry that denies somebody; None if there is none."""
        ...


class Status(Protocol):
    """What the service needs of a guard's status."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        ...


class Guarding(Protocol):
    """What the service needs of a guard."""

    @property
    def deny_list(self) -> Matcher:
        """Its deny list."""
        ...

    async def handle(self, raw: bytes, signature: str | None) -> int:
        """Take note of a webhook; return the HTTP status to answer with."""
        ...

    async def status(self) -> Status:
        """Return what it is doing."""
        ...


def make_app(
    guard: Guarding,
    *,
    webhook: Webhook,
    path: str = "/webhook",
    forward: str | None = None,
    drop_denied: bool = False,
    on_store_error: OnStoreError = "refuse",
    read_timeout: float = 10.0,
    forward_timeout: float = 10.0,
    memory: int = 64 * 2**20,
    health_every: float = 1.0,
    on_notice: OnNotice = lambda _kind, _detail: None,
) -> web.Application:
    """Return the webhook service. `GET /healthz` tells a probe how the guard does.

    Args:
        guard: The guard, which is open while the service runs.
        webhook: That of the guard.
        path: Where Meta posts.
        forward: The URL of a bot's webhook. It gets every webhook as it came, after the guard has
            taken note of it, and Meta gets its answer: what the bot does not answer with 200,
            Meta sends again.
        drop_denied: Leave the messages of denied people out of what is forwarded, and sign what is
            left anew. A webhook of which nothing is left is answered with 200.
        on_store_error: What happens while the store is away. `refuse`: 503, and Meta sends the
            webhook again. `pass`: it is forwarded all the same, so that the bot goes on; then
            denied people who write are neither dropped nor blocked, until their next message.
        read_timeout: Seconds for a body to arrive.
        forward_timeout: Seconds that the bot has for its answer.
        memory: How many bytes the bodies may have that are worked on at one time.
        health_every: Seconds for which an answer of `/healthz` holds.
        on_notice: Called with a `Notice` each time there is one, and with what more is known of it;
            it must not raise.

    Raises:
        TypeError, ValueError: An argument is wrong; the message begins with its name.
    """
    if on_store_error not in {"refuse", "pass"}:
        raise ValueError(f"on_store_error: must be 'refuse' or 'pass', not {on_store_error!r:.50}")
    if forward is None and (drop_denied or on_store_error == "pass"):
        name = "drop_denied" if drop_denied else "on_store_error"
        raise ValueError(f"{name}: is about what is forwarded, so it needs `forward`")
    check_number("read_timeout", read_timeout)
    check_number("forward_timeout", forward_timeout)
    check_number("memory", memory, whole=True, least=2 * LARGEST)
    check_number("health_every", health_every)
    forwarder = None
    if forward is not None:
        failed = partial(on_notice, "bot_failed")
        forwarder = Forwarder(forward, timeout=forward_timeout, on_failure=failed)
    service = _Service(
        guard,
        webhook,
        _Bodies(memory, read_timeout),
        forwarder,
        drop_denied,
        on_store_error,
        on_notice,
        _Health(guard, health_every),
    )
    app = web.Application()
    app.cleanup_ctx.append(service.forwarding)
    app.router.add_get(path, service.verify, allow_head=False)
    app.router.add_post(path, service.receive)
    app.router.add_get("/healthz", service.health.answer)
    return app


def make_runner(app: web.Application, *, shutdown_timeout: float = 10.0) -> web.AppRunner:
    """Return what runs the service.

    It never decompresses a body, and writes no access log: that would show the verify token. Of
    requests that cannot be read it logs no more than the kind of the error, for the same reason.

    Args:
        app: The service.
        shutdown_timeout: Seconds that requests have to end when it is stopped.
    """
    return web.AppRunner(
        app,
        access_log=None,
        logger=_http_log(),
        auto_decompress=False,
        lingering_time=_LINGERING,
        shutdown_timeout=shutdown_timeout,
    )


def _http_log() -> logging.Logger:
    """Return the log for aiohttp's own errors, which quote the request that they are about."""
    log = logging.getLogger("blockusers.http")
    log.addFilter(_without_quotes)
    return log


def _without_quotes(record: logging.LogRecord) -> bool:
    """Leave of an error in the log only its class, and the line that raised it."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        last = traceback.extract_tb(error.__traceback__)[-1:]
        where = "".join(f" ({each.filename}:{each.lineno})" for each in last)
        record.msg = f"{record.getMessage()}: {type(error).__name__}{where}"
        record.args, record.exc_info = None, None
    return True


@attrs.define
class _Body:
    """A body as it arrives. To grow one piece of memory would leave holes in the heap."""

    chunks: list[bytes] = attrs.field(factory=list[bytes])
    size: int = 0
    memory: int = 0

    def add(self, chunk: bytes) -> int:
        """Add bytes; return the memory that they take."""
        self.chunks.append(chunk)
        self.size += len(chunk)
        self.memory += (taken := getsizeof(chunk))
        return taken

    def whole(self) -> bytes:
        """Return the bytes, which are not kept here any more."""
        whole = b"".join(self.chunks)
        self.chunks.clear()
        return whole


@attrs.define
class _Bodies:
    """Reads the bodies of requests, and refuses to hold too much of them."""

    memory: int
    timeout: float
    held: int = 0

    @asynccontextmanager
    async def read(self, request: web.Request) -> AsyncIterator[bytes]:
        """Give the body, which counts as held as long as it is used.

        Raises:
            HTTPException: It is too large, too slow, compressed or broken, or there is no room.
        """
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise web.HTTPUnsupportedMediaType(text="compressed bodies are not taken")
        _check_size(request.content_length or 0)
        body = _Body()
        try:
            await self._read(request, body)
            yield body.whole()
        finally:
            self.held -= body.memory
            body.chunks.clear()  # an error that is the answer keeps them until it is sent

    async def _read(self, request: web.Request, body: _Body) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                async for chunk in request.content.iter_any():
                    self.held += body.add(chunk)
                    _check_size(body.size)
                    # Not to wait for room: those who fill it slowly would keep all others waiting.
                    if self.held > self.memory:
                        raise web.HTTPServiceUnavailable(headers=_RETRY_AFTER)
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except (web.RequestPayloadError, ConnectionError):
            raise web.HTTPBadRequest(text="the body is broken") from None


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise web.HTTPRequestEntityTooLarge(LARGEST, size)


@attrs.define
class _Health:
    """Tells probes how the guard does; many of them cost no more than one."""

    guard: Guarding
    every: float
    _asking: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _asked_at: float = attrs.field(default=-math.inf, init=False)
    _known: tuple[int, bytes] = attrs.field(default=(503, b""), init=False)

    async def answer(self, _: web.Request) -> web.Response:
        """Answer with the status of the guard; with 503 when the store is away."""
        async with self._asking:
            await self._renew()
        status, body = self._known
        return web.Response(status=status, body=body, content_type="application/json")

    async def _renew(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at >= self.every:
            self._known, self._asked_at = await self._ask(), now

    async def _ask(self) -> tuple[int, bytes]:
        try:
            async with asyncio.timeout(_STATUS_TIMEOUT):
                status = await self.guard.status()
        except (BlockUsersError, TimeoutError):
            return 503, orjson.dumps({"ok": False})
        return 200, orjson.dumps({"ok": True, **status.to_dict()})


@attrs.define
class _Service:
    """The handlers of the service."""

    guard: Guarding
    webhook: Webhook
    bodies: _Bodies
    forwarder: Forwarder | None
    drop_denied: bool
    on_store_error: OnStoreError
    on_notice: OnNotice
    health: _Health

    async def forwarding(self, _: web.Application) -> AsyncIterator[None]:
        """Keep the forwarder open while the service runs."""
        if self.forwarder is None:
            yield
            return
        async with self.forwarder:
            yield

    async def verify(self, request: web.Request) -> web.Response:
        """Answer Meta's verification of the URL."""
        headers = {"X-Content-Type-Options": "nosniff"}
        try:
            challenge = self.webhook.challenge(request.query)
        except WebhookRejected as error:
            self.on_notice("not_verified", str(error))
            return web.Response(status=403, text=str(error), headers=headers)
        self.on_notice("verified", "")
        return web.Response(text=challenge, headers=headers)

    async def receive(self, request: web.Request) -> web.Response:
        """Give a webhook to the guard, then to the bot."""
        async with self.bodies.read(request) as raw:
            signature = ", ".join(request.headers.getall(_SIGNATURE, [])) or None
            status = await self.guard.handle(raw, signature)
            if status == 401:
                self.on_notice("wrong_signature", "")
            passes = status == 200 or (status == 503 and self.on_store_error == "pass")
            if self.forwarder is None or not passes:
                return _answer(status)
            return await self._forward(self.forwarder, request, raw)

    async def _forward(
        self, forwarder: Forwarder, request: web.Request, raw: bytes
    ) -> web.Response:
        headers = CIMultiDict(request.headers)
        try:
            left = await without_denied(raw, self._is_denied) if self.drop_denied else raw
        except InvalidWebhook:
            return _answer(400)
        except BlockUsersError:
            if self.on_store_error == "refuse":
                return _answer(503)
            left = raw
        if left is None:
            return _answer(200)
        if left is not raw:
            headers.popall("X-Hub-Signature", None)  # the older one, made with SHA-1
            headers[_SIGNATURE] = self.webhook.sign_again(left, raw, headers[_SIGNATURE])
        return await forwarder.send(request.rel_url.raw_query_string, headers, left)

    async def _is_denied(self, phone_number_id: str, ids: tuple[str, ...]) -> bool:
        return bool(await self.guard.deny_list.match(*ids, phone_number_id=phone_number_id))


def _answer(status: int) -> web.Response:
    headers = _RETRY_AFTER if status == 503 else None
    return web.Response(status=status, text=HTTPStatus(status).phrase, headers=headers)
