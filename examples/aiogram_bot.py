"""A Telegram bot on aiogram: its moderators block and unblock WhatsApp users from their phones.

/block +1 650 555 1234
/unblock +1 650 555 1234

WHATSAPP_PHONE_NUMBER_ID=… WHATSAPP_ACCESS_TOKEN=… TELEGRAM_TOKEN=… MODERATORS=4711,4712 \
        python examples/aiogram_bot.py
"""

from __future__ import annotations

import asyncio
import os

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

from blockusers import Account, BlockUsersError, Client

MODERATORS = set(map(int, os.environ["MODERATORS"].split(",")))
dispatcher = Dispatcher()


@dispatcher.message(F.from_user.id.in_(MODERATORS), Command("block", "unblock"))
async def moderate(message: Message, command: CommandObject, client: Client) -> None:
    """Block or unblock the user that a moderator names, and say what became of it."""
    call = client.block_one if command.command == "block" else client.unblock_one
    try:
        outcome = await call(command.args or "")
        outcome.raise_for_failure()
    except BlockUsersError as error:
        await message.answer(f"Not done: {error}")
    else:
        await message.answer("Done.")


async def main() -> None:
    """Poll Telegram until the process is told to end."""
    server = os.environ.get("TELEGRAM_SERVER", "https://api.telegram.org")  # or one of your own
    session = AiohttpSession(api=TelegramAPIServer.from_base(server))
    bot = Bot(os.environ["TELEGRAM_TOKEN"], session=session)
    async with Client(Account.from_env()) as client:
        await dispatcher.start_polling(bot, client=client)


if __name__ == "__main__":
    asyncio.run(main())
