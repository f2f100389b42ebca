"""Each glitch spoils the answer in its way, and takes effect or not as it says."""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from blockusers.sandbox import Glitch, glitches

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.support import Api

ANN, BEN = "16505550001", "16505550002"
NUMBER_ID = "106540352242922"


def effect(api: Api) -> bool:
    return ANN in api.sandbox.blocklist()


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize(
    ("make", "status", "start"),
    [
        (lambda effect: glitches.html(502, effect=effect), 502, b"<!DOCTYPE html>"),
        (lambda effect: glitches.html(429, effect=effect), 429, b"<!DOCTYPE html>"),
        (lambda effect: glitches.empty(effect=effect), 400, b""),
        (lambda effect: glitches.answer(200, [1], effect=effect), 200, b"[1]"),
        (lambda effect: glitches.answer(200, "text", effect=effect), 200, b"text"),
        (lambda effect: glitches.answer(500, b"\xff", effect=effect), 500, b"\xff"),
    ],
)
def test_canned_answers(
    api: Api, *, make: Callable[[bool], Glitch], status: int, start: bytes, takes_effect: bool
) -> None:
    """They come in both kinds: in place of the request, or after it was carried out."""
    glitch = make(takes_effect)
    api.sandbox.glitch(glitch)
    reply = api.post(ANN)

    assert status == reply.status
    assert reply.body.startswith(start)
    assert takes_effect is glitch.effect is effect(api)
    assert api.post(ANN).status == 200


def test_redirect(api: Api) -> None:
    """The client is sent elsewhere, and nothing is carried out."""
    api.sandbox.glitch(glitches.redirect("http://127.0.0.1:9/elsewhere"))
    reply = api.post(ANN)

    assert (reply.status, reply.headers["Location"]) == (307, "http://127.0.0.1:9/elsewhere")
    assert not effect(api)


@pytest.mark.parametrize(
    ("glitch", "takes_effect"), [(glitches.reset_before(), False), (glitches.reset_after(), True)]
)
def test_resets(api: Api, *, glitch: Glitch, takes_effect: bool) -> None:
    """The connection is reset, not closed, and the request is seen without an answer."""
    api.sandbox.glitch(glitch)
    with pytest.raises(ConnectionResetError):
        api.post(ANN)
    [seen] = api.sandbox.requests

    assert takes_effect is glitch.effect is effect(api)
    assert (None, None, glitch.name) == (seen.status, seen.code, seen.glitch)
    assert seen.users == (ANN,) if takes_effect else seen.users == ()


def test_a_reset_for_a_user_waits_for_the_body(api: Api) -> None:
    """Who is named can only be known once the request is read; still nothing is carried out."""
    api.sandbox.glitch(glitches.reset_before(), user=f"+{ANN}")

    assert api.post(BEN).added == [BEN]
    with pytest.raises(ConnectionResetError):
        api.post(BEN, ANN)
    assert {BEN} == api.sandbox.blocklist()


def test_reset_midway(api: Api) -> None:
    """A part of the answer comes, and then the reset."""
    api.sandbox.glitch(glitches.reset_midway())
    with pytest.raises(ConnectionResetError):
        api.post(ANN)

    assert api.sandbox.requests[0].status == 200
    assert effect(api)


@pytest.mark.parametrize(
    ("glitch", "takes_effect"), [(glitches.hang_before(), False), (glitches.hang_after(), True)]
)
async def test_hanging(api: Api, *, glitch: Glitch, takes_effect: bool) -> None:
    """No answer comes until the client gives up."""
    api.sandbox.glitch(glitch)
    url = f"{api.sandbox.url}/v25.0/{NUMBER_ID}/block_users"
    body = {"messaging_product": "whatsapp", "block_users": [{"user": ANN}]}
    async with aiohttp.ClientSession(headers=api.token) as session:
        with pytest.raises(TimeoutError):
            await session.post(url, json=body, timeout=aiohttp.ClientTimeout(total=0.1))
        async with session.post(url, json=body | {"block_users": [{"user": BEN}]}) as response:
            assert response.status == 200

    assert takes_effect is glitch.effect is effect(api)
    assert [seen.status for seen in api.sandbox.requests] == [None, 200]


@pytest.mark.parametrize("glitch", [glitches.hang_before(), glitches.hang_after()])
def test_stopping_ends_what_hangs(api: Api, glitch: Glitch) -> None:
    """A hanging client is cut off at once when the sandbox stops."""
    api.sandbox.glitch(glitch)
    connection = api.get_open()
    api.wait_for_glitch(glitch.name)
    begun = time.monotonic()
    api.sandbox.stop()

    assert time.monotonic() - begun < 0.5
    with pytest.raises(ConnectionResetError):
        connection.getresponse()
    connection.close()


def test_slow(api: Api) -> None:
    """The right answer comes in small pieces."""
    api.sandbox.glitch(glitches.slow(pause=0, piece=7))

    assert api.post(ANN).added == [ANN]


