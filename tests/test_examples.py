"""The examples: each is started as it stands, on the sandbox, and used over HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import attrs
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blockusers import Account
from blockusers.guard import DenyList, Guard, SqliteStore, Webhook
from blockusers.guard.service import make_app
from blockusers.sandbox import Rules, Sandbox, glitches

EXAMPLES = Path(__file__).parent.parent / "examples"
SECRET = "0123456789abcdef0123"
SECRETS = {"WHATSAPP_APP_SECRET": SECRET, "WHATSAPP_VERIFY_TOKEN": "change me"}
ANN, NEVER_WROTE = "16505551234", "1650555131047"


@attrs.frozen
class Example:
    """An example that runs, with a sandbox of its own."""

    sandbox: Sandbox
    process: subprocess.Popen[bytes]
    output: Path
    """The file with what it prints."""
    numbers: Path
    """The list that it works off, if it does."""
    port: int
    """Where it serves, if it does."""
    telegram: socket.socket
    """Where it finds Telegram, if it looks for it."""

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Give a browser that looks at what it serves; at the end it is told to end."""
        async with aiohttp.ClientSession(f"http://127.0.0.1:{self.port}") as browser:
            await self.until(lambda: answers(browser))
            yield browser
        await self.stop()

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await condition():
                assert self.process.poll() is None, self.output.read_text()
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """Tell it to end; it must not complain."""
        self.process.send_signal(signal.SIGINT)
        await self.end()

    async def end(self) -> int:
        """Wait until it has ended; return its exit code."""
        code = await asyncio.to_thread(self.process.wait, 60)
        assert "Traceback" not in self.output.read_text()
        return code


async def answers(browser: aiohttp.ClientSession) -> bool:
    try:
        async with browser.get("/"):
            return True
    except aiohttp.ClientConnectionError:
        return False


@contextmanager
def start(name: str, folder: Path, prepare: Callable[[Sandbox], object]) -> Iterator[Example]:
    with (
        Sandbox(Rules(window=None, app_secret=SECRET)) as sandbox,
        socket.create_server(("127.0.0.1", 0)) as telegram,
        socket.socket() as free,
        (folder / "output").open("wb") as output,
    ):
        prepare(sandbox)
        (folder / "to_block.txt").write_text(f"+{ANN}\n\n{NEVER_WROTE}\n0151 234567\n")
        # While this is bound nobody but a server, which sets the same option, gets the port.
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        account = {f"WHATSAPP_{key.upper()}": str(v) for key, v in sandbox.credentials.items()}
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), str(folder / "to_block.txt")],
            env={
                **os.environ,
                **account,
                **SECRETS,
                "PORT": str(free.getsockname()[1]),
                "TELEGRAM_SERVER": "http://{}:{}".format(*telegram.getsockname()),
                "TELEGRAM_TOKEN": "42:abc",
                "MODERATORS": "4711,4712",
                "BLOCKUSERS_STORE": str(folder / "deny.db"),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        files = folder / "output", folder / "to_block.txt"
        try:
            yield Example(sandbox, process, *files, free.getsockname()[1], telegram)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Example]]:
    """Start all examples at the same time: most of theirs goes into imports."""
    prepared: dict[str, tuple[str, Callable[[Sandbox], object]]] = {
        "aiogram_bot": ("aiogram_bot.py", lambda sandbox: sandbox.block("16505559876")),
        "without_it": ("without_it.py", Sandbox.blocklist),
        "pywa_bot": ("pywa_bot.py", Sandbox.blocklist),
        "fastapi_service": ("fastapi_service.py", Sandbox.blocklist),
        "aiohttp_service": ("aiohttp_service.py", Sandbox.blocklist),
        "guard_aiohttp": ("guard_aiohttp.py", Sandbox.blocklist),
        "guard_pywa": ("guard_pywa.py", Sandbox.blocklist),
        "nightly": ("nightly.py", Sandbox.blocklist),
        "nightly, with an expired token": ("nightly.py", expire),
    }
    with ExitStack() as stack:
        yield {
            key: stack.enter_context(start(name, tmp_path_factory.mktemp("example"), prepare))
            for key, (name, prepare) in prepared.items()
        }


def expire(sandbox: Sandbox) -> None:
    sandbox.glitch(glitches.answer(401, {"error": {"code": 190}}), at=1)


async def test_aiohttp_service(examples: dict[str, Example]) -> None:
    """It blocks the senders of spam whom Meta's webhooks bring, and nobody for anybody else."""
    example = examples["aiohttp_service"]
    sandbox = example.sandbox
    async with example.browser() as browser:
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


async def test_fastapi_service(examples: dict[str, Example]) -> None:
    """It says of each user what became of it, lists them, and turns errors into answers."""
    example = examples["fastapi_service"]
    sandbox = example.sandbox
    async with example.browser() as browser:

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


async def test_pywa_bot(examples: dict[str, Example]) -> None:
    """Its handler blocks the senders of spam whom Meta's webhooks bring."""
    example = examples["pywa_bot"]
    sandbox = example.sandbox
    async with example.browser() as browser:
        for sender, text in SPAM:
            body = orjson.dumps(webhook(sandbox, sender, text))
            assert await post(browser, "/", body) == 200

    assert sandbox.blocklist() == {ANN}
    assert len(sandbox.requests) == 2


