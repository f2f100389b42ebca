"""The examples: each is started as it stands, on the sandbox, and used over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blockusers.sandbox import Rules, Sandbox, glitches

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRET = "0123456789abcdef0123"
SECRETS = {"WHATSAPP_APP_SECRET": SECRET, "VERIFY_TOKEN": "change me"}
ANN, NEVER_WROTE = "16505551234", "1650555131047"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None, app_secret=SECRET)) as sandbox:
        yield sandbox


@asynccontextmanager
async def running(
    sandbox: Sandbox, name: str, *arguments: object, **settings: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an example; at the end it is told to end, if it has not, and must not complain."""
    account = {f"WHATSAPP_{key.upper()}": str(v) for key, v in sandbox.credentials.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / name),
        *map(str, arguments),
        env={
            **os.environ,
            **account,
            "WHATSAPP_APP_SECRET": SECRET,
            "VERIFY_TOKEN": "change me",
            **settings,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(20):
            output, _ = await process.communicate()
        assert b"Traceback" not in output, output.decode()


@asynccontextmanager
async def service(sandbox: Sandbox, name: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Run an example that serves; give a browser that is looking at it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with (
        running(sandbox, name, PORT=str(port)) as process,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as browser,
    ):
        await until(lambda: answers(browser), process)
        yield browser


async def answers(browser: aiohttp.ClientSession) -> bool:
    try:
        async with browser.get("/"):
            return True
    except aiohttp.ClientConnectionError:
        return False


async def until(
    condition: Callable[[], Awaitable[bool]], process: asyncio.subprocess.Process
) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            assert process.returncode is None, (await process.communicate())[0].decode()
            await asyncio.sleep(0.05)


async def test_aiohttp_service(sandbox: Sandbox) -> None:
    """It blocks the senders of spam whom Meta's webhooks bring, and nobody for anybody else."""
    async with service(sandbox, "aiohttp_service.py") as browser:
        question = {"hub.mode": "subscribe", "hub.challenge": "1158201444"}
        for token, status in [("change me", 200), ("guessed", 403)]:
            query = question | {"hub.verify_token": token}
            async with browser.get("/webhook", params=query) as response:
                assert response.status == status
                assert (await response.text() == "1158201444") is (status == 200)
        for sender, text in SPAM:
            body = orjson.dumps(webhook(sandbox, sender, text))
            assert await post(browser, "/webhook", body, "guessed") == 401
            assert await post(browser, "/webhook", body, SECRET) == 200
        # What is no message is answered, too, or Meta would send it again for days.
        assert await post(browser, "/webhook", b'{"entry":[{"changes":[{"value":{}}]}]}') == 200

    assert sandbox.blocklist() == {ANN}
    assert len(sandbox.requests) == 2


async def post(
    browser: aiohttp.ClientSession, path: str, body: bytes, secret: str | None = None
) -> int:
    """Post a webhook that is signed with *secret*; return the status of the answer."""
    signature = hmac.new((secret or SECRET).encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={signature}"}
    async with browser.post(path, data=body, headers=headers) as response:
        return response.status


SPAM = [
    (ANN, "Free money!"),
    ("16505559876", "Hi"),
    (NEVER_WROTE, "Free money"),
    ("0151", "Free money"),
]


async def test_fastapi_service(sandbox: Sandbox) -> None:
    """It says of each user what became of it, lists them, and turns errors into answers."""
    async with service(sandbox, "fastapi_service.py") as browser:

        async def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
            async with browser.request(method, path, json=body) as response:
                return response.status, await response.json()

        status, report = await ask("POST", "/blocked", ["+1 650 555 1234", "0151", NEVER_WROTE])
        assert (status, report["summary"]) == (200, "1 done, 2 failed")
        assert [user["code"] for user in report["users"]] == [None, None, 131047]
        assert await ask("GET", "/blocked") == (200, [ANN])
        assert (await ask("DELETE", f"/blocked/{ANN}"))[1]["status"] == "done"
        status, refused = await ask("DELETE", "/blocked/0151")
        assert status == 422
        assert "starts with 0" in refused["error"]
        expired = glitches.answer(401, {"error": {"code": 190, "message": "expired"}})
        sandbox.glitch(expired, at=len(sandbox.requests) + 1)
        sandbox.glitch(expired, at=len(sandbox.requests) + 2)
        assert (await ask("GET", "/blocked"))[0] == 502
        status, report = await ask("POST", "/blocked", [ANN])
        assert (status, report["summary"]) == (200, "1 remaining")
        assert "expired" in report["error"]

    assert not sandbox.blocklist()


async def test_pywa_bot(sandbox: Sandbox) -> None:
    """Its handler blocks the senders of spam whom Meta's webhooks bring."""
    async with service(sandbox, "pywa_bot.py") as browser:
        for sender, text in SPAM:
            body = orjson.dumps(webhook(sandbox, sender, text))
            assert await post(browser, "/", body) == 200

    assert sandbox.blocklist() == {ANN}
    assert len(sandbox.requests) == 2


def webhook(sandbox: Sandbox, sender: str, text: str) -> dict[str, object]:
    """Return what Meta posts for a message.

    https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples
    """
    number = {"display_phone_number": "16505550000"} | {
        "phone_number_id": sandbox.credentials["phone_number_id"]
    }
    user = f"US.{sender}"
    message = {
        "from": sender,
        "from_user_id": user,
        "id": f"wamid.{sender}",
        "timestamp": "1764000000",
        "type": "text",
        "text": {"body": text},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": number,
        "messages": [message],
        "contacts": [{"profile": {"name": "Ann"}, "wa_id": sender, "user_id": user}],
    }
    change = {"field": "messages", "value": value}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [change]}],
    }


