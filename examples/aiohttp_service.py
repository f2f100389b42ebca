"""A webhook on aiohttp that blocks spammers as their messages come in.

Meta lets you block a person only within 24 hours of their last message, so the handler of that
message is the place for it.  Run it, and give its address and your WHATSAPP_VERIFY_TOKEN to Meta
(App Dashboard, WhatsApp, Configuration):

    WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… \
    WHATSAPP_APP_SECRET=… WHATSAPP_VERIFY_TOKEN=… \
        python examples/aiohttp_service.py

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import web

from blockusers import Account, BlockUsersError, Client

LOG = logging.getLogger("bot")
CLIENT = web.AppKey("client", Client)
TASKS: set[asyncio.Task[None]] = set()  # asyncio itself keeps no reference to them


async def open_client(app: web.Application) -> AsyncIterator[None]:
    """Keep one client open as long as the bot runs: its requests share one pace."""
    async with Client(Account.from_env()) as client:
        app[CLIENT] = client
        yield


def is_from_meta(body: bytes, signature: str) -> bool:
    """Say whether Meta signed *body* with the app secret; anybody can post to this address."""
    secret = os.environ["WHATSAPP_APP_SECRET"].encode()
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def messages(payload: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield sender and text of each message; people with a user name may show no number."""
    for entry in payload.get("entry", []):
        for change in entry.get("changes", []):
            for message in change["value"].get("messages", []):
                sender = message.get("from") or message.get("from_user_id")
                if sender:
                    yield sender, message.get("text", {}).get("body", "")


async def on_webhook(request: web.Request) -> web.Response:
    """Block the senders of spam; Meta gets its 200 at once, or it would send the message again."""
    body = await request.read()
    if not is_from_meta(body, request.headers.get("X-Hub-Signature-256", "")):
        raise web.HTTPUnauthorized
    for sender, text in messages(json.loads(body)):
        if "free money" in text.lower():
            task = asyncio.create_task(block(request.app[CLIENT], sender))
            TASKS.add(task)
            task.add_done_callback(TASKS.discard)
    return web.Response()


async def block(client: Client, sender: str) -> None:
    """Block one person."""
    try:
        outcome = await client.block_one(sender)
        outcome.raise_for_failure()
    except BlockUsersError as error:
        LOG.warning("not blocked: %s", error)


async def on_verification(request: web.Request) -> web.Response:
    """Answer Meta's question whether this address is yours."""
    if request.query.get("hub.verify_token") != os.environ["WHATSAPP_VERIFY_TOKEN"]:
        raise web.HTTPForbidden
    return web.Response(text=request.query.get("hub.challenge", ""))


def make_app() -> web.Application:
    """Put the bot together."""
    app = web.Application(client_max_size=3 * 1024**2)  # Meta's largest webhook
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/webhook", on_verification)
    app.router.add_post("/webhook", on_webhook)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=int(os.environ.get("PORT", "8080")))