@pytest.mark.parametrize(("name", "path"), [("guard_aiohttp", "/webhook"), ("guard_pywa", "/")])
async def test_guarded_bots(examples: dict[str, Example], name: str, path: str) -> None:
    """Who sends spam is denied and blocked; when they write again, they are blocked again."""
    example = examples[name]
    sandbox = example.sandbox

    async def is_blocked() -> bool:
        return sandbox.blocklist() == {ANN}

    async with example.browser() as browser:
        for sender, text in [("16505559876", "Hi"), (ANN, "Free money!")]:
            body = orjson.dumps(webhook(sandbox, sender, text, time.time()))
            assert await post(browser, path, body, "guessed") in {401, 403}
            assert await post(browser, path, body, SECRET) == 200
        await example.until(is_blocked)
        sandbox.unblock(ANN)
        later = orjson.dumps(webhook(sandbox, ANN, "Hi", time.time() + 5))
        assert await post(browser, path, later, SECRET) == 200
        await example.until(is_blocked)

    assert example.output.read_text().count("to answer: Hi") == 1


@pytest.mark.skipif(which("node") is None, reason="needs Node")
async def test_a_bot_in_another_language() -> None:
    """Behind the guard it sees whoever is not denied, under a signature of its own secret."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bot = await asyncio.create_subprocess_exec(
        "node",
        str(EXAMPLES / "behind_guard.mjs"),
        env={**os.environ, **SECRETS, "PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    hook = Webhook(SECRET, "change me")
    with Sandbox(Rules(window=None, app_secret=SECRET)) as sandbox, TemporaryDirectory() as folder:
        deny_list = DenyList(SqliteStore(f"{folder}/deny.db"))
        async with (
            Guard([Account(**sandbox.credentials)], deny_list, webhook=hook) as guard,
            TestServer(
                make_app(guard, webhook=hook, forward=f"http://127.0.0.1:{port}", drop_denied=True)
            ) as server,
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as direct,
            aiohttp.ClientSession(server.make_url("/")) as browser,
        ):
            await deny_list.add([ANN])
            async with asyncio.timeout(20):
                while not await answers(direct):
                    await asyncio.sleep(0.02)
            for sender, text in [(ANN, "Free money!"), ("16505559876", "Hi")]:
                body = orjson.dumps(webhook(sandbox, sender, text, time.time()))
                assert await post(direct, "/", body, "guessed") == 401
                assert await post(browser, "/webhook", body) == 200
            async with asyncio.timeout(20):
                while sandbox.blocklist() != {ANN}:
                    await asyncio.sleep(0.02)
    bot.terminate()
    output, _ = await bot.communicate()

    assert output == b"to answer: Hi\n"


def webhook(
    sandbox: Sandbox, sender: str, text: str, wrote_at: float = 1764000000
) -> dict[str, object]:
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
        "timestamp": str(int(wrote_at)),
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


async def test_aiogram_bot(examples: dict[str, Example]) -> None:
    """Moderators block and unblock through it; nobody else does."""
    example = examples["aiogram_bot"]
    telegram = Telegram(
        [
            (4711, "/block +1 650 555 1234"),
            (4712, "/unblock +1 650 555 9876"),
            (666, "/unblock +1 650 555 1234"),
            (4711, f"/block {NEVER_WROTE}"),
            (4711, "/block"),
        ]
    )
    app = web.Application()
    app.router.add_post("/bot{token}/{method}", telegram.answer)

    async def all_answered() -> bool:
        return len(telegram.said) == 4

    async with TestServer(app, socket_factory=lambda *_: example.telegram) as server:
        assert server.port == example.telegram.getsockname()[1]
        await example.until(all_answered)
        await example.stop()

    assert telegram.said.count("Done.") == 2
    assert any("131047" in said for said in telegram.said)
    assert any("0 digits" in said for said in telegram.said)
    assert example.sandbox.blocklist() == {ANN}


async def test_nightly(examples: dict[str, Example]) -> None:
    """It strikes off the list who is blocked, and keeps the others for the next night."""
    example = examples["nightly"]

    assert await example.end() == 0
    assert example.sandbox.blocklist() == {ANN}
    assert example.numbers.read_text() == f"{NEVER_WROTE}\n0151 234567\n"


async def test_nightly_with_an_expired_token(examples: dict[str, Example]) -> None:
    """A night in which nothing can be done leaves whom it could not block on the list."""
    example = examples["nightly, with an expired token"]

    assert await example.end() == 1
    assert example.sandbox.blocklist() == frozenset()
    assert f"+{ANN}\n" in example.numbers.read_text()


async def test_without_it(examples: dict[str, Example]) -> None:
    """The documentation's table of what goes wrong without it is what the example prints."""
    example = examples["without_it"]

    assert await example.end() == 0
    page = EXAMPLES.parent / "docs" / "explanation" / "comparison.md"
    table = f"<!-- without it -->\n{example.output.read_text()}<!-- end -->"
    assert table in page.read_text(encoding="utf-8")
