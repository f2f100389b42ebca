"""The session layer: exact bytes out, errors of ours back, secrets nowhere else."""

from __future__ import annotations

import asyncio
import gc
import gzip
import hashlib
import hmac
import logging
import ssl
import time
import traceback
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from aioresponses import aioresponses
from yarl import URL

from blockusers import (
    Account,
    ClientClosed,
    ConnectionFailed,
    InvalidResponse,
    Operation,
    RequestTimeout,
    TokenUnavailable,
    TransportError,
)
from blockusers.protocol.messages import Request
from blockusers.protocol.session import Session
from blockusers.protocol.wire import build_listing, build_update
from tests.support import PHONE_NUMBER_ID, TOKEN, http, identifiers, raw_server, read_request

PATH = f"/v25.0/{PHONE_NUMBER_ID}/block_users"
ACCOUNT = Account(PHONE_NUMBER_ID, TOKEN)
BLOCK_ONE = build_update(Operation.BLOCK, identifiers("+16505551234"))
UNBLOCK_ONE = build_update(Operation.UNBLOCK, identifiers("+16505551234"))
LIST = build_listing(100, "QVFI+/=", None)
BODY = b'{"messaging_product":"whatsapp","block_users":[{"user":"+16505551234"}]}'


EMPTY = http({})
OURS = partial(Account, PHONE_NUMBER_ID, TOKEN)
Heard = list[tuple[str, dict[str, str], bytes]]


@asynccontextmanager
async def answered(
    answer: bytes = EMPTY, account: Callable[..., Account] = OURS
) -> AsyncIterator[tuple[Session, Heard]]:
    """A session with a server that gives one answer to all, and what that server heard."""
    heard: Heard = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.append(await read_request(reader))
            writer.write(answer)

    async with raw_server(handler) as url, Session(account(base_url=url)) as session:
        yield session, heard


# --------------------------------------------------------------------------- what goes out


@pytest.mark.parametrize(
    ("request_", "method"), [(BLOCK_ONE, "POST"), (UNBLOCK_ONE, "DELETE")], ids=["block", "unblock"]
)
async def test_bytes_on_the_wire(request_: Request, method: str) -> None:
    """What arrives is the one request that was built, with these headers and no others."""
    async with answered() as (session, heard):
        await session.send(request_)

    ((line, headers, body),) = heard
    assert line == f"{method} {PATH} HTTP/1.1"
    assert body == BODY
    assert headers.pop("host") in session.url
    assert headers.pop("user-agent").startswith("blockusers/")
    assert headers == {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "authorization": f"Bearer {TOKEN}",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
    }


async def test_reply_bytes() -> None:
    """Status, headers and body come back as they are, nothing is interpreted."""
    with aioresponses() as mocked:
        url = f"https://graph.facebook.com{PATH}"
        mocked.post(url, status=418, body=b"\xff<html>", headers={"Retry-After": "3"})
        async with Session(ACCOUNT) as session:
            reply = await session.send(BLOCK_ONE)

    assert (reply.status, reply.body) == (418, b"\xff<html>")
    assert reply.headers["retry-after"] == "3"


async def test_cursor_is_escaped() -> None:
    """A listing is a GET without a body, and a cursor arrives as it is, whatever it holds."""
    async with answered() as (session, heard):
        await session.send(LIST)

    ((line, headers, body),) = heard
    assert body == b""
    assert "content-type" not in headers
    assert URL(line.split()[1], encoded=True).query == {"limit": "100", "after": "QVFI+/="}


async def test_appsecret_proof() -> None:
    """With an app secret the request is signed with the token's HMAC-SHA256."""
    proof = hmac.new(b"s3cret", TOKEN.encode(), hashlib.sha256).hexdigest()
    account = partial(Account, PHONE_NUMBER_ID, TOKEN, app_secret="s3cret")
    async with answered(account=account) as (session, heard):
        await session.send(BLOCK_ONE)

    assert heard[0][0] == f"POST {PATH}?appsecret_proof={proof} HTTP/1.1"


async def test_dialog360() -> None:
    """360dialog has no version and no id in its address, and a header of its own."""
    account = partial(Account.dialog360, "key360", name="shop")
    async with answered(account=account) as (session, heard):
        await session.send(BLOCK_ONE)

    ((line, headers, _),) = heard
    assert line == "POST /block_users HTTP/1.1"
    assert headers["d360-api-key"] == "key360"
    assert "authorization" not in headers


