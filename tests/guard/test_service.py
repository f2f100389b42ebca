"""The webhook service: what it answers, what it refuses, and what the bot behind it gets."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import attrs
import orjson
import pytest
from aiohttp import web
from yarl import URL

from blockusers import Account
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import Entry
from blockusers.guard.guard import Guard
from blockusers.guard.service import make_app, make_runner
from blockusers.guard.stores.protocol import StoreUnavailable
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.guard.webhooks import InvalidWebhook, Webhook, WebhookRejected
from blockusers.sandbox import Sandbox
from tests.guard.support import until
from tests.support import http, raw_server, read_request

SECRET = "3f5c8a1e9b7d4f60a2c4e6f8b0d2a4c6"
TOKEN = "a word of our own"
NUMBER_ID = "106540352242922"
ANN, BEN = "16505551234", "16505555678"
LARGEST = 3 * 2**20
WEBHOOK = Webhook(SECRET, TOKEN)


@attrs.define
class Status:
    numbers: dict[str, int] = attrs.field(factory=lambda: {NUMBER_ID: 7})

    def to_dict(self) -> dict[str, Any]:
        return attrs.asdict(self)


@attrs.define
class Denied:
    """Denies some people, in memory; `away` as if its store were."""

    denied: set[str] = attrs.field(factory=set)
    away: bool = False

    async def match(self, *ids: str, phone_number_id: str) -> Entry | None:
        if self.away:
            raise StoreUnavailable("the store is away")
        return next((Entry(user) for user in ids if user in self.denied), None)


@attrs.define
class FakeGuard:
    """Checks webhooks as the guard does, and keeps those that it was given."""

    deny_list: Denied = attrs.field(factory=Denied)
    answers: int | None = None
    seen: list[bytes] = attrs.field(factory=list)
    asked: int = 0
    """How often `status` was called."""
    until: asyncio.Event | None = None
    """`handle` returns when it is set."""

    async def handle(self, raw: bytes, signature: str | None) -> int:
        try:
            WEBHOOK.verify(raw, signature)
            WEBHOOK.read(raw)
        except WebhookRejected:
            return 401
        except InvalidWebhook:
            return 400
        self.seen.append(raw)
        if self.until is not None:
            await self.until.wait()
        return self.answers or 200

    async def status(self) -> Status:
        self.asked += 1
        if self.deny_list.away:
            raise StoreUnavailable("the store is away")
        return Status()


@asynccontextmanager
async def serving(guard: Guard | FakeGuard, **settings: Any) -> AsyncIterator[str]:
    """Run the service as `blockusers guard` does; yield its URL."""
    app = make_app(guard, webhook=WEBHOOK, **settings)
    runner = make_runner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


def body(*senders: str, **value: Any) -> bytes:
    """Return a webhook with one message of each sender."""
    content = {
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER_ID},
        "contacts": [{"wa_id": sender, "profile": {"name": "?"}} for sender in senders],
        "messages": [{"from": sender, "id": f"wamid.{sender}"} for sender in senders],
    } | value
    return orjson.dumps({"entry": [{"changes": [{"field": "messages", "value": content}]}]})


def signed(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return {"X-Hub-Signature-256": f"sha256={digest}"}


async def post(
    session: aiohttp.ClientSession, url: str, raw: bytes, **headers: str
) -> tuple[int, bytes]:
    """Post a signed webhook; return status and body of the answer."""
    async with session.post(
        f"{url}/webhook", data=BytesIO(raw), headers=signed(raw) | headers
    ) as answer:
        return answer.status, await answer.read()


# --------------------------------------------------------------------------- verification


async def test_the_url_is_verified(guard: FakeGuard, session: aiohttp.ClientSession) -> None:
    """Meta's challenge comes back as plain text, which no browser takes for anything else."""
    query = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "<b>1158"}
    async with (
        serving(guard) as url,
        session.get(f"{url}/webhook", params=query) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/plain"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert await answer.text() == "<b>1158"


@pytest.mark.parametrize("challenge", ["%ff", "%ed%a0%80", "%00"])
async def test_a_strange_challenge_is_answered(
    guard: FakeGuard, session: aiohttp.ClientSession, challenge: str
) -> None:
    """A challenge that is no text is no error of ours."""
    query = f"hub.mode=subscribe&hub.verify_token=a+word+of+our+own&hub.challenge={challenge}"
    async with serving(guard) as url:
        address = URL(f"{url}/webhook?{query}", encoded=True)
        async with session.get(address) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("token", [None, "another"])
async def test_a_wrong_token_is_forbidden(
    guard: FakeGuard, session: aiohttp.ClientSession, token: str | None
) -> None:
    """Who does not know the verify token gets 403, and no echo."""
    query = {"hub.mode": "subscribe", "hub.challenge": "1158"}
    query |= {"hub.verify_token": token} if token else {}
    async with serving(guard) as url, session.get(f"{url}/webhook", params=query) as answer:
        assert answer.status == 403
        assert "1158" not in await answer.text()


async def test_the_verify_token_is_not_logged(
    guard: FakeGuard, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """There is no access log, for it would show the query with the token."""
    caplog.set_level(0)
    query = {"hub.mode": "subscribe", "hub.verify_token": "tell-tale", "hub.challenge": "1"}
    async with serving(guard) as url, session.get(f"{url}/webhook", params=query) as answer:
        assert answer.status == 403

    assert "tell-tale" not in caplog.text


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /webhook?hub.verify_token=tell-tale&hub.challenge=\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /webhook HTTP/1.1\r\nHost: x\r\ntell tale: tell-tale\r\n\r\n",
    ],
    ids=["query", "header"],
)
async def test_what_cannot_be_read_is_not_logged(
    guard: FakeGuard, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    """Of a request that cannot be read the log has the kind of the error, and no word of it."""
    caplog.set_level(0)
    async with serving(guard) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request_)
        assert b" 400 " in await reader.readline()
        writer.close()
        logging.getLogger("blockusers.http").info("other lines stay")

    assert "Error handling request" in caplog.text
    assert "other lines stay" in caplog.text
    assert "tell-tale" not in caplog.text


