"""The webhook service of the command line: what it needs, what it prints, how it ends."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import attrs
import pytest
import typer
from rich.console import Console

from blockusers import Account, Operation
from blockusers.cli import process
from blockusers.cli.deny_list import ListPlace
from blockusers.cli.guard_demo import Seen, Show, conclude, make_visits
from blockusers.cli.guard_log import GuardLog, in_words
from blockusers.cli.guard_service import Service, find_accounts
from blockusers.cli.process import UsageError
from blockusers.cli.screen import Screen
from blockusers.guard import GuardStatus, StoreUnavailable, Webhook
from blockusers.guard.intents import Intent, Result
from blockusers.observe.events import DrainChanged, SenderMatched
from blockusers.sandbox import Rules, Sandbox, glitches
from tests.guard.support import block, signed, until, webhook_of
from tests.support import PHONE_NUMBER_ID, TOKEN

ANN, BEN = "16505550001", "16505550002"
SECRET, VERIFY = "0123456789abcdef0123456789abcdef", "mine"
ENVIRONMENT = {
    "WHATSAPP_PHONE_NUMBER_ID": PHONE_NUMBER_ID,
    "WHATSAPP_ACCESS_TOKEN": TOKEN,
    "WHATSAPP_APP_SECRET": SECRET,
    "WHATSAPP_VERIFY_TOKEN": VERIFY,
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deny.db"


@pytest.fixture
def guard(bare: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run the command, and press Ctrl-C when it says how to stop it."""
    say = Screen.say

    def press(screen: Screen, text: str, style: str = "") -> None:
        say(screen, text, style)
        if text == "Ctrl-C stops it.":
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Screen, "say", press)

    def run(*args: object, **env: str | None) -> Any:
        settings = {**ENVIRONMENT, "BLOCKUSERS_STORE": str(path), **env}
        return bare("guard", *args, **settings)

    return run


def on_paper() -> tuple[Screen, io.StringIO]:
    """Return a screen, and what is on it."""
    paper = io.StringIO()
    return Screen(Console(file=paper, width=200, highlight=False)), paper


# --------------------------------------------------------------------------- starting and ending


def test_says_what_to_enter_at_meta(guard: Any, bare: Any, path: Path) -> None:
    """Where it listens, for which number, with how many entries; no secret is shown."""
    bare("deny", "add", ANN, "--store", path)
    ran = guard("--port", 0)

    assert (ran.code, ran.stdout) == (0, "")
    assert re.sub(r":\d+/", ":PORT/", ran.stderr).splitlines() == [
        f"guarding 1 number: {PHONE_NUMBER_ID}",
        f"deny list: {path}, 1 entry",
        "listening at http://127.0.0.1:PORT/webhook",
        "",
        "Enter in Meta's App Dashboard, under WhatsApp > Configuration:",
        "  Callback URL    https://YOUR-HOST/webhook; a proxy with HTTPS there leads it here",
        "  Verify token    what WHATSAPP_VERIFY_TOKEN holds",
        "  Webhook fields  messages, and standby if an agent of Meta's answers for you",
        "",
        "Ctrl-C stops it.",
        "stopped; whoever is still to be blocked is written down for the next start",
    ]


def test_begins_with_an_empty_list(guard: Any, path: Path) -> None:
    """It says how to fill it; and what it means to listen to other machines."""
    ran = guard("--port", 0, "--host", "0.0.0.0")

    assert ran.code == 0
    assert f"deny list: {path}, new, empty\n" in ran.stderr
    assert "add somebody, also while this runs: blockusers deny add" in ran.stderr
    assert "Others can reach 0.0.0.0: let them in through the proxy alone." in ran.stderr
    assert path.exists()


def test_an_address_of_the_newer_kind_is_a_url(guard: Any) -> None:
    """An IPv6 address is shown in brackets, as URLs have it."""
    assert "listening at http://[::1]:" in guard("--port", 0, "--host", "::1").stderr