async def test_token_functions() -> None:
    """A token function, plain or async, is asked before each request."""
    tokens = iter(["first", "second"])

    async def later() -> str:
        return next(tokens)

    for source, token in ((lambda: next(tokens), "first"), (later, "second")):
        async with answered(account=partial(Account, PHONE_NUMBER_ID, source)) as (session, heard):
            await session.send(BLOCK_ONE)
        assert heard[0][1]["authorization"] == f"Bearer {token}"


@pytest.mark.parametrize(
    "bad",
    [lambda: "", lambda: "a b", lambda: None, lambda: 1 / 0],
    ids=["empty", "blank", "None", "raises"],
)
async def test_token_function_fails(bad: object) -> None:
    """A token function that fails, or returns no token, is a TokenUnavailable: nothing is sent."""
    async with answered(account=partial(Account, PHONE_NUMBER_ID, bad)) as (session, heard):
        with pytest.raises(TokenUnavailable, match="access token") as caught:
            await session.send(BLOCK_ONE)

    assert not caught.value.sent
    assert caught.value.__cause__ is not None
    assert heard == []


async def failing(error: Exception) -> TransportError:
    """Return what comes of a request for which aiohttp raises *error*."""
    with aioresponses() as mocked:
        mocked.post(f"https://graph.facebook.com{PATH}", exception=error)
        async with Session(ACCOUNT) as session:
            with pytest.raises(TransportError) as caught:
                await session.send(BLOCK_ONE)
    return caught.value


