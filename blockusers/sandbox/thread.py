"""Runs an aiohttp server in a thread and on an event loop of its own.

So the sandbox serves plain tests, asyncio and anyio alike, and answers while a test blocks its own
loop.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final, Never, TypeAlias, cast

from aiohttp import web

_Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_LARGEST_BODY: Final = 64 * 2**20
# asyncio needs three turns of its loop from the accepting of a connection to its protocol.
_TURNS_TO_ACCEPT: Final = 5


class ServerThread:
    """Serves HTTP requests with *handle*, and runs *background*, until it is stopped."""

    def __init__(
        self,
        host: str,
        port: int,
        handle: _Handle,
        background: Callable[[], Coroutine[None, None, Never]],
    ) -> None:
        self._host = host
        self._port = port
        self._handle = handle
        self._background = background
        self._thread: threading.Thread | None = None
        self._loop: asyncio.SelectorEventLoop
        self._stopping: asyncio.Event

    @property
    def url(self) -> str:
        """Where it listens, or did before it was stopped."""
        if self._port == 0:
            raise RuntimeError("this sandbox has not been started yet")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def start(self) -> None:
        """Listen; raise OSError if the port is taken, and RuntimeError if it runs already."""
        if self._thread is not None:
            raise RuntimeError("this sandbox is running already")
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.create_server((self._host, self._port), family=family)
        self._port = listener.getsockname()[1]
        # Not the platform's own loop: `_serve` needs `remove_reader`, which Windows's has not.
        self._loop = asyncio.SelectorEventLoop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=[listener], name="blockusers-sandbox", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Cut every connection and end the thread. Stopping twice does no harm."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join()

    def _run(self, listener: socket.socket) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve(listener))

    async def _serve(self, listener: socket.socket) -> None:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # With handlers cancelled, what hangs ends when its client leaves or is cut off.
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        background = asyncio.create_task(self._background())
        await self._stopping.wait()
        background.cancel()
        # asyncio leaks a connection that is being accepted while its server is closed. So first
        # accepting stops, then all connections are cut, and only then the server is closed.
        self._loop.remove_reader(listener)
        await _hang_up(cast("web.Server", runner.server))
        await runner.cleanup()
        await asyncio.wait([background])


async def _hang_up(server: web.Server) -> None:
    """Cut all connections, also those that are just being accepted, which takes some turns."""
    for _ in range(_TURNS_TO_ACCEPT):
        for connection in server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(0)