class Telegram:
    """As much of Telegram's Bot API as a bot needs that polls and answers."""

    def __init__(self, messages: list[tuple[int, str]]) -> None:
        self.said: list[str] = []
        self._updates = [
            {"update_id": n, "message": self._message(n, sender, text)}
            for n, (sender, text) in enumerate(messages, 1)
        ]

    def _message(self, number: int, sender: int, text: str) -> dict[str, object]:
        command = {"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}
        return {
            "message_id": number,
            "date": 1764000000,
            "chat": {"id": 1, "type": "private"},
            "from": {"id": sender, "is_bot": False, "first_name": "M"},
            "text": text,
            "entities": [command],
        }

    async def answer(self, request: web.Request) -> web.Response:
        values = await request.post()
        match request.match_info["method"]:
            case "getMe":
                result: object = {"id": 7, "is_bot": True, "first_name": "B", "username": "bot"}
            case "getUpdates":
                after = int(str(values.get("offset", 0)))
                result = [update for update in self._updates if update["update_id"] >= after]
                await asyncio.sleep(0 if result else 0.1)
            case "sendMessage":
                self.said.append(str(values["text"]))
                result = self._message(99, 7, "sent")
            case _:
                result = True
        return web.json_response({"ok": True, "result": result})


async def test_aiogram_bot(sandbox: Sandbox) -> None:
    """Moderators block and unblock through it; nobody else does."""
    telegram = Telegram(
        [
            (4711, "/block +1 650 555 1234"),
            (4712, "/unblock +1 650 555 9876"),
            (666, "/unblock +1 650 555 1234"),
            (4711, f"/block {NEVER_WROTE}"),
            (4711, "/block"),
        ]
    )
    sandbox.block("16505559876")
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", telegram.answer)
    async with TestServer(app) as server:
        settings = {"TELEGRAM_SERVER": str(server.make_url("/")).rstrip("/")}
        settings |= {"TELEGRAM_TOKEN": "42:abc", "MODERATORS": "4711,4712"}

        async def all_answered() -> bool:
            return len(telegram.said) == 4

        async with running(sandbox, "aiogram_bot.py", **settings) as process:
            await until(all_answered, process)

    assert telegram.said.count("Done.") == 2
    assert any("131047" in said for said in telegram.said)
    assert any("0 digits" in said for said in telegram.said)
    assert sandbox.blocklist() == {ANN}


async def test_nightly(sandbox: Sandbox, tmp_path: Path) -> None:
    """It strikes off the list who is blocked, and keeps the others for the next night."""
    numbers = tmp_path / "to_block.txt"
    numbers.write_text(f"+{ANN}\n\n{NEVER_WROTE}\n0151 234567\n")

    async with running(sandbox, "nightly.py", numbers) as process:
        assert await process.wait() == 0
    assert sandbox.blocklist() == {ANN}
    assert numbers.read_text() == f"{NEVER_WROTE}\n0151 234567\n"

    expired = glitches.answer(401, {"error": {"code": 190}})
    sandbox.glitch(expired, at=len(sandbox.requests) + 1)
    async with running(sandbox, "nightly.py", numbers) as process:
        assert await process.wait() == 1
    assert numbers.read_text() == f"{NEVER_WROTE}\n0151 234567\n"


async def test_without_it(sandbox: Sandbox) -> None:
    """The documentation's table of what goes wrong without it is what the example prints."""
    async with running(sandbox, "without_it.py") as process:
        output, _ = await process.communicate()

    page = EXAMPLES.parent / "docs" / "explanation" / "comparison.md"
    table = f"<!-- without it -->\n{output.decode()}<!-- end -->"
    assert table in page.read_text(encoding="utf-8")