@pytest.mark.parametrize(
    ("exception", "expected", "was_sent"),
    [
        (aiohttp.ServerDisconnectedError(), ConnectionFailed, True),
        (aiohttp.ClientOSError(104, "reset"), ConnectionFailed, True),
        (aiohttp.ClientPayloadError("cut"), InvalidResponse, True),
        (aiohttp.ClientResponseError(None, ()), InvalidResponse, True),
        (aiohttp.ClientHttpProxyError(None, (), status=407), ConnectionFailed, False),
        (aiohttp.ConnectionTimeoutError(), RequestTimeout, False),
        (TimeoutError(), RequestTimeout, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_errors_become_ours(
    exception: Exception, expected: type[TransportError], was_sent: bool
) -> None:
    """Each of aiohttp's errors becomes one of ours, which knows whether the request was sent."""
    error = await failing(exception)

    assert type(error) is expected
    assert error.sent is was_sent
    assert error.cause == type(exception).__name__
    assert error.errno == getattr(exception, "errno", None)


SLASHED = f"{TOKEN}/+=|x"


@pytest.mark.parametrize(
    "echo",
    [
        SLASHED,
        SLASHED.replace("/", "\\/"),
        SLASHED.replace("/", "\\u002F"),
        "".join(f"\\u{ord(char):04x}" for char in SLASHED),
    ],
    ids=["plain", "escaped slash", "escaped as unicode", "all escaped"],
)
async def test_secret_echo(echo: str) -> None:
    """A token that the answer repeats is redacted, as Meta does repeat malformed ones."""
    body = f'{{"error":{{"message":"Malformed \\\\\\"access token\\" {echo}"}}}}'
    account = partial(Account, PHONE_NUMBER_ID, SLASHED)
    async with answered(http(body.encode(), "401 Unauthorized"), account) as (session, _):
        reply = await session.send(BLOCK_ONE)

    assert reply.body == rb'{"error":{"message":"Malformed \\\"access token\" [secret]"}}'


async def test_an_answer_with_escapes() -> None:
    """An answer without a secret in it stays as it is, byte for byte."""
    body = rb'{"error":{"message":"\u00e9\u0041\/\"\\u0041"}}'
    async with answered(http(body, "401 Unauthorized")) as (session, _):
        reply = await session.send(BLOCK_ONE)

    assert reply.body == body


# --------------------------------------------------------------------------- borrowed sessions


async def test_hostile_borrowed_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a borrowed session sets, the same request goes out and the same answer comes back.

    It stays open afterwards.
    """
    heard = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heard.append(await read_request(reader))
            body = gzip.compress(b'{"error":{}}')
            writer.write(http(body, "302 Found", Content_Encoding="gzip", Location="/elsewhere"))

    async def spy(request: aiohttp.ClientRequest, handler: object) -> None:
        raise AssertionError("a middleware of the session was called")

    async with raw_server(handler) as url:
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url=url)
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login eve password stolen\n")
        monkeypatch.setenv("NETRC", str(netrc))
        hostile = aiohttp.ClientSession(
            "https://example.invalid",
            headers={
                "Authorization": "Basic eve",
                "Content-Encoding": "br",
                "Content-Type": "text/plain",
                "Expect": "nothing",
                "Host": "example.invalid",
                "X-Other": "1",
            },
            cookies={"session": "eve"},
            raise_for_status=True,
            timeout=aiohttp.ClientTimeout(total=0.000001),
            auto_decompress=False,
            middlewares=(spy,),
            skip_auto_headers=["Content-Type", "User-Agent"],
            trust_env=True,
        )
        del hostile.headers["Authorization"]  # aiohttp itself refuses it beside ~/.netrc
        async with Session(account) as own:
            expected = await own.send(BLOCK_ONE)
        async with hostile:
            async with Session(account, session=hostile) as borrowed:
                reply = await borrowed.send(BLOCK_ONE)
            assert not hostile.closed

    assert (reply.status, reply.body) == (expected.status, expected.body) == (302, b'{"error":{}}')
    assert heard[0] == heard[1]
    assert len(heard) == 2


async def test_borrowed_session_with_auth() -> None:
    """Credentials of a borrowed session are neither sent nor in the way."""
    heard = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(http({}))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        session = aiohttp.ClientSession(auth=aiohttp.BasicAuth("eve", "stolen"))
    async with raw_server(handler) as url, session:
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url=url)
        async with Session(account, session=session) as borrowed:
            await borrowed.send(LIST)

    assert heard[0][1]["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("request_", [BLOCK_ONE, UNBLOCK_ONE, LIST], ids=["POST", "DELETE", "GET"])
@pytest.mark.parametrize("borrow", [False, True])
async def test_one_send_one_request(request_: Request, borrow: bool) -> None:
    """A reset on a kept-alive connection is reported, not answered with a second request."""
    heard = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(http({}))
        heard.append(await read_request(reader))
        writer.transport.abort()

    lent = aiohttp.ClientSession()
    async with raw_server(handler) as url, lent:
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url=url)
        async with Session(account, session=lent if borrow else None) as session:
            await session.send(request_)
            with pytest.raises(ConnectionFailed) as caught:
                await session.send(request_)

    assert caught.value.sent
    assert len(heard) == 2


async def test_redirects_are_not_followed() -> None:
    """The token goes to the base URL and nowhere else."""
    heard = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("followed the redirect")

    async with raw_server(elsewhere) as other:

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await read_request(reader))
            writer.write(http(b"", "307 Temporary Redirect", Location=f"{other}/x"))

        async with (
            raw_server(handler) as url,
            Session(Account(PHONE_NUMBER_ID, TOKEN, base_url=url)) as session,
        ):
            reply = await session.send(BLOCK_ONE)

    assert reply.status == 307
    assert len(heard) == 1


@pytest.mark.parametrize("announced", [True, False])
async def test_oversized_answer(announced: bool) -> None:
    """An answer with more bytes than its request allows is not read to its end."""
    size = 1024 * LIST.largest_reply
    written = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        head = f"Content-Length: {size}" if announced else "Connection: close"
        writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        while True:
            writer.write(b" " * 65536)
            written += 65536
            await writer.drain()

    async with (
        raw_server(handler) as url,
        Session(Account(PHONE_NUMBER_ID, TOKEN, base_url=url)) as session,
    ):
        with pytest.raises(InvalidResponse, match="larger than 4 MB"):
            await session.send(LIST)

    assert written < 4 * LIST.largest_reply


@pytest.mark.parametrize("size", [LIST.largest_reply, LIST.largest_reply + 1])
async def test_compressed_answer(size: int) -> None:
    """What a few bytes decompress to is bounded in the same way."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(gzip.compress(bytes(size)), Content_Encoding="gzip"))

    async with (
        raw_server(handler) as url,
        Session(Account(PHONE_NUMBER_ID, TOKEN, base_url=url)) as session,
    ):
        if size <= LIST.largest_reply:
            assert (await session.send(LIST)).body == bytes(size)
            return
        with pytest.raises(InvalidResponse, match="larger than 4 MB"):
            await session.send(LIST)


async def test_timeout_is_total() -> None:
    """An answer that trickles in is given up when the request's time is over."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await asyncio.sleep(0.01)

    async with raw_server(handler) as url:
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url=url)
        async with Session(account, request_timeout=0.1) as session:
            with pytest.raises(RequestTimeout, match="request_timeout") as caught:
                await session.send(BLOCK_ONE)

    assert caught.value.sent


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", InvalidResponse),
        (http(b"not gzip", Content_Encoding="gzip"), InvalidResponse),
        (http(gzip.compress(b"{}")[:-4], Content_Encoding="gzip"), InvalidResponse),
        (http(b"\x8b\x02\x80", Content_Encoding="br"), None),
        (b"SSH-2.0-OpenSSH\r\n\r\n", InvalidResponse),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", InvalidResponse),
        (b"", ConnectionFailed),
    ],
    ids=[
        "truncated",
        "undecodable",
        "half a gzip",
        "unknown encoding",
        "not HTTP",
        "huge header",
        "nothing",
    ],
)
async def test_broken_answers(answer: bytes, expected: type[TransportError] | None) -> None:
    """Truncated and undecodable answers are errors of ours; the request was sent."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)

    async with (
        raw_server(handler) as url,
        Session(Account(PHONE_NUMBER_ID, TOKEN, base_url=url)) as session,
    ):
        if expected is None:
            assert (await session.send(BLOCK_ONE)).body == b"\x8b\x02\x80"
            return
        with pytest.raises(expected) as caught:
            await session.send(BLOCK_ONE)

    assert caught.value.sent


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("https://no-such-host.invalid", "the host name is unknown"),
        ("https://127.0.0.1:{plain}", "TLS failed (wrong version number)"),
    ],
    ids=["refused", "DNS", "TLS"],
)
async def test_never_connected(base_url: str, why: str) -> None:
    """A connection that could not be made names the host and the reason; nothing was sent."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"this is not TLS\r\n")

    async with raw_server(handler) as url:
        account = Account(
            PHONE_NUMBER_ID, TOKEN, base_url=base_url.format(plain=url.rpartition(":")[2])
        )
        async with Session(account) as session:
            with pytest.raises(ConnectionFailed) as caught:
                await session.send(BLOCK_ONE)

    assert str(caught.value) == f"cannot reach {account.base_url}: {why}"
    assert not caught.value.sent


@pytest.mark.parametrize(
    ("exception", "said"),
    [
        (
            aiohttp.ClientConnectorCertificateError(
                SimpleNamespace(host="h", port=443, is_ssl=True), ssl.CertificateError()
            ),
            "cannot reach https://graph.facebook.com: TLS failed (",
        ),
        (
            aiohttp.ClientHttpProxyError(None, (), status=407),
            "cannot reach https://graph.facebook.com: the proxy answered HTTP 407",
        ),
        (
            aiohttp.ServerDisconnectedError(),
            "https://graph.facebook.com: the connection broke: the server closed it",
        ),
        (
            aiohttp.ClientOSError(104, "reset"),
            "https://graph.facebook.com: the connection broke: connection reset by peer",
        ),
    ],
    ids=["certificate", "proxy", "closed", "reset"],
)
async def test_why_there_is_no_answer(exception: Exception, said: str) -> None:
    """What went wrong is said in plain words, without the classes of other libraries."""
    assert str(await failing(exception)).startswith(said)


async def test_nothing_secret_in_the_chain() -> None:
    """No error that follows from aiohttp's has it, or anything secret, in its whole chain."""
    account = Account(PHONE_NUMBER_ID, TOKEN, app_secret="s3cret", base_url="http://127.0.0.1:1")
    async with Session(account) as session:
        with pytest.raises(ConnectionFailed) as caught:
            await session.send(BLOCK_ONE)

    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert TOKEN not in text
    assert "proof" not in text


PROXIED = ["http://api.invalid", "http://192.0.2.1:9"]


async def test_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of our own goes through the proxy that the environment names.

    It does not where the environment excepts the host, nor ever to this machine itself.
    """
    heard = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(http({}))

    async with raw_server(proxy) as url:
        monkeypatch.setenv("http_proxy", url)
        monkeypatch.setenv("no_proxy", "direct.invalid")
        for base_url in PROXIED:
            account = Account(PHONE_NUMBER_ID, TOKEN, base_url=base_url, allow_http=True)
            async with Session(account) as session:
                await session.send(BLOCK_ONE)
        for base_url in ("http://direct.invalid", "http://127.0.0.1:9", "http://localhost:9"):
            account = Account(PHONE_NUMBER_ID, TOKEN, base_url=base_url, allow_http=True)
            async with Session(account) as session:
                with pytest.raises(ConnectionFailed):
                    await session.send(BLOCK_ONE)

    assert [line for line, _, _ in heard] == [
        f"POST {base_url}/v25.0/{PHONE_NUMBER_ID}/block_users HTTP/1.1" for base_url in PROXIED
    ]


async def test_proxy_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy may be named without its scheme."""
    heard = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await read_request(reader))
        writer.write(http({}))

    async with raw_server(proxy) as url:
        monkeypatch.setenv("http_proxy", url.removeprefix("http://"))
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url=PROXIED[0], allow_http=True)
        async with Session(account) as own:
            await own.send(BLOCK_ONE)

    assert len(heard) == 1


