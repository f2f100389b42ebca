"""The server as an object: starting, stopping, and what it tells of itself."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from blockusers.sandbox import Rules, Sandbox, glitches
from tests.sandbox.support import Api

if TYPE_CHECKING:
    from collections.abc import Callable

ANN = "16505550001"
NUMBER_ID = "106540352242922"


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "blockusers-sandbox"]


async def list_blocked(sandbox: Sandbox) -> Any:
    headers = {"Authorization": f"Bearer {sandbox.credentials['access_token']}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{sandbox.url}/v25.0/{NUMBER_ID}/block_users") as response,
    ):
        return await response.json()


async def test_it_serves_async_code() -> None:
    """`async with` starts it, and the end of the block stops it without a trace."""
    async with Sandbox() as sandbox:
        assert await list_blocked(sandbox) == {"data": []}

    assert threads() == []
    with pytest.raises(aiohttp.ClientConnectorError):
        await list_blocked(sandbox)


def test_it_asks_nothing_of_the_callers_loop() -> None:
    """Starting awaits nothing, so `async with` works under any async library."""
    with pytest.raises(StopIteration) as started:
        Sandbox().__aenter__().send(None)
    sandbox = started.value.value

    assert len(threads()) == 1
    sandbox.stop()


def test_it_serves_plain_code() -> None:
    """`with` does the same, in the middle of blocking calls."""
    with Sandbox() as sandbox:
        request = urllib.request.Request(
            f"{sandbox.url}/block_users",
            headers={"D360-API-KEY": sandbox.credentials["access_token"]},
        )
        assert urllib.request.urlopen(request).read() == b'{"data":[]}'

    assert threads() == []


def test_stopping_is_prompt(api: Api) -> None:
    """Kept connections, half-sent requests and deaf readers do not hold it up."""
    api.sandbox.glitch(glitches.oversized(), at=2)
    kept, deaf = api.get_open(), api.get_open()
    kept.getresponse().read()
    parts = urlsplit(api.sandbox.url)
    with socket.create_connection((parts.hostname, parts.port)) as half:
        half.sendall(b"POST /block_users HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        api.wait_for_glitch("oversized")
        begun = time.monotonic()
        api.sandbox.stop()

        assert time.monotonic() - begun < 1.5
    kept.close()
    deaf.close()


def test_it_can_stop_and_start_again() -> None:
    """The address and all that it knows outlast a stop; stopping twice does no harm."""
    sandbox = Sandbox(Rules(window=None))
    with sandbox:
        url = sandbox.url
        sandbox.block(ANN)
    sandbox.stop()
    with sandbox:
        assert url == sandbox.url
        assert {ANN} == sandbox.blocklist()
        with pytest.raises(RuntimeError, match="already"):
            sandbox.start()


def test_a_port_that_is_taken() -> None:
    """The error reaches the caller, and no thread is left."""
    with Sandbox() as sandbox:
        port = urlsplit(sandbox.url).port or 0
        other = Sandbox(port=port)
        with pytest.raises(OSError, match="in use"):
            other.start()
        assert len(threads()) == 1


def test_there_is_no_url_before_the_start() -> None:
    """The port is not known yet."""
    with pytest.raises(RuntimeError, match="not been started"):
        assert Sandbox().url


def test_the_url_of_another_host() -> None:
    """An IPv6 address stands in brackets."""
    assert Sandbox(host="::1", port=8064).url == "http://[::1]:8064"


def test_credentials(api: Api) -> None:
    """They are keywords for an account; a secret is among them only if there is one."""
    assert {
        "phone_number_id": NUMBER_ID,
        "access_token": api.sandbox.rules.access_token,
        "base_url": api.sandbox.url,
    } == api.sandbox.credentials


def test_an_unknown_business_number(api: Api) -> None:
    """Its blocklist cannot be asked for, and nobody can write to it."""
    with pytest.raises(KeyError):
        api.sandbox.blocklist("1")
    with pytest.raises(KeyError):
        api.sandbox.message_from(ANN, phone_number_id="1")
    with pytest.raises(KeyError):
        api.sandbox.identity_changed(ANN, "US.1", phone_number_id="1")


@pytest.mark.parametrize("user", ["", "+1 650 555 0001", "US.ENT.1", "abc"])
def test_nobody_is_put_on_the_list_by_mistake(api: Api, user: str) -> None:
    """What is no user is refused, instead of standing there for ever."""
    with pytest.raises(ValueError, match="a phone number"):
        api.sandbox.block(user)


def test_latency(serve: Callable[..., Api]) -> None:
    """The effect comes first, then the wait, then the answer."""
    api = serve(latency=0.05)
    begun = time.monotonic()
    reply = api.post(ANN)

    assert reply.added == [ANN]
    assert time.monotonic() - begun >= 0.05


def test_what_it_saw(api: Api) -> None:
    """Each request is written down in order, with what was answered."""
    api.post(f"+{ANN}", "US.1", "abc")
    api.get("limit=3")
    api.send("POST", body='{"block_users": [1, {"user": 2}, {"user": "3"}]}')
    api.send("POST", body="[]")
    first, second, third, fourth = api.sandbox.requests

    assert ((f"+{ANN}", "US.1", "abc"), 400, 139100) == (first.users, first.status, first.code)
    assert (2, "GET", f"/v25.0/{NUMBER_ID}/block_users") == (
        second.number,
        second.method,
        second.path,
    )
    assert (second.query["limit"], second.status, second.code) == ("3", 200, None)
    assert second.headers["authorization"].startswith("Bearer ")
    assert (third.users, third.code) == (("3",), 100)
    assert (fourth.users, fourth.code) == ((), 100)


def test_it_remembers_the_last_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox that runs for days does not grow; the numbers go on, also for glitches."""
    monkeypatch.setattr("blockusers.sandbox.handler.KEPT", 2)
    with Sandbox(Rules(window=None)) as sandbox:
        sandbox.glitch(glitches.html(), at=4)
        statuses = [Api(sandbox).get().status for _ in range(4)]

    assert statuses == [200, 200, 200, 502]
    assert [seen.number for seen in sandbox.requests] == [3, 4]


def test_its_records_keep_secrets(serve: Callable[..., Api]) -> None:
    """A `repr`, as a failed assertion prints it, shows no token, no proof and no number."""
    api = serve(app_secret="s")
    api.send("POST", f"/v25.0/{ANN}/block_users?appsecret_proof=proof123", '{"block_users": []}')
    api.send("POST", body=f'{{"block_users": [{{"user": "{ANN}"}}]}}')
    text = repr(api.sandbox.requests)

    assert "POST" in text
    assert api.sandbox.credentials["access_token"] not in text
    assert "proof123" not in text
    assert ANN not in text


def test_it_can_be_used_from_many_threads(api: Api) -> None:
    """Nothing is lost and no number is given twice."""
    workers = [
        threading.Thread(target=lambda row=row: [api.post(f"1650{row}00{n:04}") for n in range(5)])
        for row in range(8)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(api.sandbox.blocklist()) == 40
    assert list(range(1, 41)) == [seen.number for seen in api.sandbox.requests]