def test_says_what_is_missing_and_where_it_is(guard: Any) -> None:
    """All of it at once."""
    ran = guard(WHATSAPP_APP_SECRET=None, WHATSAPP_VERIFY_TOKEN=None)

    own = "any text of your own; you enter it under WhatsApp > Configuration, too"
    assert ran.code == 2
    assert ran.stderr.splitlines() == [
        "blockusers: set the environment variables; Meta's App Dashboard shows what to:",
        "  WHATSAPP_APP_SECRET       App settings > Basic > App secret",
        f"  WHATSAPP_VERIFY_TOKEN     {own}",
        "To try it without an account: blockusers guard --sandbox",
    ]
    ran = guard(WHATSAPP_ACCESS_TOKEN=None)
    assert "set the environment variable; " in ran.stderr
    assert "WHATSAPP_ACCESS_TOKEN     Business settings > System users" in ran.stderr


def test_takes_the_token_from_a_file(guard: Any, tmp_path: Path) -> None:
    """The token can be in a file, as for the other commands."""
    file = tmp_path / "token"
    file.write_text(TOKEN)

    assert guard("--port", 0, "--token-file", file, WHATSAPP_ACCESS_TOKEN=None).code == 0


def test_a_bad_secret_is_named(guard: Any) -> None:
    """What is wrong with a secret is said with the name of its variable."""
    ran = guard(WHATSAPP_VERIFY_TOKEN=" mine")

    assert ran.code == 2
    assert ran.stderr.startswith("blockusers: WHATSAPP_VERIFY_TOKEN: must not be empty, nor have")


def test_a_port_that_is_taken(guard: Any) -> None:
    """One line says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = guard("--port", port)

    assert ran.code == 2
    assert ran.stderr == (
        f"blockusers: cannot listen at 127.0.0.1:{port}: address already in use;"
        " choose another with --port\n"
    )


def test_a_file_that_is_no_list(guard: Any, path: Path) -> None:
    """A file that is no deny list is not changed."""
    path.touch(0o600)
    path.write_bytes(b"these are my notes\n" * 100)
    ran = guard("--port", 0)

    assert ran.code == 3
    assert ran.stderr.startswith(f"blockusers: the store {path}: it is not a SQLite database")
    assert path.read_bytes() == b"these are my notes\n" * 100


@pytest.mark.parametrize(
    ("args", "env", "says"),
    [
        (["--forward", "anna"], {}, "--forward: must be the URL of the bot's webhook"),
        (
            ["--drop-denied"],
            {},
            "--drop-denied: is about what is forwarded, so it needs --forward\n",
        ),
        (["--forward", "http://localhost:8099/", "--port", 8099], {}, "--forward http://localhost"),
        (["--sandbox", "--host", "::1"], {}, "--sandbox has an account and a deny list of its own"),
        (
            ["--sandbox"],
            {},
            "--sandbox has an account and a deny list of its own; leave out --port",
        ),
        (["--seconds", 3], {}, "--seconds is how long --sandbox runs"),
        ([], {"BLOCKUSERS_HASH_KEY": "0" * 32}, "--hash-key-file: this list was made without one"),
        ([], {"BLOCKUSERS_HASH_KEY": "0"}, "--hash-key-file: must have at least 16 bytes"),
    ],
)
def test_options_that_are_no_good(  # noqa: PLR0917
    guard: Any, bare: Any, path: Path, args: list[object], env: dict[str, str], says: str
) -> None:
    """A wrong option is named before anything is served."""
    bare("deny", "add", ANN, "--store", path)
    ran = guard("--port", 0, *args, **env)

    assert ran.code == 2
    assert ran.stderr.startswith(f"blockusers: {says}")


# --------------------------------------------------------------------------- several numbers


def accounts_file(folder: Path, content: object) -> Path:
    file = folder / "accounts.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    file.chmod(0o600)
    return file


def account(number: str = PHONE_NUMBER_ID, **fields: object) -> dict[str, object]:
    return {"phone_number_id": number, "access_token": TOKEN, **fields}


def test_guards_several_numbers(guard: Any, tmp_path: Path) -> None:
    """Accounts come from a file, and it warns if others can read that."""
    file = accounts_file(tmp_path, [account("1"), account("2")])
    file.chmod(0o644)
    ran = guard("--port", 0, "--accounts", file, WHATSAPP_PHONE_NUMBER_ID=None)

    assert ran.code == 0
    assert f"others can read {file}: chmod 600 {file}\nguarding 2 numbers: 1, 2\n" in ran.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[\n{]", "line 2: broken JSON: "),
        ({}, 'must be a list: [{"phone_number_id": "…", "access_token": "…"}, …]'),
        ([], "accounts.json: names no account"),
        ([account(), 1], "account 2: must be an object, with the fields phone_number_id, access_"),
        ([account(token=TOKEN)], "account 1: there is no field 'token'; the fields are phone_"),
        ([{"phone_number_id": "1"}], "account 1: access_token is missing"),
        ([account("+1650")], "account 1: phone_number_id: must be digits"),
        ([account(api_version=25)], "account 1: api_version: must look like"),
        ([account(app_secret=1)], "account 1: app_secret: must be"),
        ([account(), account("2"), account()], "accounts 1 and 3 have the same phone_number_id"),
    ],
)
def test_says_which_account_is_wrong(guard: Any, tmp_path: Path, content: Any, says: str) -> None:
    """The message names the account and the field that is wrong."""
    file = accounts_file(tmp_path, content)
    ran = guard("--accounts", file)

    assert ran.code == 2
    assert f"blockusers: --accounts {file}" in ran.stderr
    assert says in ran.stderr


def speaks_for(webhook: Webhook, secret: str) -> Collection[str] | None:
    body = webhook_of(ANN)
    return webhook.verify(body, signed(body, secret))


def test_a_secret_speaks_for_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret holds for no other number; an account without one has that of the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    own = "f" * 32
    file = accounts_file(tmp_path, [account("1", app_secret=own), account("2")])
    accounts, webhook = find_accounts(on_paper()[0], file, None)

    assert [each.phone_number_id for each in accounts] == ["1", "2"]
    assert set(speaks_for(webhook, own) or ()) == {"1"}
    assert set(speaks_for(webhook, SECRET) or ()) == {"2"}


def test_a_common_secret_speaks_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If all accounts have the same secret, the environment need not have one."""
    monkeypatch.setenv("WHATSAPP_VERIFY_TOKEN", VERIFY)
    monkeypatch.delenv("WHATSAPP_APP_SECRET", raising=False)
    rows = [account("1", app_secret=SECRET), account("2", app_secret=SECRET)]
    _, webhook = find_accounts(on_paper()[0], accounts_file(tmp_path, rows), None)

    assert speaks_for(webhook, SECRET) is None


