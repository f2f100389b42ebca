"""Other clients of the endpoint, called chunk by chunk: they merge and retry nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import Any, Final

from benchmarks.measuring import AT_ONCE, CHUNKS, Work
from blockusers.sandbox import Credentials

Update = Callable[[list[str]], Awaitable[Any]]


@asynccontextmanager
async def installed(credentials: Credentials) -> AsyncIterator[dict[str, Work]]:
    """Yield what blocks and unblocks all numbers, for each peer that is installed."""
    found: dict[str, Work] = {}
    async with AsyncExitStack() as stack:
        for package, connect in _CONNECT.items():
            if find_spec(package) is None:
                print(f"{package} is not installed: pip install --group bench\n")
            else:
                name, block, unblock = await stack.enter_async_context(connect(credentials))
                found[name] = _both(block, unblock)
        yield found


def _both(block: Update, unblock: Update) -> Work:
    async def run() -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def send(update: Update, chunk: list[str]) -> None:
            async with gate:
                await update(chunk)

        for update in (block, unblock):
            await asyncio.gather(*(send(update, chunk) for chunk in CHUNKS))

    return run


@asynccontextmanager
async def _pywa(credentials: Credentials) -> AsyncIterator[tuple[str, Update, Update]]:
    import httpx  # noqa: PLC0415
    import pywa_async  # noqa: PLC0415

    session = httpx.AsyncClient(trust_env=False)
    client = pywa_async.WhatsApp(
        phone_id=credentials["phone_number_id"], token=credentials["access_token"], session=session
    )
    async with session:
        session.base_url = httpx.URL(f"{credentials['base_url']}/v25.0")
        yield f"pywa {pywa_async.__version__}", client.block_users, client.unblock_users


@asynccontextmanager
async def _toolsconnector(credentials: Credentials) -> AsyncIterator[tuple[str, Update, Update]]:
    import toolsconnector  # noqa: PLC0415
    from toolsconnector.connectors.whatsapp_business import connector  # noqa: PLC0415

    names = ("access_token", "phone_number_id")
    secrets = json.dumps({name: credentials[name] for name in names})  # type: ignore[literal-required]
    async with connector.WhatsAppBusiness(
        credentials=secrets, base_url=f"{credentials['base_url']}/v25.0"
    ) as client:
        name = f"toolsconnector {toolsconnector.__version__}"
        yield name, client.ablock_users, client.aunblock_users


_CONNECT: Final = {"pywa_async": _pywa, "toolsconnector": _toolsconnector}
