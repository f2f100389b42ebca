"""A webhook on aiohttp that blocks spammers as their messages come in.

Meta lets you block a person only within 24 hours of their last message, so the handler of that
message is the place for it.  Run it, then post a message to it:

    WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… python examples/aiohttp_service.py
    curl localhost:8080/webhook --data '{"from": "16505551234", "text": "FREE MONEY"}'
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator

from aiohttp import web

from blockusers import Account, BlockUsersError, Client

LOG = logging.getLogger("bot")
CLIENT = web.AppKey("client", Client)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    """Keep one client open as long as the bot runs: its requests share one pace."""
    async with Client(Account.from_env()) as client:
        app[CLIENT] = client
        yield


async def on_message(request: web.Request) -> web.Response:
    """Block the sender of spam; whatever happens to that, Meta gets its 200."""
    message = await request.json()
    if "free money" not in message["text"].lower():
        return web.Response(text="welcome")
    try:
        outcome = await request.app[CLIENT].block_one(message["from"])
        outcome.raise_for_failure()
    except (BlockUsersError, ValueError) as error:
        LOG.warning("not blocked: %s", error)
        return web.Response(text="not blocked")
    return web.Response(text="blocked")


def make_app() -> web.Application:
    """Put the bot together."""
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_post("/webhook", on_message)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=int(os.environ.get("PORT", "8080")))
