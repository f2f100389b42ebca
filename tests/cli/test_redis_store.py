"""The commands of the deny list and the guard with `--store redis://…`."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest

from blockusers.cli.screen import Screen
from tests.redis_server import RedisServer
from tests.support import PHONE_NUMBER_ID, TOKEN

ANN = "+16505550001"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_the_list_is_in_redis(bare: Any, redis_url: str, how: str) -> None:
    """The commands work on the list in Redis, which needs no file to be there."""
    given = ["--store", redis_url] if how == "option" else []
    env = {} if how == "option" else {"BLOCKUSERS_REDIS_URL": redis_url}

    assert f"{redis_url}: 1 entry added" in bare("deny", "add", ANN, *given, **env).stderr
    assert bare("deny", "list", *given, **env).lines == [f"{ANN[1:]}\tdeny\t*\t\t\t"]
    assert bare("deny", "check", ANN, *given, **env).code == 0
    assert "1 entry removed" in bare("deny", "remove", ANN, *given, **env).stderr


def test_the_guard_is_in_redis(
    bare: Any, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guard opens the list in Redis, says so without a password, and stops."""
    say = Screen.say

    def press(screen: Screen, text: str, style: str = "") -> None:
        say(screen, text, style)
        if text == "Ctrl-C stops it.":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Screen, "say", press)
    credentials = {
        "WHATSAPP_ACCESS_TOKEN": TOKEN,
        "WHATSAPP_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
        "WHATSAPP_APP_SECRET": "0123456789abcdef0123456789abcdef",
        "WHATSAPP_VERIFY_TOKEN": "verify",
    }
    with own_redis.client() as client:
        client.config_set("requirepass", "secret")
    url = own_redis.url.replace("//", "//:secret@")
    ran = bare("guard", "--port", 0, BLOCKUSERS_REDIS_URL=url, **credentials)

    assert (ran.code, ran.stdout) == (0, "")
    shown = url.replace("secret", "***")
    assert f"deny list: {shown}, 0 entries" in ran.stderr
    assert "secret@" not in ran.stderr


def test_redis_is_away(bare: Any) -> None:
    """One line says what cannot be reached, without the password."""
    ran = bare("deny", "list", "--store", "redis://:secret@127.0.0.1:1/0")

    assert ran.code == 3
    assert ran.stderr.count("\n") == 1
    assert "redis://:***@127.0.0.1:1/0: cannot connect" in ran.stderr


def test_a_url_of_something_else(bare: Any) -> None:
    """A URL that is none of Redis is a wrong option."""
    ran = bare("deny", "list", "--store", "postgres://:secret@cache")

    assert ran.code == 2
    assert "--store: must begin with redis://, rediss:// or unix://" in ran.stderr
    assert "secret" not in ran.stderr


def test_without_the_extra(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where redis-py is not installed, the command says how to get it."""
    for name in ("redis", "redis_connection", "redis_intents", "redis_queue", "redis_errors"):
        monkeypatch.delitem(sys.modules, f"blockusers.guard.stores.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    ran = bare("deny", "list", "--store", "redis://cache")

    assert ran.code == 2
    assert 'pip install "blockusers[redis]"' in ran.stderr