async def test_foreign_code_in_a_borrowed_session() -> None:
    """What code of a borrowed session raises becomes an error of ours, without its text."""

    async def spill(*_: object) -> None:
        raise RuntimeError(f"Authorization: Bearer {TOKEN}")

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(spill)
    async with aiohttp.ClientSession(trace_configs=[tracing]) as lent:
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url="http://127.0.0.1:9")
        async with Session(account, session=lent) as session:
            with pytest.raises(ConnectionFailed, match="RuntimeError") as caught:
                await session.send(BLOCK_ONE)

    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("error", [aiohttp.ClientError("secret=1"), asyncio.CancelledError()])
async def test_token_function_that_fetches(error: BaseException) -> None:
    """What a token function's own requests raise is not chained, and cancels nobody."""

    async def fetch() -> str:
        raise error

    async with Session(Account(PHONE_NUMBER_ID, fetch)) as session:
        with pytest.raises(TokenUnavailable, match="access token") as caught:
            await session.send(BLOCK_ONE)

    assert not caught.value.sent
    assert "secret" not in "".join(traceback.format_exception(caught.value))


async def test_closed_while_the_token_is_fetched() -> None:
    """A session that is closed before anything is sent says so."""

    async def slowly() -> str:
        await session.close()
        return TOKEN

    async with Session(Account(PHONE_NUMBER_ID, slowly)) as session:
        with pytest.raises(ClientClosed):
            await session.send(BLOCK_ONE)