def test_slow_pieces_come_apart(api: Api) -> None:
    """There is time between them, and the sandbox does not wait for it to stop."""
    api.sandbox.glitch(glitches.slow(pause=60))
    connection = api.get_open()
    response = connection.getresponse()

    assert response.read(1) == b"{"
    api.sandbox.stop()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    connection.close()


def test_truncated(api: Api) -> None:
    """Half of the JSON comes in a well-formed response."""
    api.sandbox.glitch(glitches.truncated())
    reply = api.post(ANN)

    assert len(reply.body) == int(reply.headers["Content-Length"])
    with pytest.raises(ValueError, match=r".+"):
        assert reply.json
    assert effect(api)


def test_wrong_headers(api: Api) -> None:
    """The right JSON comes under a wrong name."""
    api.sandbox.glitch(glitches.wrong_type())
    api.sandbox.glitch(glitches.wrong_encoding())
    replies = [api.post(ANN), api.post(ANN)]

    assert replies[0].headers["Content-Type"] == "text/html"
    assert replies[1].headers["Content-Encoding"] == "gzip"
    assert [reply.added for reply in replies] == [[ANN]] * 2


def test_too_short_a_body(api: Api) -> None:
    """More bytes are announced than come."""
    api.sandbox.glitch(glitches.wrong_length(by=10))
    with pytest.raises(http.client.IncompleteRead) as caught:
        api.post(ANN)

    assert caught.value.expected == 10
    assert effect(api)


def test_too_long_a_body(api: Api) -> None:
    """Fewer bytes are announced than come."""
    api.sandbox.glitch(glitches.wrong_length(by=-10))

    with pytest.raises(ValueError, match=r".+"):
        assert api.post(ANN).json
    assert effect(api)


def test_an_announced_length_is_never_negative(api: Api) -> None:
    """That would be another glitch."""
    api.sandbox.glitch(glitches.wrong_length(by=-10_000))

    assert api.post(ANN).body == b""


def test_oversized(api: Api) -> None:
    """The answer is as large as was asked for, and still valid."""
    api.sandbox.glitch(glitches.oversized(200_000))
    api.sandbox.glitch(glitches.oversized(1))
    replies = [api.post(ANN), api.post(ANN)]

    assert len(replies[0].body) == 200_000
    assert [reply.added for reply in replies] == [[ANN]] * 2


def test_leaving_an_oversized_answer_does_no_harm(api: Api) -> None:
    """A client may hang up in the middle; others are served on."""
    api.sandbox.glitch(glitches.oversized())
    parts = urlsplit(api.sandbox.url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(
            f"GET /v25.0/{NUMBER_ID}/block_users HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        assert connection.recv(100)

    assert api.post(ANN).added == [ANN]


def test_idle_close(api: Api) -> None:
    """The connection was to be kept, and is closed after a good answer."""
    api.sandbox.glitch(glitches.idle_close())
    connection = api.get_open()
    response = connection.getresponse()

    assert response.read() == b'{"data":[]}'
    assert response.headers["Connection"] is None
    assert connection.sock.recv(1) == b""
    connection.close()


def test_at_chosen_requests(api: Api) -> None:
    """Each request that is named by its number is struck."""
    api.post(ANN)
    api.sandbox.glitch(glitches.html(503), at=[2, 4])
    api.sandbox.glitch(glitches.html(502), at=3)
    statuses = [api.post(ANN).status for _ in range(4)]

    assert statuses == [503, 502, 503, 200]
    assert [seen.number for seen in api.sandbox.requests] == [1, 2, 3, 4, 5]


def test_by_method(api: Api) -> None:
    """Only that method is struck."""
    api.sandbox.glitch(glitches.html(503), method="delete")

    assert [api.get().status, api.post(ANN).status, api.delete(ANN).status] == [200, 200, 503]


def test_a_number_of_times_or_for_ever(api: Api) -> None:
    """A glitch strikes once unless told otherwise; the first that fits is played."""
    api.sandbox.glitch(glitches.html(429))
    api.sandbox.glitch(glitches.html(502), times=2)
    api.sandbox.glitch(glitches.html(503), times=None)

    assert [api.get().status for _ in range(5)] == [429, 502, 502, 503, 503]


def test_by_chance(serve: Callable[..., Api]) -> None:
    """The same seed strikes the same requests, and another seed others."""

    def run(seed: int) -> list[int]:
        api = serve()
        api.sandbox.glitch(glitches.html(), times=None, probability=0.5, seed=seed)
        return [api.get().status for _ in range(20)]

    assert {200, 502} == set(run(1))
    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("wrong", [{"times": 0}, {"probability": 1.1}, {"probability": -0.1}])
def test_nonsense_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    """A glitch that can never strike fails where it is scripted."""
    with pytest.raises(ValueError, match=r".+"):
        api.sandbox.glitch(glitches.html(), **wrong)


def test_a_glitch_is_called(api: Api) -> None:
    """A glitch without its brackets is an error at once, not at the next request."""
    with pytest.raises(TypeError, match="call it"):
        api.sandbox.glitch(glitches.reset_after)
