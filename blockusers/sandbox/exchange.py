"""Sends the answer to one request, or breaks its connection for a glitch."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from http import HTTPStatus
from typing import Final, NoReturn, cast

import attrs
from aiohttp import web

from blockusers.sandbox.answers import Answer
from blockusers.sandbox.records import RecordedRequest

# With a linger time of 0, closing a socket sends RST. Windows packs the two numbers smaller.
_NO_LINGER: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


@attrs.frozen
class Exchange:
    """One request of a client, and the ways to answer it."""

    _request: web.Request
    _record: RecordedRequest

    def send(self, answer: Answer) -> web.StreamResponse:
        """Answer as a server should."""
        self._note(answer)
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def start(self, answer: Answer, length: int) -> web.StreamResponse:
        """Send the head of *answer*, announcing a body of *length* bytes that is still to come."""
        self._note(answer)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = length
        await response.prepare(self._request)
        return response

    async def send_raw(self, answer: Answer, length: int) -> NoReturn:
        """Send *answer*, claiming that its body has *length* bytes, and close the connection."""
        self._note(answer)
        headers = {**answer.headers, "Content-Length": str(length)}
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._transport.write("\r\n".join([*lines, "\r\n"]).encode() + answer.body)
        self._transport.close()
        await self.hang()

    async def reset(self) -> NoReturn:
        """Break the connection with RST."""
        connection: socket.socket = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()
        await self.hang()

    async def hang(self) -> NoReturn:
        """Wait until the connection is gone or the sandbox stops: either cancels this."""
        while True:
            await asyncio.get_running_loop().create_future()

    def _note(self, answer: Answer) -> None:
        """Record what is answered, before the client can know it."""
        self._record.status, self._record.code = answer.status, answer.code

    @property
    def _transport(self) -> asyncio.Transport:
        # It is None once the client has left, but by then aiohttp has cancelled what runs here.
        return cast("asyncio.Transport", self._request.transport)