# --------------------------------------------------------------------------- at work


def service_for(sandbox: Sandbox, path: Path, **fields: str) -> Service:
    accounts = [
        Account(**{**sandbox.credentials_of(number), **fields})
        for number in sandbox.rules.phone_number_ids
    ]
    return Service(accounts, Webhook(SECRET, VERIFY), ListPlace(path))


async def test_tells_who_is_blocked(path: Path) -> None:
    """A line for each: when, masked, after how long; others pass in silence."""
    screen, paper = on_paper()
    with Sandbox(app_secret=SECRET) as sandbox:
        async with service_for(sandbox, path).running(screen) as (guard, url):
            await guard.deny_list.add([ANN])
            sandbox.post_webhooks_to(url)
            sandbox.message_from(BEN)
            sandbox.message_from(ANN)
            await until(lambda: "blocked" in paper.getvalue())

        assert sandbox.blocklist() == {ANN}
    assert re.fullmatch(r"\d\d:\d\d:\d\d 1650…01 blocked after \d+ ms\n", paper.getvalue())


def test_a_second_ctrl_c_ends_it_now(path: Path) -> None:
    """What hangs at Meta is waited for, and who does not want to wait need not; it is kept."""
    screen, _ = on_paper()
    said: list[str] = []

    def press_again() -> None:
        said.append("waiting")
        signal.raise_signal(signal.SIGINT)

    async def work(sandbox: Sandbox) -> None:
        async with service_for(sandbox, path).running(screen) as (guard, url):
            await guard.deny_list.add([ANN])
            sandbox.post_webhooks_to(url)
            sandbox.message_from(ANN)
            await until(lambda: sandbox.requests)
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    with Sandbox(app_secret=SECRET) as sandbox:
        sandbox.glitch(glitches.hang_before(), times=None)
        with pytest.raises(typer.Exit), process.error_boundary(debug=False):
            process.run(work(sandbox), on_wait=press_again, patience=0)

    assert said == ["waiting"]


