"""A WhatsApp bot on pywa with a deny list: whoever is on it is blocked at the moment they write.

pywa reads the webhooks and answers; its handler shows each message to the guard, which says whether
the sender is denied, and blocks them behind the scenes.

pywa answers Meta with 200 even if a handler fails.  Where no message may be missed while the disk
is full, use `blockusers guard --forward`, or `guard.handle` as in `guard_aiohttp.py`.

    WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… \
    WHATSAPP_APP_SECRET=… WHATSAPP_VERIFY_TOKEN=… \
        python examples/guard_pywa.py
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from pywa_async import WhatsApp
from pywa_async.types import Message

from blockusers import Account
from blockusers.guard import DenyList, Guard, Sighting, SqliteStore

LOG = logging.getLogger("bot")
GUARD = Guard(
    [Account.from_env()], DenyList(SqliteStore(os.environ.get("BLOCKUSERS_STORE", "deny.db")))
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the guard before the first message comes."""
    async with GUARD:
        yield


app = FastAPI(lifespan=lifespan)
whatsapp = WhatsApp(
    phone_id=os.environ["WHATSAPP_PHONE_NUMBER_ID"],
    token=os.environ["WHATSAPP_ACCESS_TOKEN"],
    app_secret=os.environ["WHATSAPP_APP_SECRET"],
    verify_token=os.environ.get("WHATSAPP_VERIFY_TOKEN", "change me"),
    server=app,
)


@whatsapp.on_message
async def on_message(_: WhatsApp, message: Message) -> None:
    """Leave denied people unanswered."""
    sender = message.from_user
    sighting = Sighting(
        message.metadata.phone_number_id,
        filter(None, (sender.wa_id, sender.bsuid, sender.parent_bsuid)),
        wrote_at=message.timestamp.timestamp(),
        message_id=message.id,
    )
    if await GUARD.see(sighting):
        return
    if "free money" in (message.text or "").lower():
        await GUARD.deny([sender.wa_id or sender.bsuid], reason="spam", origin="bot")
        return
    LOG.warning("to answer: %s", message.text)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
