"""Network faults to schedule with `Sandbox.glitch`: resets, hangs, HTML, truncated answers.

Each function makes one `Glitch`, and says whether the request takes effect although its answer is
lost or damaged: that is what matters to a client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn

import attrs
import orjson
from aiohttp import web

from blockusers.sandbox.answers import Answer
from blockusers.sandbox.exchange import Exchange

_JSON: Final = "application/json; charset=UTF-8"
_HTML: Final = "text/html; charset=utf-8"
_PAGE: Final = (
    "<!DOCTYPE html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
)
_BLANKS: Final = b" " * 65_536


@attrs.frozen
class Glitch:
    """One network fault: how a request is answered wrongly, or not at all."""

    name: str
    perform: Callable[[Exchange, Answer], Awaitable[web.StreamResponse]] = attrs.field(repr=False)
    """Answers a request in this way; it is given the right answer, if the request took effect."""
    effect: bool = True
    """Whether the request is carried out all the same."""
    early: bool = False
    """Whether it strikes when the head of a request has come, before the body is read."""


def answer(
    status: int, body: Any = b"", *, headers: Mapping[str, str] | None = None, effect: bool = False
) -> Glitch:
    """Answer with *status* and *body* (bytes or text as they are, anything else as JSON).

    The request is carried out only with *effect*.
    """
    content = body.encode() if isinstance(body, str) else body
    content = content if isinstance(content, bytes) else orjson.dumps(content)
    canned = Answer(status, content, {"Content-Type": _JSON, **(headers or {})})
    return attrs.evolve(_changed(f"answer {status}", lambda _due: canned), effect=effect)


def html(status: int = 502, *, effect: bool = False) -> Glitch:
    """Answer with *status* and a web page, as Meta's edge does; carried out only with *effect*."""
    page = _PAGE.format(f"{status} {HTTPStatus(status).phrase}")
    glitch = answer(status, page, headers={"Content-Type": _HTML}, effect=effect)
    return attrs.evolve(glitch, name=f"html {status}")


def empty(status: int = 400, *, effect: bool = False) -> Glitch:
    """Answer with *status* and no body at all; carried out only with *effect*."""
    return attrs.evolve(answer(status, effect=effect), name=f"empty {status}")


def redirect(location: str, status: int = 307) -> Glitch:
    """Send the client to *location*, where its token must not go. Nothing is carried out."""
    return attrs.evolve(answer(status, headers={"Location": location}), name=f"redirect {status}")


def reset_before() -> Glitch:
    """Reset the connection before the request is read. Nothing is carried out."""
    return Glitch("reset_before", _reset, effect=False, early=True)


def reset_after() -> Glitch:
    """Carry out the request, and reset the connection instead of answering."""
    return Glitch("reset_after", _reset)


def reset_midway() -> Glitch:
    """Carry out the request, and reset the connection in the middle of the answer."""

    async def perform(exchange: Exchange, due: Answer) -> web.StreamResponse:
        response = await exchange.start(due, len(due.body))
        await response.write(due.body[: len(due.body) // 2])
        await exchange.reset()

    return Glitch("reset_midway", perform)


def idle_close() -> Glitch:
    """Carry out the request and answer it; then close the connection, unannounced."""

    async def perform(exchange: Exchange, due: Answer) -> web.StreamResponse:
        response = await exchange.start(due, len(due.body))
        await response.write(due.body)
        # The head has gone out: this closes the connection without a word in it.
        response.force_close()
        return response

    return Glitch("idle_close", perform)


def hang_before() -> Glitch:
    """Read the request and never answer. Nothing is carried out."""
    return Glitch("hang_before", _hang, effect=False)


def hang_after() -> Glitch:
    """Carry out the request and never answer."""
    return Glitch("hang_after", _hang)


def slow(*, pause: float = 0.01, piece: int = 1) -> Glitch:
    """Carry out the request; answer *piece* bytes at a time, with *pause* seconds between."""

    async def perform(exchange: Exchange, due: Answer) -> web.StreamResponse:
        response = await exchange.start(due, len(due.body))
        for start in range(0, len(due.body), piece):
            await response.write(due.body[start : start + piece])
            await asyncio.sleep(pause)
        return response

    return Glitch("slow", perform)


def oversized(size: int = 60_000_000) -> Glitch:
    """Carry out the request; pad the answer with blanks to *size* bytes. It stays valid JSON."""

    async def perform(exchange: Exchange, due: Answer) -> web.StreamResponse:
        left = max(0, size - len(due.body))
        response = await exchange.start(due, len(due.body) + left)
        await response.write(due.body)
        for start in range(0, left, len(_BLANKS)):
            await response.write(_BLANKS[: left - start])
        return response

    return Glitch("oversized", perform)


def truncated() -> Glitch:
    """Carry out the request; answer with half of the JSON, in a well-formed HTTP response."""
    return _changed("truncated", lambda due: attrs.evolve(due, body=due.body[: len(due.body) // 2]))


def wrong_type(content_type: str = "text/html") -> Glitch:
    """Carry out the request; answer with the right JSON under a wrong *content_type*."""
    return _changed("wrong_type", lambda due: _with_header(due, "Content-Type", content_type))


def wrong_encoding(coding: str = "gzip") -> Glitch:
    """Carry out the request; answer with plain JSON that claims to be packed with *coding*."""
    return _changed("wrong_encoding", lambda due: _with_header(due, "Content-Encoding", coding))


def wrong_length(by: int = 100) -> Glitch:
    """Carry out the request; answer with a `Content-Length` that is wrong by *by* bytes."""

    async def perform(exchange: Exchange, due: Answer) -> NoReturn:
        await exchange.send_raw(due, max(0, len(due.body) + by))

    return Glitch("wrong_length", perform)


async def _reset(exchange: Exchange, _due: Answer) -> NoReturn:
    await exchange.reset()


async def _hang(exchange: Exchange, _due: Answer) -> NoReturn:
    await exchange.hang()


def _changed(name: str, change: Callable[[Answer], Answer]) -> Glitch:
    async def perform(exchange: Exchange, due: Answer) -> web.StreamResponse:
        return exchange.send(change(due))

    return Glitch(name, perform)


def _with_header(due: Answer, name: str, value: str) -> Answer:
    return attrs.evolve(due, headers={**due.headers, name: value})
