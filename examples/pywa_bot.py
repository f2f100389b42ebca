"""A WhatsApp bot on pywa whose handler blocks whoever sends spam.

pywa reads the webhooks and answers; blockusers blocks, for it tells who could not be blocked, and
keeps to the rate limit when a hundred spammers write at once.

    WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… \
    WHATSAPP_APP_SECRET=… WHATSAPP_VERIFY_TOKEN=… \
        python examples/pywa_bot.py
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI
from pywa_async import WhatsApp, filters
from pywa_async.types import Message

from blockusers import Account, BlockUsersError, Client

LOG = logging.getLogger("bot")
CLIENT = Client(Account.from_env())


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the client before the first message comes."""
    async with CLIENT:
        yield


app = FastAPI(lifespan=lifespan)
whatsapp = WhatsApp(
    phone_id=os.environ["WHATSAPP_PHONE_NUMBER_ID"],
    token=os.environ["WHATSAPP_ACCESS_TOKEN"],
    app_secret=os.environ["WHATSAPP_APP_SECRET"],
    verify_token=os.environ.get("WHATSAPP_VERIFY_TOKEN", "change me"),
    server=app,
)


@whatsapp.on_message(filters.text)
async def on_message(_: WhatsApp, message: Message) -> None:
    """Block the sender of spam."""
    if "free money" not in (message.text or "").lower():
        return
    sender = message.from_user
    try:
        outcome = await CLIENT.block_one(sender.wa_id or sender.bsuid)
        outcome.raise_for_failure()
    except BlockUsersError as error:
        LOG.warning("not blocked: %s", error)


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8080")))