async def test_tells_of_a_number_that_pauses(path: Path) -> None:
    """It says which number pauses, and why; each line names its number where there are several."""
    screen, paper = on_paper()
    with Sandbox(Rules(phone_number_ids=("1", "2")), app_secret=SECRET) as sandbox:
        service = service_for(sandbox, path, access_token="revoked")
        async with service.running(screen) as (guard, url):
            await guard.deny_list.add([ANN])
            sandbox.post_webhooks_to(url)
            sandbox.message_from(ANN, phone_number_id="2")
            await until(lambda: "paused, tried again every" in paper.getvalue())

    line = paper.getvalue().splitlines()[-1]
    assert line[9:].startswith("2 paused, tried again every minute: the access token is invalid or")


def result(**fields: Any) -> Result:
    return Result(block(ANN, 0.0), **fields)


UNBLOCK = Intent(PHONE_NUMBER_ID, ANN, Operation.UNBLOCK, ANN)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (result(done=True), "1650…01 blocked after 42 ms"),
        (Result(UNBLOCK, done=True), "1650…01 unblocked after 42 ms"),
        (result(reason="too late"), "1650…01 not blocked: too late"),
        (
            result(reason="no answer", retry_at=1.0),
            "1650…01 not blocked: no answer; it will be tried again",
        ),
    ],
)
def test_says_what_became_of_somebody(given: Result, line: str) -> None:
    """In the words of people, and masked."""
    assert in_words(given, 0.0425) == line


def test_says_when_a_number_goes_on() -> None:
    """A number that stops is told, and when it goes on; its first start is not."""
    screen, paper = on_paper()
    log = GuardLog(screen, several=False, clock=lambda: 0.0)
    for event in (
        DrainChanged("draining"),
        DrainChanged("waiting", "the disk is full"),
        DrainChanged("draining"),
    ):
        log.observe(event)
    log.observe(SenderMatched(denied=False))

    assert told(paper) == ["waiting: the disk is full", "goes on"]


@pytest.mark.parametrize(
    ("host", "bot"),
    [
        ("127.0.0.1", "http://127.0.0.1:8099/webhook"),
        ("0.0.0.0", "http://localhost:8099"),
        ("10.0.0.7", "http://10.0.0.7:8099/webhook"),
    ],
)
async def test_does_not_forward_to_itself(path: Path, host: str, bot: str) -> None:
    """A webhook would go round until the guard is full of it, so it does not start."""
    with Sandbox(app_secret=SECRET) as sandbox:
        service = attrs.evolve(service_for(sandbox, path), host=host, port=8099, forward=bot)
        with pytest.raises(UsageError, match="this is where the guard itself listens; name the"):
            async with service.running(on_paper()[0]):
                raise AssertionError


# --------------------------------------------------------------------------- troubles


def told(paper: io.StringIO) -> list[str]:
    """Return what is on the paper, without the times."""
    return [line[9:] for line in paper.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("kind", "detail", "line"),
    [
        ("verified", "", "the URL was verified"),
        (
            "not_verified",
            "why",
            "somebody could not verify the URL: why; enter at Meta what WHATSAPP_VERIFY_TOKEN has",
        ),
        (
            "wrong_signature",
            "",
            "a webhook has a wrong signature, or none; is WHATSAPP_APP_SECRET that of this app?",
        ),
        ("bot_failed", "answered 404", "the bot answered 404; Meta will post the webhook again"),
    ],
)
def test_tells_of_a_trouble(kind: Any, detail: str, line: str) -> None:
    """Each trouble is told with what to do about it."""
    screen, paper = on_paper()
    GuardLog(screen, several=True, clock=lambda: 0.0).notice(kind, detail)

    assert told(paper) == [line]


async def test_counts_troubles_by_the_minute() -> None:
    """The first of a kind is told at once, then how many more, and after a quiet minute anew."""
    screen, paper = on_paper()
    log = GuardLog(screen, several=False, clock=lambda: 0.0)
    looks = itertools.count(1)

    async def status() -> GuardStatus:
        match next(looks):
            case 1 | 2 | 13:
                log.notice("bot_failed", "cannot be reached")
            case 18:
                raise asyncio.CancelledError
        return GuardStatus({})

    with pytest.raises(asyncio.CancelledError):
        await log.watch(status, every=0)

    first = "the bot cannot be reached; Meta will post the webhook again"
    more = "1 more webhooks that the bot did not answer with 200 within a minute"
    assert told(paper) == [first, more, first]


