"""A bot on aiohttp with a deny list: whoever is on it is blocked at the moment they write.

Meta lets you block a person only within 24 hours of their last message, so a list of known spammers
cannot be blocked ahead.  The guard is shown every webhook and does it in time, also for those who
write while the bot is down: it answers 200 only when it is written down whom to block.

    WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… \
    WHATSAPP_APP_SECRET=… WHATSAPP_VERIFY_TOKEN=… \
        python examples/guard_aiohttp.py

The command line changes the list, also while the bot runs:

    blockusers deny import spammers.csv --store deny.db
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from aiohttp import web

from blockusers import Account
from blockusers.guard import DenyList, Guard, SqliteStore, Webhook, WebhookRejected

LOG = logging.getLogger("bot")
GUARD = web.AppKey("guard", Guard)
WEBHOOK = Webhook(
    os.environ.get("WHATSAPP_APP_SECRET", ""), os.environ.get("WHATSAPP_VERIFY_TOKEN", "")
)


async def open_guard(app: web.Application) -> AsyncIterator[None]:
    """Keep the guard open as long as the bot runs; it goes on with what it had to do before."""
    deny_list = DenyList(SqliteStore(os.environ.get("BLOCKUSERS_STORE", "deny.db")))
    async with Guard([Account.from_env()], deny_list, webhook=WEBHOOK) as guard:
        app[GUARD] = guard
        yield


async def on_webhook(request: web.Request) -> web.Response:
    """Show the webhook to the guard first: what it does not answer with 200, Meta sends again."""
    body, guard = await request.read(), request.app[GUARD]
    status = await guard.handle(body, request.headers.get("X-Hub-Signature-256"))
    if status == 200:
        for number, sender, text in messages(json.loads(body)):
            if "free money" in text.lower():
                # Blocked now, and each time they write, on all numbers.
                await guard.deny([sender], reason="spam", origin="bot")
            elif not await guard.deny_list.match(sender, phone_number_id=number):
                LOG.warning("to answer: %s", text)
    return web.Response(status=status)


def messages(payload: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the business number, the sender and the text of each message."""
    for entry in payload.get("entry", []):
        for change in entry.get("changes", []):
            for message in change["value"].get("messages", []):
                sender = message.get("from") or message.get("from_user_id")
                if sender:
                    number = change["value"]["metadata"]["phone_number_id"]
                    yield number, sender, message.get("text", {}).get("body", "")


async def on_verification(request: web.Request) -> web.Response:
    """Answer Meta's question whether this address is yours."""
    try:
        return web.Response(text=WEBHOOK.challenge(request.query))
    except WebhookRejected as error:
        raise web.HTTPForbidden(text=str(error)) from None


def make_app() -> web.Application:
    """Put the bot together."""
    app = web.Application(client_max_size=3 * 1024**2)  # Meta's largest webhook
    app.cleanup_ctx.append(open_guard)
    app.router.add_get("/webhook", on_verification)
    app.router.add_post("/webhook", on_webhook)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=int(os.environ.get("PORT", "8080")))