async def test_our_timeout_while_connecting() -> None:
    """Time that runs out before there is a connection leaves the request unsent."""
    connector = aiohttp.TCPConnector(limit=1)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(60)

    async with raw_server(handler) as url, aiohttp.ClientSession(connector=connector) as lent:
        account = Account(PHONE_NUMBER_ID, TOKEN, base_url=url)
        async with (
            Session(account, session=lent, request_timeout=0.1) as first,
            Session(account, session=lent, request_timeout=0.02) as second,
        ):
            results = await asyncio.gather(
                first.send(BLOCK_ONE), second.send(BLOCK_ONE), return_exceptions=True
            )

    assert [type(result) for result in results] == [RequestTimeout, RequestTimeout]
    assert [result.sent for result in results] == [True, False]


@asynccontextmanager
async def hanging() -> AsyncIterator[Account]:
    """Serve an account whose requests are read and never answered."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(60)

    async with raw_server(handler) as url:
        yield Account(PHONE_NUMBER_ID, TOKEN, app_secret="s3cret" * 4, base_url=url)


async def test_the_time_covers_the_token_function() -> None:
    """A token function that hangs is given up with the request, which was not sent."""

    async def never() -> str:
        await asyncio.sleep(60)
        return TOKEN

    async with Session(Account(PHONE_NUMBER_ID, never), request_timeout=0.01) as session:
        with pytest.raises(RequestTimeout, match="no access token within 0.01 s") as caught:
            await session.send(BLOCK_ONE)

    assert not caught.value.sent


async def test_a_token_function_that_is_not_to_be_cancelled() -> None:
    """One that goes on although its time is over is left behind; the request has its time."""
    let_go = asyncio.Event()

    async def stubborn() -> str:
        while not let_go.is_set():
            with suppress(asyncio.CancelledError):
                await let_go.wait()
        return TOKEN

    async with Session(Account(PHONE_NUMBER_ID, stubborn), request_timeout=0.01) as session:
        with pytest.raises(RequestTimeout, match="no access token"):
            await session.send(BLOCK_ONE)
    let_go.set()


async def test_a_token_function_that_fails_as_its_time_runs_out() -> None:
    """An error of one that was given up is nobody's, and asyncio does not complain of it."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda *args: complaints.append(args))

    async def fail() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError

    async with Session(Account(PHONE_NUMBER_ID, fail), request_timeout=0.01) as session:
        with pytest.raises(RequestTimeout):
            await session.send(BLOCK_ONE)
    await asyncio.sleep(0)
    gc.collect()

    assert complaints == []