async def test_tells_of_numbers_without_an_account() -> None:
    """The number is named once; nobody would be blocked there, and nothing else says so."""
    screen, paper = on_paper()
    log = GuardLog(screen, several=True, clock=lambda: 0.0)
    seen = iter([{}, {"111": 2}, {"111": 3, "222": 1}, {"111": 3, "222": 1}, {}, {}])

    async def status() -> GuardStatus:
        found = next(seen, asyncio.CancelledError())
        if isinstance(found, BaseException):
            raise found
        return GuardStatus({}, unknown_numbers=found)

    with pytest.raises(asyncio.CancelledError):
        await log.watch(status, every=0)

    assert told(paper) == [
        "somebody wrote to number 111, for which there is no account; nobody is blocked there",
        "3 more messages to numbers without an account within a minute",
    ]


async def test_tells_once_that_the_store_is_away() -> None:
    """Also while nobody writes, and again if it goes away again; not for each number and look."""
    screen, paper = on_paper()
    log = GuardLog(screen, several=True, clock=lambda: 0.0)
    looks = iter(["gone", "gone", "", "gone once more", ""])

    async def status() -> GuardStatus:
        if (why := next(looks, None)) is None:
            raise asyncio.CancelledError
        if why:
            raise StoreUnavailable(why)
        return GuardStatus({})

    with pytest.raises(asyncio.CancelledError):
        await log.watch(status, every=0)

    assert told(paper) == ["gone", "gone once more"]


# --------------------------------------------------------------------------- the show


def test_shows_itself(guard: Any) -> None:
    """People write to a sandbox, and those on the list are blocked; on one screen."""
    ran = guard("--sandbox", "--seconds", "0.3")
    lines = ran.stderr.splitlines()

    assert ran.code == 0
    assert len(re.findall("writes, is on the list: blocked after [0-9]+ ms", ran.stderr)) == 9
    assert "✓ 9 of these 9 are blocked now, and 0 others" in ran.stderr
    assert "they wrote again: 9 of 9 messages did not get through" in ran.stderr
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 79
    assert guard("--sandbox", "--seconds", "0.1", "--quiet").stderr.count("blocked after") == 0


def test_the_same_people_write_each_time() -> None:
    """Those who are denied are always the same, and nobody else of the list writes."""
    listed, visits = make_visits(3.0)

    assert (listed, visits) == make_visits(3.0)
    assert len({each.phone for each in visits if each.denied}) == 9
    assert {each.phone for each in visits if each.denied} == {each.phone for each in visits} & {
        *listed
    }


@pytest.mark.parametrize(
    ("seen", "blocked", "says"),
    [
        ({ANN: Seen(None, kept_back=False)}, {ANN}, "✗ 1 of these 1 are blocked now, and 0 others"),
        (
            {ANN: Seen(0.02, kept_back=True)},
            {ANN, BEN},
            "✗ 1 of these 1 are blocked now, and 1 others",
        ),
    ],
)
def test_the_show_is_honest(seen: dict[str, Seen], blocked: set[str], says: str) -> None:
    """Who was not blocked in time, or should not be, is a failure."""
    screen, paper = on_paper()

    assert not conclude(screen, seen, 10, blocked)
    assert says in paper.getvalue()


async def test_the_show_does_not_wait_for_ever() -> None:
    """Nobody is said to be blocked whose block was not seen."""
    screen, paper = on_paper()

    assert not await Show(screen, 0.1, patience=0.0).run()
    assert "blocked after" not in paper.getvalue()


# --------------------------------------------------------------------------- a process


def test_a_process_that_is_asked_to_end(bare: Any, path: Path) -> None:
    """It blocks who writes; SIGTERM ends it as it should."""
    bare("deny", "add", ANN, "--store", path)
    with Sandbox(app_secret=SECRET) as sandbox:
        env = {
            **os.environ,
            **ENVIRONMENT,
            "WHATSAPP_ACCESS_TOKEN": sandbox.rules.access_token,
            "WHATSAPP_BASE_URL": sandbox.url,
        }
        line = [sys.executable, "-m", "blockusers", "guard", "--port", "0", "--store", str(path)]
        with subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr is not None
            shown = ""
            for text in running.stderr:
                shown += text
                if text.startswith("listening at "):
                    sandbox.post_webhooks_to(text.split()[-1])
                    sandbox.message_from(ANN)
                if "blocked after" in text:
                    running.send_signal(signal.SIGTERM)
            assert running.wait(30) == 0, shown
        assert sandbox.blocklist() == {ANN}
    assert shown.endswith("is written down for the next start\n")