# --------------------------------------------------------------------------- webhooks


async def test_a_webhook_reaches_the_guard(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """The raw body is given to the guard, whose status is the answer."""
    raw = body(ANN)
    async with serving(guard) as url:
        assert await post(session, url, raw) == (200, b"OK")

    assert guard.seen == [raw]


@pytest.mark.parametrize(
    ("raw", "headers", "status"),
    [
        (body(ANN), {}, 401),
        (body(ANN), signed(b"another"), 401),
        (b"hello", signed(b"hello"), 400),
    ],
    ids=["unsigned", "forged", "no JSON"],
)
async def test_what_the_guard_refuses_is_refused(
    guard: FakeGuard,
    session: aiohttp.ClientSession,
    raw: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    """A webhook without its signature, or that is none of Meta's, is answered with its error."""
    async with (
        serving(guard) as url,
        session.post(f"{url}/webhook", data=raw, headers=headers) as answer,
    ):
        assert answer.status == status

    assert guard.seen == []


async def test_two_signatures_are_none(guard: FakeGuard, session: aiohttp.ClientSession) -> None:
    """Of two signatures nobody knows which one the bot behind would check."""
    raw = body(ANN)
    headers = [*signed(raw).items(), *signed(raw).items()]
    async with (
        serving(guard) as url,
        session.post(f"{url}/webhook", data=raw, headers=headers) as answer,
    ):
        assert answer.status == 401


async def test_an_outage_of_the_store_is_503(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """When the guard cannot take note, Meta is asked to send the webhook again."""
    guard.answers = 503
    raw = body(ANN)
    async with (
        serving(guard) as url,
        session.post(f"{url}/webhook", data=raw, headers=signed(raw)) as answer,
    ):
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0


async def test_other_requests_are_not_answered(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """Other paths are unknown, other methods not allowed."""
    async with serving(guard) as url:
        async with session.post(url) as answer:
            assert answer.status == 404
        async with session.put(f"{url}/webhook", data=body(ANN)) as answer:
            assert answer.status == 405


# --------------------------------------------------------------------------- limits of bodies


async def test_a_body_of_3_mb_is_read(guard: FakeGuard, session: aiohttp.ClientSession) -> None:
    """The largest webhook of Meta's gets through, one byte more does not."""
    rest = len(body(padding=""))
    raw = body(padding="x" * (LARGEST - rest))
    more = raw + b" "
    async with serving(guard) as url:
        assert len(raw) == LARGEST
        assert (await post(session, url, raw))[0] == 200
        assert (await post(session, url, more))[0] == 413

    assert guard.seen == [raw]


async def test_a_body_without_a_length_is_measured(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """A chunked body is read as far as it may go, and refused when it goes on."""

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 2**16

    fits = b" " * 2**16
    async with serving(guard) as url:
        for count, status in ((1, 400), (49, 413)):
            async with session.post(
                f"{url}/webhook", data=chunks(count), headers=signed(fits)
            ) as answer:
                assert answer.status == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
async def test_a_compressed_body_is_not_taken(guard: FakeGuard, encoding: str) -> None:
    """Nothing is decompressed, so that a few kilobytes cannot become gigabytes."""
    bomb = gzip.compress(b" " * 2**24)
    async with serving(guard) as url:
        status, _ = await raw_post(url, bomb, f"Content-Encoding: {encoding}")

    assert status == 415
    assert guard.seen == []


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def status_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read an answer: its status and its head."""
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), head


async def raw_post(url: str, sent: bytes, *headers: str) -> tuple[int, bytes]:
    """Send bytes as a body and read the answer, whatever aiohttp's client thinks of them."""
    reader, writer = await connect(url)
    try:
        lines = ["POST /webhook HTTP/1.1", "Host: x", *headers]
        if not any(line.startswith(("Content-Length", "Transfer-Encoding")) for line in headers):
            lines.append(f"Content-Length: {len(sent)}")
        writer.write("\r\n".join([*lines, "", ""]).encode(errors="surrogateescape") + sent)
        return await status_of(reader)
    finally:
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(guard: FakeGuard) -> None:
    """Who sends a body byte by byte is answered with 408 when the time is over."""
    async with serving(guard, read_timeout=0.05) as url:
        assert (await raw_post(url, b"{", "Content-Length: 100"))[0] == 408


async def test_a_broken_body_is_400(guard: FakeGuard) -> None:
    """Chunks that are none are an error of the sender."""
    async with serving(guard) as url:
        status, _ = await raw_post(url, b"5\r\n{}\r\nzz\r\n", "Transfer-Encoding: chunked")

    assert status == 400


async def test_a_sender_may_go_away(
    guard: FakeGuard, session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that breaks within a body is no error, and its bytes are given back."""
    raw = body(padding="x" * (LARGEST - len(body(padding=""))))
    async with serving(guard, memory=2 * LARGEST) as url:
        for _ in range(3):
            _, writer = await connect(url)
            writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
            writer.write(b"x" * 2_900_000)
            await writer.drain()
            writer.transport.abort()

        async def there_is_room() -> bool:
            return (await post(session, url, raw))[0] == 200

        await until(there_is_room)

    assert caplog.text == ""


async def test_a_flood_of_bodies_does_not_fill_the_memory(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """When the bodies together are too large, the next is refused at once, and later taken."""
    guard.until = asyncio.Event()
    raw = body(padding="x" * 3_000_000)
    async with serving(guard, memory=10_000_000) as url:
        flood = [asyncio.create_task(post(session, url, raw)) for _ in range(3)]
        await until(lambda: len(guard.seen) == 3)
        refused = await asyncio.gather(*(raw_post(url, raw, *lines(raw)) for _ in range(10)))
        small = asyncio.create_task(post(session, url, body(ANN)))
        await until(lambda: len(guard.seen) == 4)
        guard.until.set()

        assert {status for status, _ in refused} == {503}
        assert all(b"\r\nRetry-After: " in head for _, head in refused)
        assert {status for status, _ in await asyncio.gather(*flood, small)} == {200}
        assert (await post(session, url, raw))[0] == 200
    assert len(guard.seen) == 5


def lines(raw: bytes) -> list[str]:
    return [f"{name}: {value}" for name, value in signed(raw).items()]


# --------------------------------------------------------------------------- probes


async def test_a_probe_sees_the_status(guard: FakeGuard, session: aiohttp.ClientSession) -> None:
    """`/healthz` is 200 with the status as JSON, and 503 while the store is away."""
    async with serving(guard, health_every=0) as url:
        async with session.get(f"{url}/healthz") as answer:
            assert answer.status == 200
            assert await answer.json() == {"ok": True, "numbers": {NUMBER_ID: 7}}
        guard.deny_list.away = True
        async with session.get(f"{url}/healthz") as answer:
            assert answer.status == 503
            assert await answer.json() == {"ok": False}


async def test_many_probes_cost_no_more_than_one(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """An answer holds for some time, for to count what is left to do takes the store a while."""
    async with serving(guard, health_every=3600) as url:
        answers = [await session.get(f"{url}/healthz") for _ in range(3)]
        assert [await answer.read() for answer in answers] == 3 * [await answers[0].read()]

    assert guard.asked == 1


# --------------------------------------------------------------------------- notices


@pytest.fixture
def notices() -> list[tuple[str, str]]:
    return []


async def test_tells_whether_the_url_was_verified(
    guard: FakeGuard, session: aiohttp.ClientSession, notices: list[tuple[str, str]]
) -> None:
    """And if not, why: without it nobody knows why Meta does not take the URL."""
    query = {"hub.mode": "subscribe", "hub.verify_token": TOKEN, "hub.challenge": "1158"}
    async with serving(guard, on_notice=lambda *notice: notices.append(notice)) as url:
        for token in (TOKEN, "another"):
            async with session.get(f"{url}/webhook", params={**query, "hub.verify_token": token}):
                pass

    assert notices == [
        ("verified", ""),
        ("not_verified", "the verify token is missing or wrong"),
    ]


async def test_tells_of_a_wrong_signature(
    guard: FakeGuard, session: aiohttp.ClientSession, notices: list[tuple[str, str]]
) -> None:
    """The app secret may be that of another app; a webhook with the right one is not told of."""
    async with serving(guard, on_notice=lambda *notice: notices.append(notice)) as url:
        await post(session, url, body(ANN))
        await post(session, url, body(ANN), **signed(body(ANN), "another"))

    assert notices == [("wrong_signature", "")]


async def test_tells_what_the_bot_does_wrong(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession, notices: list[tuple[str, str]]
) -> None:
    """Whatever it answers but 200 makes Meta send the webhook again."""
    settings: dict[str, Any] = {"on_notice": lambda *notice: notices.append(notice)}
    async with serving(guard, forward=bot.url, **settings) as url:
        await post(session, url, body(ANN))
        bot.answer = http(b"", "404 Not Found")
        await post(session, url, body(ANN))

    assert notices == [("bot_failed", "answered 404")]


# --------------------------------------------------------------------------- forwarding


@attrs.define
class Got:
    """A request that reached the bot."""

    line: str
    headers: dict[str, str]
    body: bytes


@attrs.define
class Bot:
    """A bot in whatever language: a server of raw bytes."""

    url: str = ""
    answer: bytes = http(b"thanks")
    got: list[Got] = attrs.field(factory=list)
    act: Callable[[], Awaitable[object]] | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.got.append(Got(*await read_request(reader)))
            if self.act is not None:
                await self.act()
            writer.write(self.answer)
            await writer.drain()


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    bot = Bot()
    async with raw_server(bot.serve) as url:
        bot.url = f"{url}/its/own/path"
        yield bot


async def test_the_bot_gets_what_meta_sent(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """Raw body, signature, query and headers are those of the request; the host is the bot's."""
    raw = b" " + body(ANN, emoji="\N{GRINNING FACE}", number=1.50) + b"\n"
    headers = {**signed(raw), "X-Other": "kept", "User-Agent": "facebookexternalua"}
    async with (
        serving(guard, forward=bot.url) as url,
        session.post(
            URL(f"{url}/webhook?a=%2F+1&b", encoded=True), data=raw, headers=headers
        ) as answer,
    ):
        assert (answer.status, await answer.read()) == (200, b"thanks")

    [got] = bot.got
    assert got.line == "POST /its/own/path?a=%2F+1&b HTTP/1.1"
    assert got.body == raw
    assert got.headers["x-hub-signature-256"] == signed(raw)["X-Hub-Signature-256"]
    assert got.headers["x-other"] == "kept"
    assert got.headers["user-agent"] == "facebookexternalua"
    assert got.headers["host"] == urlsplit(bot.url).netloc


async def test_nothing_is_made_up(guard: FakeGuard, bot: Bot) -> None:
    """The bot gets no header that Meta did not send, but for host and length."""
    raw = body(ANN)
    async with serving(guard, forward=f"{bot.url}?key=1") as url:
        assert (await raw_post(url, raw, *lines(raw)))[0] == 200

    [got] = bot.got
    assert got.line == "POST /its/own/path?key=1 HTTP/1.1"
    assert set(got.headers) == {"host", "content-length", "x-hub-signature-256"}


async def test_two_queries_become_one(guard: FakeGuard, bot: Bot) -> None:
    """The query of the request is put behind that of the bot's URL."""
    raw = body(ANN)
    async with serving(guard, forward=f"{bot.url}?key=1") as url:
        reader, writer = await connect(url)
        head = ["POST /webhook?a=1 HTTP/1.1", "Host: x", f"Content-Length: {len(raw)}", *lines(raw)]
        writer.write("\r\n".join([*head, "", ""]).encode() + raw)
        assert (await status_of(reader))[0] == 200
        writer.close()

    assert bot.got[0].line == "POST /its/own/path?key=1&a=1 HTTP/1.1"


async def test_headers_of_one_connection_stay_there(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """Hop-by-hop headers, and those that `Connection` names, go no further, in either direction."""
    bot.answer = http(
        b"", "201 Created", Connection="keep-alive, X-Here", X_Here="1", Keep_Alive="1", X_There="1"
    )
    raw = body(ANN)
    headers = {
        "Connection": "keep-alive, X-Secret-Hop",
        "X-Secret-Hop": "1",
        "Keep-Alive": "timeout=5",
        "TE": "trailers",
        "Proxy-Authorization": "Basic eA==",
    }
    async with (
        serving(guard, forward=bot.url) as url,
        session.post(f"{url}/webhook", data=raw, headers=signed(raw) | headers) as answer,
    ):
        assert answer.status == 201
        assert answer.headers["X-There"] == "1"
        assert not {"X-Here", "Keep-Alive"} & set(answer.headers)

    assert not {"x-secret-hop", "keep-alive", "te", "proxy-authorization"} & set(bot.got[0].headers)


async def test_the_answer_of_the_bot_is_passed_on(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """Status, headers and body come back as they are, compressed or not."""
    page = gzip.compress(b"thank you")
    bot.answer = http(page, "418 Teapot", Content_Encoding="gzip", Set_Cookie="a=1", X_Bot="yes")
    raw = body(ANN)
    async with (
        serving(guard, forward=bot.url) as url,
        session.post(f"{url}/webhook", data=raw, headers=signed(raw)) as answer,
    ):
        assert (answer.status, answer.reason) == (418, "Teapot")
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Set-Cookie"] == "a=1"
        assert answer.headers["X-Bot"] == "yes"
        assert await answer.read() == page


async def test_headers_that_are_no_utf_8_do_no_harm(guard: FakeGuard, bot: Bot) -> None:
    """What aiohttp can read but not write costs neither the webhook nor the answer."""
    bot.answer = b"HTTP/1.1 200 OK\r\nX-Cafe: caf\xe9\r\nX-Tea: yes\r\nContent-Length: 0\r\n\r\n"
    raw = body(ANN)
    async with serving(guard, forward=bot.url) as url:
        status, head = await raw_post(url, raw, *lines(raw), "X-Cafe: caf\udce9", "X-Tea: yes")

    assert status == 200
    assert b"X-Tea: yes" in head
    assert b"X-Cafe: caf\r\n" in head
    assert bot.got[0].headers["x-tea"] == "yes"
    assert bot.got[0].headers["x-cafe"] == "caf"


async def test_a_redirect_is_not_followed(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """A redirect of the bot's is its answer; the webhook goes nowhere else."""
    bot.answer = http(b"", "307 Temporary Redirect", Location="/elsewhere")
    raw = body(ANN)
    async with (
        serving(guard, forward=bot.url) as url,
        session.post(
            f"{url}/webhook", data=raw, headers=signed(raw), allow_redirects=False
        ) as answer,
    ):
        assert (answer.status, answer.headers["Location"]) == (307, "/elsewhere")

    assert len(bot.got) == 1


async def test_the_bot_sees_only_what_the_guard_took(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """Neither forged webhooks, nor those that the store could not take, nor verifications."""
    async with serving(guard, forward=bot.url) as url:
        async with session.post(f"{url}/webhook", data=body(ANN)) as answer:
            assert answer.status == 401
        guard.answers = 503
        assert (await post(session, url, body(ANN)))[0] == 503
        async with session.get(f"{url}/webhook") as answer:
            assert answer.status == 403

    assert bot.got == []


async def test_a_bot_that_is_away_gets_it_later(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """502 makes Meta send the webhook again; the guard has taken note already."""
    async with raw_server(Bot().serve) as gone:
        pass
    async with serving(guard, forward=gone) as url:
        assert await post(session, url, body(ANN)) == (502, b"the bot cannot be reached")

    assert len(guard.seen) == 1


async def test_a_bot_that_hangs_is_not_waited_for(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """When the bot does not answer within the time-out, that is 504."""
    bot.act = asyncio.Event().wait
    async with serving(guard, forward=bot.url, forward_timeout=0.05) as url:
        assert await post(session, url, body(ANN)) == (504, b"the bot did not answer within 0.05 s")


@pytest.mark.parametrize(
    "answer", [http(b"x" * (2**20 + 1)), b"nonsense\r\n\r\n"], ids=["too large", "no HTTP"]
)
async def test_an_answer_that_cannot_be_passed_on_is_502(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession, answer: bytes
) -> None:
    """An answer of more than 1 MB, or that is no HTTP, is an error of the bot."""
    bot.answer = answer
    async with serving(guard, forward=bot.url) as url:
        assert (await post(session, url, body(ANN)))[0] == 502


async def test_an_answer_that_is_cut_off_is_502(
    guard: FakeGuard, session: aiohttp.ClientSession
) -> None:
    """When the bot's connection breaks within its answer, nothing of that is passed on."""

    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(b"thanks")[:-3])

    async with raw_server(cut_off) as bot_url, serving(guard, forward=bot_url) as url:
        assert (await post(session, url, body(ANN)))[0] == 502


# --------------------------------------------------------------------------- dropping


async def test_messages_of_denied_people_can_be_dropped(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """The bot gets the others only, all else unchanged, under a signature of its own secret."""
    guard.deny_list.denied = {ANN}
    old = {"X-Hub-Signature": "sha1=0"}
    async with serving(guard, forward=bot.url, drop_denied=True) as url:
        assert (await post(session, url, body(ANN, BEN, ANN, other=[1]), **old))[0] == 200

    [got] = bot.got
    assert orjson.loads(got.body) == orjson.loads(body(BEN, other=[1]))
    assert got.headers["x-hub-signature-256"] == signed(got.body)["X-Hub-Signature-256"]
    assert "x-hub-signature" not in got.headers


async def test_a_webhook_of_others_is_not_touched(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """If nobody in it is denied the bot gets it byte for byte."""
    guard.deny_list.denied = {ANN}
    raw = b"  " + body(BEN, "4915112345678")
    async with serving(guard, forward=bot.url, drop_denied=True) as url:
        assert (await post(session, url, raw))[0] == 200

    assert bot.got[0].body == raw


async def test_a_webhook_of_denied_people_ends_here(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """If nothing is left the answer is 200, and the bot is not asked."""
    guard.deny_list.denied = {ANN}
    async with serving(guard, forward=bot.url, drop_denied=True) as url:
        assert (await post(session, url, body(ANN)))[0] == 200

    assert guard.seen == [body(ANN)]
    assert bot.got == []


async def test_what_is_too_deep_to_write_is_refused(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """A body that could be read, but not be written without the denied, is answered with 400."""
    guard.deny_list.denied = {ANN}
    raw = body(ANN, BEN, deep="?").replace(b'"?"', b"[" * 500 + b"]" * 500)
    async with serving(guard, forward=bot.url, drop_denied=True) as url:
        assert (await post(session, url, raw))[0] == 400

    assert bot.got == []


async def test_without_the_list_nothing_is_forwarded(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession
) -> None:
    """If nobody can say who is denied, Meta is asked to send it again."""
    guard.deny_list.away = True
    async with serving(guard, forward=bot.url, drop_denied=True) as url:
        assert (await post(session, url, body(ANN)))[0] == 503

    assert bot.got == []


@pytest.mark.parametrize("drop_denied", [False, True])
async def test_an_outage_need_not_silence_the_bot(
    guard: FakeGuard, bot: Bot, session: aiohttp.ClientSession, drop_denied: bool
) -> None:
    """With `on_store_error="pass"` the bot gets, and answers, what the store could not take."""
    guard.answers, guard.deny_list.away = 503, True
    settings: dict[str, Any] = {"drop_denied": drop_denied, "on_store_error": "pass"}
    async with serving(guard, forward=bot.url, **settings) as url:
        assert await post(session, url, body(ANN)) == (200, b"thanks")

    assert bot.got[0].body == body(ANN)


async def test_the_whole_way(bot: Bot, tmp_path: Path) -> None:
    """Whoever is denied is blocked when they write; the bot hears of the others."""
    with Sandbox(app_secret=SECRET) as sandbox:
        deny_list = DenyList(SqliteStore(tmp_path / "deny.db"))
        async with (
            Guard([Account(**sandbox.credentials)], deny_list, webhook=WEBHOOK) as guard,
            serving(guard, forward=bot.url, drop_denied=True) as url,
        ):
            await deny_list.add(["+1 650 555 1234"])
            sandbox.post_webhooks_to(f"{url}/webhook")
            sandbox.message_from(ANN)
            sandbox.message_from(BEN)
            await asyncio.to_thread(sandbox.wait_delivered)
            await until(lambda: sandbox.blocklist() == {ANN})

    [got] = bot.got
    assert got.body in {webhook.body for webhook in sandbox.webhooks}
    assert BEN.encode() in got.body


# --------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:3000",
        "ftp://127.0.0.1",
        "http://",
        "http://x:0",
        "http://x:99999",
        "http://[",
        "http://a:b@x/",
        "http://x/#y",
        "http://x/\n",
    ],
)
def test_what_is_no_url_cannot_be_forwarded_to(guard: FakeGuard, url: str) -> None:
    """A wrong URL is an error before anything is served; it says what is wanted."""
    with pytest.raises(ValueError, match="^forward: must be the URL of the bot's webhook"):
        make_app(guard, webhook=WEBHOOK, forward=url)


@pytest.mark.parametrize(
    ("error", "settings"),
    [
        (TypeError, {"forward": 3000}),
        (ValueError, {"drop_denied": True}),
        (ValueError, {"on_store_error": "pass"}),
        (ValueError, {"on_store_error": "ignore"}),
        (ValueError, {"memory": 1000}),
        (ValueError, {"read_timeout": -1}),
        (TypeError, {"forward_timeout": "10"}),
    ],
)
def test_wrong_settings_are_named(
    guard: FakeGuard, error: type[Exception], settings: dict[str, Any]
) -> None:
    """An argument that makes no sense is an error that begins with its name."""
    with pytest.raises(error, match=f"^{next(iter(settings))}: "):
        make_app(guard, webhook=WEBHOOK, **settings)