async def test_the_text_of_a_token_function_without_queries() -> None:
    """What a token function complains of is told, but for the queries of URLs, which hold secrets.

    Its own error, as the cause, is left as it is.
    """
    error = OSError("503 for 'https://id.example/token?client_secret=hush&x=1' from vault")

    async def fail() -> str:
        raise error

    async with Session(Account(PHONE_NUMBER_ID, fail)) as session:
        with pytest.raises(TokenUnavailable) as caught:
            await session.send(BLOCK_ONE)

    assert "503 for 'https://id.example/token?…' from vault (OSError)" in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("ours_first", [True, False])
async def test_cancelled_as_the_time_runs_out(ours_first: bool) -> None:
    """A cancellation in the very turn in which the time runs out is not lost."""
    loop = asyncio.get_running_loop()
    async with hanging() as account, Session(account, request_timeout=0.05) as session:
        sending = asyncio.create_task(session.send(BLOCK_ONE))
        await asyncio.sleep(0)  # its timer runs from here
        loop.call_later(0.06 if ours_first else 0.04, sending.cancel)
        loop.call_soon(time.sleep, 0.07)  # so that both are due in one turn
        with pytest.raises(asyncio.CancelledError):
            await sending


async def refused(session: Session) -> None:
    await session.close()
    await session.send(BLOCK_ONE)


async def timed_out(session: Session) -> None:
    await session.send(BLOCK_ONE)


async def cancelled(session: Session) -> None:
    sending = asyncio.create_task(session.send(BLOCK_ONE))
    asyncio.get_running_loop().call_later(0.02, sending.cancel)
    await sending


@pytest.mark.parametrize("fail", [refused, timed_out, cancelled])
async def test_no_secret_in_the_locals(fail: Callable[[Session], Awaitable[None]]) -> None:
    """No frame of a traceback has a secret among its locals, which error trackers record."""
    async with hanging() as account, Session(account, request_timeout=0.1) as session:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  # a cancellation is one, too
            await fail(session)

    assert not secrets_in(caught.value)


async def test_no_token_in_the_locals() -> None:
    """That holds for a token that cannot be one as well."""
    async with Session(Account(PHONE_NUMBER_ID, lambda: f"{TOKEN}\n")) as session:
        with pytest.raises(TokenUnavailable) as caught:
            await session.send(BLOCK_ONE)

    assert not secrets_in(caught.value)


def secrets_in(error: BaseException | None) -> list[str]:
    """Return the names of the locals of *error* and of those below it that show a secret."""
    if error is None:
        return []
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    ours = (frame for frame in frames if frame.f_code.co_filename != __file__)
    found = [
        name
        for frame in ours
        for name, value in frame.f_locals.items()
        if TOKEN in repr(value) or "appsecret_proof" in repr(value)
    ]
    return [*found, *secrets_in(error.__cause__), *secrets_in(error.__context__)]


# --------------------------------------------------------------------------- open and closed


async def test_closed() -> None:
    """A session that is not open, or that its owner closed, says so."""
    session = Session(ACCOUNT)
    with pytest.raises(ClientClosed):
        await session.send(BLOCK_ONE)

    lent = aiohttp.ClientSession()
    async with Session(ACCOUNT, session=lent) as session:
        await session.open()  # a second time changes nothing
        await lent.close()
        with pytest.raises(ClientClosed):
            await session.send(BLOCK_ONE)


async def test_closing_leaves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Closing closes the connections; no "Unclosed" warning follows."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(http({}))

    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        async with raw_server(handler) as url:
            account = Account(PHONE_NUMBER_ID, TOKEN, base_url=url)
            async with Session(account) as session:
                await session.send(BLOCK_ONE)
        del session
        gc.collect()

    assert "Unclosed" not in caplog.text
