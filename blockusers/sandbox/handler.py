"""Handles each HTTP request: records it, lets a glitch strike it, or has it carried out."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from itertools import count
from typing import Final

from aiohttp import web

from blockusers.sandbox.answers import NO_ANSWER, Answer
from blockusers.sandbox.endpoint import Call, Endpoint
from blockusers.sandbox.exchange import Exchange
from blockusers.sandbox.glitches import Glitch
from blockusers.sandbox.records import RecordedRequest
from blockusers.sandbox.schedule import ScheduledGlitch

KEPT: Final = 100_000
"""How many requests are remembered."""


class Handler:
    """Handles requests in the server's thread; the rest may be called from any thread."""

    def __init__(self, endpoint: Endpoint, lock: threading.Lock, latency: float) -> None:
        self._endpoint = endpoint
        self._lock = lock
        self._latency = latency
        self._numbers = count(1)
        self._requests: deque[RecordedRequest] = deque(maxlen=KEPT)
        self._scheduled: list[ScheduledGlitch] = []

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The last requests, in the order in which they arrived."""
        with self._lock:
            return tuple(self._requests)

    def schedule(self, glitch: ScheduledGlitch) -> None:
        """Let *glitch* strike what none before it strikes."""
        with self._lock:
            self._scheduled.append(glitch)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer *request*, or break its connection."""
        record = self._record(request)
        glitch = self._strike(record, early=True)
        body = b"" if glitch else await _body_of(request)
        call = Call(request.method, request.path, request.query, request.headers, body)
        if glitch is None:
            record.users = call.users
            glitch = self._strike(record, early=False)
        exchange = Exchange(request, record)
        if glitch is None:
            return exchange.send(await self._carry_out(call))
        due = await self._carry_out(call) if glitch.effect else NO_ANSWER
        return await glitch.perform(exchange, due)

    def _record(self, request: web.Request) -> RecordedRequest:
        with self._lock:
            record = RecordedRequest(
                number=next(self._numbers),
                method=request.method,
                path=request.path,
                query=request.query,
                headers=request.headers,
            )
            self._requests.append(record)
            return record

    def _strike(self, record: RecordedRequest, *, early: bool) -> Glitch | None:
        """Return the glitch that strikes, before the body is read if *early*, and record it."""
        with self._lock:
            for each in self._scheduled:
                # Who is named is not known before the body is read.
                is_early = each.glitch.early and each.user is None
                if is_early is early and each.strikes(record):
                    record.glitch = each.glitch.name
                    return each.glitch
        return None

    async def _carry_out(self, call: Call) -> Answer:
        with self._lock:
            answer = self._endpoint.answer(call)
        if self._latency:
            await asyncio.sleep(self._latency)
        return answer


async def _body_of(request: web.Request) -> bytes:
    """Return the body, unpacked; what cannot be unpacked is no JSON in any case."""
    try:
        return await request.read()
    except web.RequestPayloadError:
        return b""
