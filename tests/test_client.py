"""The client against the sandbox, over real HTTP: each report is compared with its list."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import aiohttp
import attrs
import pytest

from blockusers import (
    Account,
    AuthenticationError,
    BlocklistChanged,
    BlocklistFull,
    Client,
    ClientClosed,
    ConnectionFailed,
    FixedPace,
    Incomplete,
    InvalidRequest,
    JobTimedOut,
    Outcome,
    RateLimited,
    Report,
    Status,
    TokenUnavailable,
)
from blockusers.sandbox import Glitch, Rules, Sandbox, glitches
from tests.support import Clock, adaptive, number, numbers, quick

DONE, FAILED, UNKNOWN, REMAINING = Status
MAGIC = "+1650555{}"
TOO_LATE, OWN, PASSING = (MAGIC.format(code) for code in (131047, 131021, 139103))


@pytest.fixture
def rules() -> Rules:
    return Rules(window=None)


@pytest.fixture
def sandbox(rules: Rules) -> Iterator[Sandbox]:
    with Sandbox(rules) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    async with client_of(sandbox) as client:
        yield client


def client_of(sandbox: Sandbox, **settings: object) -> Client:
    settings = {"retry": quick(), "chunk_size": 10, "request_timeout": 5.0} | settings
    return Client(**({"account": Account(**sandbox.credentials)} | settings))


def balance(report: Report, sandbox: Sandbox, *, on_list: bool = True) -> None:
    """Check a report of valid numbers against the sandbox's own blocklist."""
    blocked = sandbox.blocklist()
    for outcome in report:
        there = (outcome.wa_id or outcome.user_id or outcome.input.removeprefix("+")) in blocked
        if outcome.ok:
            assert there is on_list
        elif outcome.status is REMAINING or (outcome.status is FAILED and not outcome.uncertain):
            assert there is not on_list


# --------------------------------------------------------------------------- the way of one call


async def test_round_trip(sandbox: Sandbox, client: Client) -> None:
    """Who is blocked is listed; who is unblocked is not, with any value of an earlier call."""
    users = [*numbers(35), "US.13491208655302741918"]
    report = await client.block(users)
    listed = [user async for user in client.blocked()]

    assert report.succeeded == report.outcomes
    assert len(report) == 36
    assert {user.wa_id or user.user_id for user in listed} == sandbox.blocklist()

    report = await client.unblock(await client.snapshot())

    assert len(report.succeeded) == 36
    assert not sandbox.blocklist()
    assert [page async for page in client.blocked_pages()] == []


async def test_partial_failure(sandbox: Sandbox, client: Client) -> None:
    """Failures are explained per number, and those beside them are blocked."""
    report = await client.block([number(1), TOO_LATE, number(2), OWN, "0151234567", PASSING])

    assert [outcome.status for outcome in report] == [DONE, FAILED, DONE, FAILED, FAILED, DONE]
    local = report[4].fault.message
    assert local.startswith("starts with 0")
    assert set(report.faults_by_code) == {131047, 131021, local}
    assert report.get(TOO_LATE).fault.code == 131047
    assert sandbox.blocklist() == {n.removeprefix("+") for n in (number(1), number(2), PASSING)}


async def test_24_hours() -> None:
    """Only those who wrote within 24 hours can be blocked; unblocking has no such rule."""
    time = Clock(now=1_700_000_000.0)
    with Sandbox(clock=time) as sandbox:
        async with client_of(sandbox) as client:
            sandbox.message_from(number(0))
            time.now += 23 * 3600
            sandbox.message_from(number(1))
            time.now += 2 * 3600
            report = await client.block(numbers(3))

            assert [o.fault and o.fault.code for o in report] == [131047, None, 131047]

            time.now += 48 * 3600
            report = await client.unblock([number(1)])

    assert report.outcomes[0].ok


VARIANTS = [
    {},
    {"mixed_status": 200, "mixed_error": False},
    {"mixed_code": 139103},
    {"lists_order": "reversed"},
    {"lists_order": "shuffled", "empty_lists": True},
    {"failed_wa_ids": False},
    {"codes_as_text": True, "bare_error_data": True},
    {"removed_key": "added_users"},
    {"repeats": "refuse"},
    {"app_secret": "0123456789abcdef"},
    {"rewrite_wa_ids": True},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
async def test_whatever_is_open(variant: dict[str, object]) -> None:
    """However the server words its answers, the outcomes are the same."""
    users = [*numbers(12), TOO_LATE, PASSING, "+5511961234567", "US.1a", OWN]
    bad = {TOO_LATE, OWN}
    with Sandbox(Rules(window=None, **variant)) as sandbox:
        async with client_of(sandbox) as client:
            report = await client.block(users)
            balance(report, sandbox)

            assert {o.input for o in report.failed} == bad
            assert len(report.succeeded) == len(users) - len(bad)
            assert report.faults_by_code.keys() == {131047, 131021}

            report = await client.unblock(user for user in users if user not in bad)
            assert not sandbox.blocklist()

    assert len(report.succeeded) == len(users) - len(bad)


GLITCHES = {
    "429": glitches.html(429),
    "502": glitches.html(502),
    "503 after": glitches.html(503, effect=True),
    "reset before": glitches.reset_before(),
    "reset after": glitches.reset_after(),
    "reset midway": glitches.reset_midway(),
    "hang before": glitches.hang_before(),
    "hang after": glitches.hang_after(),
    "slow": glitches.slow(pause=0.0, piece=100),
    "truncated": glitches.truncated(),
    "wrong type": glitches.wrong_type(),
    "wrong encoding": glitches.wrong_encoding(),
    "too long": glitches.wrong_length(),
    "too short": glitches.wrong_length(-20),
    "oversized": glitches.oversized(),
    "redirect": glitches.redirect("http://127.0.0.1:1/"),
    "a list": glitches.answer(200, b"[]"),
    "null": glitches.answer(200, b"null"),
    "400 HTML": glitches.answer(400, b"<html>"),
    "no lists": glitches.answer(200, {"block_users": {}}),
    "500 odd": glitches.answer(500, {"error": "boom"}),
}


HANGING = GLITCHES["hang before"], GLITCHES["hang after"]


@pytest.mark.parametrize("glitch", GLITCHES.values(), ids=GLITCHES)
@pytest.mark.parametrize("job", [Client.block, Client.unblock], ids=["block", "unblock"])
async def test_glitches(glitch: Glitch, job: Callable[..., object]) -> None:
    """A spoilt answer, on a kept-alive connection, is tried again; the report is right."""
    blocking = job is Client.block
    with Sandbox(Rules(window=None)) as sandbox:
        if not blocking:
            sandbox.block(*numbers(30))
        sandbox.glitch(glitch, at=2)
        patience = 0.1 if glitch in HANGING else 5.0
        async with client_of(sandbox, request_timeout=patience, pace=FixedPace(1)) as client:
            report = await job(client, numbers(30))

        assert [outcome.status for outcome in report] == [DONE] * 30
        assert sandbox.blocklist() == ({n[1:] for n in numbers(30)} if blocking else set())
        assert report.requests == len(sandbox.requests)


async def test_closed_connection(sandbox: Sandbox) -> None:
    """A kept-alive connection that the server closes between two requests costs nobody's status."""
    sandbox.glitch(glitches.idle_close(), times=None)
    async with client_of(sandbox, pace=FixedPace(1)) as client:
        report = await client.block(numbers(50))

    assert len(report.succeeded) == 50
    balance(report, sandbox)


async def test_rate_limit(clock: Clock) -> None:
    """Refusals for the rate limit are waited out, and counted."""
    with Sandbox(Rules(window=None, rate=200, burst=2), clock=clock) as sandbox:
        async with client_of(sandbox, pace=adaptive(clock)) as client:
            report = await client.block(numbers(100))

        assert len(report.succeeded) == 100
        refused = [seen for seen in sandbox.requests if seen.code == 130429]
        assert report.rate_limited == len(refused) > 0
        assert report.requests == len(sandbox.requests) == 10 + len(refused)


async def test_rate_limit_ends_the_job() -> None:
    """A wait asked for that is longer than the patience ends the job; what remains is known."""
    with Sandbox(Rules(window=None, rate=0.001, burst=1, retry_after=900)) as sandbox:
        async with client_of(sandbox, pace=FixedPace(1)) as client:
            with pytest.raises(Incomplete) as caught:
                await client.block(numbers(30))
            report = caught.value.report

            assert isinstance(caught.value.error, RateLimited)
            assert caught.value.error.retry_after == 900
            assert [o.status for o in report] == [DONE] * 10 + [REMAINING] * 20
            balance(report, sandbox)


async def test_full_list() -> None:
    """A full blocklist ends a job; after unblocking, what remains can be handed in again."""
    with Sandbox(Rules(window=None, capacity=15)) as sandbox:
        async with client_of(sandbox, pace=FixedPace(1)) as client:
            with pytest.raises(Incomplete) as caught:
                await client.block(numbers(30))
            report = caught.value.report

            assert isinstance(caught.value.error, BlocklistFull)
            assert len(report.succeeded) == 15
            balance(report, sandbox)

            await client.unblock(report.succeeded)
            again = await client.block([*report.failed, *report.remaining])

            assert len(again.succeeded) == 15
            balance(again, sandbox)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"access_token": "EAAGwrong"}, AuthenticationError),
        ({"phone_number_id": "999"}, InvalidRequest),
        ({"app_secret": "unexpected"}, None),
    ],
    ids=["token", "id", "proof"],
)
async def test_credentials(
    sandbox: Sandbox, change: dict[str, str], error: type[Exception] | None
) -> None:
    """Wrong credentials end a job before anybody is blocked, and say what to do."""
    account = attrs.evolve(Account(**sandbox.credentials), **change)
    async with Client(account) as client:
        if error is None:
            assert (await client.block(numbers(1))).outcomes[0].ok
            return
        with pytest.raises(Incomplete) as caught:
            await client.block(numbers(3))

    assert type(caught.value.error) is error
    assert [o.status for o in caught.value.report] == [REMAINING] * 3
    if error is InvalidRequest:
        assert "WABA" in str(caught.value)


async def test_rotating_token(sandbox: Sandbox) -> None:
    """A token that expires in the middle of a job is asked for once more, and the job goes on."""
    good = sandbox.credentials["access_token"]
    tokens = [good, good, "expired"]
    account = attrs.evolve(
        Account(**sandbox.credentials), access_token=lambda: tokens.pop(0) if tokens else good
    )
    async with client_of(sandbox, pace=FixedPace(2), account=account) as client:
        report = await client.block(numbers(60))
        assert (await client.block_one(number(70))).ok

    assert len(report.succeeded) == 60
    assert report.requests == 7


@pytest.mark.parametrize(("function", "requests"), [(False, 1), (True, 2)], ids=["str", "function"])
async def test_expired_token(sandbox: Sandbox, function: bool, requests: int) -> None:
    """A token that stays refused ends the job; a fixed one at once."""
    token = (lambda: "expired") if function else "expired"
    account = attrs.evolve(Account(**sandbox.credentials), access_token=token)
    async with client_of(sandbox, account=account) as client:
        with pytest.raises(Incomplete) as caught:
            await client.block(numbers(3))

    assert isinstance(caught.value.error, AuthenticationError)
    assert len(sandbox.requests) == caught.value.report.requests == requests


async def test_token_function_that_fails_once(sandbox: Sandbox) -> None:
    """A token function that fails is asked again, as for any transient error."""
    tokens: list[object] = [OSError("vault: 503"), sandbox.credentials["access_token"]]

    def token() -> str:
        match tokens.pop(0):
            case str(text):
                return text
            case error:
                raise error

    account = Account(**(sandbox.credentials | {"access_token": token}))
    async with client_of(sandbox, account=account) as client:
        assert (await client.block(numbers(1))).summary() == "1 done"


async def test_token_function_that_raises_no_exception(sandbox: Sandbox) -> None:
    """What is no Exception reaches the caller; nothing was sent, so nobody waits for it."""

    class Stop(BaseException):
        pass

    async def token() -> str:
        if not stopped:
            stopped.append(True)
            raise Stop
        return str(sandbox.credentials["access_token"])

    stopped: list[bool] = []
    account = Account(**(sandbox.credentials | {"access_token": token}))
    async with client_of(sandbox, account=account, request_timeout=60) as client:
        with pytest.raises(Stop):
            await client.block_one(number(1))
        async with asyncio.timeout(10):
            assert (await client.unblock_one(number(1))).ok


async def test_token_function_that_goes_on_failing(sandbox: Sandbox) -> None:
    """If it fails each time the job ends, says what the function said, and nothing was sent."""

    def token() -> str:
        raise OSError("vault: 503")

    account = Account(**(sandbox.credentials | {"access_token": token}))
    async with client_of(sandbox, account=account) as client:
        with pytest.raises(Incomplete, match="vault: 503") as caught:
            await client.block(numbers(3))
        with pytest.raises(TokenUnavailable, match="vault: 503"):
            await client.block_one(number(1))

    assert isinstance(caught.value.error, TokenUnavailable)
    assert isinstance(caught.value.error.__cause__, OSError)
    assert caught.value.report.summary() == "3 remaining"
    assert not sandbox.requests


async def test_time_limit_of_a_job(sandbox: Sandbox) -> None:
    """A job whose `timeout` runs out ends at once, and its report accounts for every user."""
    sandbox.glitch(glitches.hang_before(), at=2)
    async with client_of(sandbox, pace=FixedPace(1)) as client:
        with pytest.raises(Incomplete, match="longer than 0.2 s") as caught:
            await client.block(numbers(30), timeout=0.2)
        assert (await client.unblock(numbers(10), timeout=60)).summary() == "10 done"

    report = caught.value.report
    assert isinstance(caught.value.error, JobTimedOut)
    assert report.summary() == "10 done, 10 unknown, 10 remaining"


async def test_time_limit_and_an_on_settled_that_hangs(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time limit also ends a job that waits for its `on_settled` alone."""
    monkeypatch.setattr("blockusers.jobs.batch.GRACE", 0.01)

    async def hang(outcomes: tuple[Outcome, ...]) -> None:
        await asyncio.sleep(3600)

    async with client_of(sandbox) as client, asyncio.timeout(10):
        with pytest.raises(Incomplete) as caught:
            await client.block(numbers(10), timeout=0.2, on_settled=hang)

    assert caught.value.report.summary() == "10 done"


@pytest.mark.parametrize("call", ["block", "block_one", "snapshot"])
@pytest.mark.parametrize("ours_first", [True, False])
async def test_cancelled_as_a_request_times_out(
    sandbox: Sandbox, call: str, ours_first: bool
) -> None:
    """A cancellation in the very turn in which a request times out ends the call."""
    sandbox.glitch(glitches.hang_before(), at=range(1, 100))
    loop = asyncio.get_running_loop()
    users: dict[str, tuple[object, ...]] = {"block": (numbers(3),), "block_one": (number(1),)}
    async with client_of(sandbox, request_timeout=0.03) as client:
        task = asyncio.create_task(getattr(client, call)(*users.get(call, ())))
        while not client.pace.state.in_flight:
            await asyncio.sleep(0)
        loop.call_later(0.01 if ours_first else 0.05, task.cancel)
        loop.call_soon(time.sleep, 0.06)  # so that both are due in one turn
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(task), 5)


async def test_dialog360(sandbox: Sandbox) -> None:
    """360dialog's form of the endpoint works alike."""
    key = sandbox.credentials["access_token"]
    account = Account.dialog360(key, name="shop", base_url=sandbox.url)
    async with Client(account) as client:
        report = await client.block(numbers(3))

    assert len(report.succeeded) == 3
    assert len(sandbox.blocklist()) == 3


async def test_continue_after_a_break(sandbox: Sandbox) -> None:
    """After an outage, unknown and remaining users can be handed in again: nobody is lost."""
    sandbox.glitch(glitches.reset_after(), at=range(4, 100))
    async with client_of(sandbox) as client:
        with pytest.raises(Incomplete) as caught:
            await client.block(numbers(60))
        report = caught.value.report
        assert isinstance(caught.value.error, ConnectionFailed)
        assert report.unknown
        balance(report, sandbox)

    with Sandbox(Rules(window=None)) as healthy:
        async with client_of(healthy) as client:
            rest = await client.block((*report.unknown, *report.remaining))

    done = {o.input for o in report.succeeded} | {o.input for o in rest.succeeded}
    assert done == set(numbers(60))


async def test_on_settled(sandbox: Sandbox, client: Client) -> None:
    """Progress can be followed as outcomes become final."""
    heard: list[Outcome] = []
    report = await client.block(numbers(35), on_settled=heard.extend)

    assert sorted(o.input for o in heard) == sorted(o.input for o in report)


# --------------------------------------------------------------------------- listing


@pytest.mark.parametrize("variant", [{}, {"next_links": True}, {"nested_listing": True}], ids=str)
async def test_listing(variant: dict[str, object]) -> None:
    """The whole list is read in whatever form it comes; no link is ever followed."""
    with Sandbox(Rules(window=None, default_page=10, **variant)) as sandbox:
        sandbox.block(*numbers(35))
        async with client_of(sandbox) as client:
            listed = [user.wa_id async for user in client.blocked()]
            pages = [page async for page in client.blocked_pages(page_size=20)]
            backward = [p async for p in client.blocked_pages(before=pages[1].before)]

    assert listed == [n[1:] for n in numbers(35)]
    assert [len(page.users) for page in pages] == [20, 15]
    assert [user.wa_id for page in reversed(backward) for user in page.users] == listed[:20]


async def test_listing_while_it_changes(sandbox: Sandbox, client: Client) -> None:
    """Everybody who stays on the list is yielded once, although it changes between pages."""
    sandbox.block(*numbers(300))
    found = []
    async for user in client.blocked(page_size=50):
        found.append(user.wa_id)
        if len(found) % 120 == 0:
            sandbox.unblock(number(len(found) // 120))

    assert len(found) == len(set(found))
    assert sandbox.blocklist() <= set(found)
    assert any(seen.code == 139102 for seen in sandbox.requests)


async def test_stale_cursor(sandbox: Sandbox, client: Client) -> None:
    """Pages do not begin again by themselves: a cursor of an older list is refused."""
    sandbox.block(*numbers(30))
    page = await anext(client.blocked_pages(page_size=10))
    sandbox.block(number(99))

    with pytest.raises(BlocklistChanged):
        await anext(client.blocked_pages(after=page.after))


@pytest.mark.parametrize(
    "glitch", [glitches.html(502), glitches.truncated(), glitches.reset_before()], ids=str
)
async def test_listing_glitches(sandbox: Sandbox, client: Client, glitch: Glitch) -> None:
    """A page that is spoilt is asked for again, and never taken for the end."""
    sandbox.block(*numbers(30))
    sandbox.glitch(glitch, at=2)

    assert len(await client.snapshot(page_size=10)) == 30


async def test_abandoned_listing(sandbox: Sandbox, client: Client) -> None:
    """A loop over the list can be left anywhere: nothing is held open."""
    sandbox.block(*numbers(30))
    async for _ in client.blocked(page_size=10):
        break

    assert client.pace.state.in_flight == 0
    assert len(sandbox.requests) == 1


# --------------------------------------------------------------------------- using it


# --------------------------------------------------------------------------- finding


async def test_find(client: Client) -> None:
    """Who is blocked is found, as given and in the order given, whatever the spelling."""
    await client.block([*numbers(30), "US.13491208655302741918", "+5511987654321"])
    given = [
        "+1 999 555 0000",
        number(20),
        "no number",
        "(US.13491208655302741918)",
        "US.13491208655302741918",
        int(number(3)),
        "+49 15 000 000 004",
        "+55 11 8765-4321",
    ]
    found = await client.find(given)

    assert list(found) == [given[1], *given[4:]]
    assert found[number(20)].wa_id == number(20)[1:]
    assert found[given[-1]].wa_id == "5511987654321"
    assert await client.find([]) == {}


async def test_find_stops_early(sandbox: Sandbox, client: Client) -> None:
    """The list is read no further than to the last that is looked for."""
    await client.block(numbers(50))
    (first,) = [user async for user in client.blocked(page_size=10)][:1]
    before = len(sandbox.requests)
    assert await client.find([first], page_size=10) == {first: first}

    assert len(sandbox.requests) == before + 1


async def test_find_reads_its_source(client: Client) -> None:
    """An async source will do; what it raises is raised."""
    await client.block(numbers(2))

    async def source(error: Exception | None = None) -> AsyncIterator[str]:
        yield number(1)
        if error:
            raise error

    assert list(await client.find(source())) == [number(1)]
    with pytest.raises(LookupError):
        await client.find(source(LookupError()))
    with pytest.raises(TypeError, match="^users: "):
        await client.find("+16505551234")


# --------------------------------------------------------------------------- single calls


async def test_one_by_one(sandbox: Sandbox, client: Client) -> None:
    """Single calls block and unblock, and tell what became of the user."""
    blocked = await client.block_one("+1 650 555 1234")
    assert (blocked.ok, blocked.input, blocked.wa_id) == (True, "+1 650 555 1234", "16505551234")
    assert sandbox.blocklist() == {"16505551234"}

    failed = await client.block_one(TOO_LATE)
    assert (failed.status, failed.fault and failed.fault.code) == (FAILED, 131047)
    assert (await client.unblock_one(blocked)).ok
    assert sandbox.blocklist() == set()


async def test_many_at_the_same_time(sandbox: Sandbox) -> None:
    """10,000 calls that are made at the same time cost at most 11 requests."""
    async with client_of(sandbox, chunk_size=1000) as client:
        outcomes = await asyncio.gather(*(client.block_one(name) for name in numbers(10_000)))

    assert all(outcome.ok for outcome in outcomes)
    assert len(sandbox.requests) <= 11
    assert len(sandbox.blocklist()) == 10_000


async def test_borrowed_session(sandbox: Sandbox) -> None:
    """A borrowed session is used, and left open."""
    async with aiohttp.ClientSession() as session:
        async with client_of(sandbox, session=session) as client:
            assert (await client.block(numbers(1))).outcomes[0].ok
        assert not session.closed


def test_properties() -> None:
    """A client shows its account and its pace; each client has a pace of its own by default."""
    account = Account("1", "t")
    pace = FixedPace(2)
    client = Client(account, pace=pace)

    assert client.account is account
    assert client.pace is pace
    assert Client(account).pace is not Client(account).pace


@pytest.mark.parametrize(
    ("settings", "error", "name"),
    [
        ({"account": "token"}, TypeError, "account"),
        ({"session": "x"}, TypeError, "session"),
        ({"chunk_size": 0}, ValueError, "chunk_size"),
        ({"max_queued": 0}, ValueError, "max_queued"),
        ({"drain_timeout": -1}, ValueError, "drain_timeout"),
        ({"chunk_size": 1001}, ValueError, "chunk_size"),
        ({"request_timeout": 0}, ValueError, "request_timeout"),
        ({"request_timeout": None}, TypeError, "request_timeout"),
        ({"retry": None}, TypeError, "retry"),
        ({"request_timeout": float("inf")}, ValueError, "request_timeout"),
        ({"pace": "fast"}, TypeError, "pace"),
        ({"observers": print}, TypeError, "observers"),
        ({"pace": FixedPace}, TypeError, "pace"),
    ],
    ids=str,
)
def test_bad_settings(settings: dict[str, object], error: type[Exception], name: str) -> None:
    """A wrong argument is named in the error."""
    with pytest.raises(error, match=f"^{name}: "):
        Client(**({"account": Account("1", "t")} | settings))


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda c: c.block("+16505551234"), TypeError, "users"),
        (lambda c: c.block(b"+16505551234"), TypeError, "users"),
        (lambda c: c.unblock(16505551234), TypeError, "users"),
        (lambda c: c.block([], on_settled="x"), TypeError, "on_settled"),
        (lambda c: c.snapshot(page_size=0), ValueError, "page_size"),
        (lambda c: c.blocked(page_size="10"), TypeError, "page_size"),
        (lambda c: c.blocked_pages(after=1), TypeError, "after"),
        (lambda c: c.blocked_pages(before=b""), TypeError, "before"),
        (lambda c: c.blocked_pages(after="a", before="b"), ValueError, "after, before"),
    ],
    ids=["str", "bytes", "int", "on_settled", "0", "text", "after", "before", "both"],
)
async def test_bad_calls(
    client: Client, call: Callable[[Client], object], error: type[Exception], name: str
) -> None:
    """A wrong argument is named at the call."""
    with pytest.raises(error, match=f"^{name}: "):
        await call(client)


async def test_privacy(caplog: pytest.LogCaptureFixture) -> None:
    """No token, secret, proof or full number in any log, repr, message or traceback."""
    secret = "0123456789abcdef0123"
    texts = []
    with (
        caplog.at_level(logging.DEBUG, "blockusers"),
        Sandbox(Rules(window=None, app_secret=secret)) as sandbox,
    ):
        sandbox.glitch(glitches.truncated(), at=1)
        sandbox.glitch(glitches.reset_after(), at=2)
        stranger = {"input": number(77), "wa_id": number(77)[1:]}
        sandbox.glitch(glitches.answer(200, {"block_users": {"added_users": [stranger]}}), at=3)
        echo = f"Malformed token {sandbox.credentials['access_token']} for {number(1)}"
        sandbox.glitch(glitches.answer(401, {"error": {"message": echo, "code": 190}}), at=4)
        async with client_of(sandbox, pace=FixedPace(1)) as client:
            with pytest.raises(Incomplete) as caught:
                await client.block([*numbers(30), "0049" + number(5)])
            report = caught.value.report
            texts += ["".join(traceback.format_exception(caught.value))]
            texts += [repr(x) for x in (client, client.account, report, *report, caught.value)]
            texts += [str(x) for x in (caught.value, caught.value.error)]
        texts += [repr(seen) for seen in sandbox.requests]
        token = sandbox.credentials["access_token"]
    text = "\n".join([*texts, caplog.text])

    assert "ignored rows of an answer: 1" in text
    for private in (
        token,
        secret,
        "appsecret_proof=",
        *(n[1:] for n in numbers(30)),
        number(77)[1:],
    ):
        assert private not in text


async def test_nothing_is_left(sandbox: Sandbox) -> None:
    """After a client is closed no task of its is left, whatever it went through."""
    sandbox.glitch(glitches.reset_before(), probability=0.3, times=None, seed=7)
    threads = threading.active_count()
    async with client_of(sandbox) as client:
        await client.block(numbers(100))
        await client.snapshot()

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.block(numbers(1)),
        lambda client: client.block_one(number(1)),
        lambda client: client.snapshot(),
        lambda client: client.sync(numbers(1)),
        lambda client: client.open(),
        lambda client: client.close(),
    ],
    ids=["block", "block_one", "snapshot", "sync", "open", "close"],
)
def test_two_loops(sandbox: Sandbox, call: Callable[[Client], Awaitable[object]]) -> None:
    """A client that is open on one event loop cannot be used on another, and says so."""

    async def use(client: Client) -> object:
        return await call(client)

    client = client_of(sandbox)
    with asyncio.Runner() as home, asyncio.Runner() as abroad:
        home.run(client.open())
        with pytest.raises(ClientClosed, match="opened on another event loop"):
            abroad.run(use(client))
        home.run(use(client))
        home.run(client.close())


def test_one_loop_after_the_other(sandbox: Sandbox) -> None:
    """A client that was closed can be opened on another event loop, with the same pace."""
    client = client_of(sandbox, pace=None)

    async def use() -> Report:
        async with client:
            return await client.block(numbers(25))

    for _ in range(2):
        assert len(asyncio.run(use()).succeeded) == 25


@pytest.mark.parametrize("call", ["block", "block_one", "snapshot"])
async def test_cancelled_at_any_moment(sandbox: Sandbox, call: str) -> None:
    """Wherever a call is cancelled, it leaves no task, no connection, no slot and no user taken."""
    arguments = {"block": [numbers(25)], "block_one": [number(1)], "snapshot": []}[call]
    settings = {"pace": FixedPace(2), "request_timeout": 0.1}
    async with (
        aiohttp.ClientSession() as session,
        client_of(sandbox, session=session, **settings) as client,
    ):
        before = asyncio.all_tasks()
        for moment in itertools.count():
            task = asyncio.create_task(getattr(client, call)(*arguments))
            for _ in range(moment):
                await asyncio.sleep(0)
            if not task.cancel():
                break
            await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(10):
            assert len((await client.unblock(numbers(25))).succeeded) == 25
            assert (await client.block_one(number(1))).ok

        assert moment > 5
        assert client.pace.state.in_flight == 0
        assert asyncio.all_tasks() == before
        assert not session.connector._acquired


async def test_failing_sibling(sandbox: Sandbox, client: Client) -> None:
    """A task group whose other task fails cancels a call, and the client is as good as before."""

    async def fail() -> None:
        await asyncio.sleep(0.02)
        raise LookupError

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.block_one(number(1)))
            group.create_task(fail())

    sandbox.glitch(glitches.hang_before())
    with pytest.raises(ExceptionGroup):
        await together()

    assert (await client.block_one(number(2))).ok


# --------------------------------------------------------------------------- many numbers


async def test_many_business_numbers(clock: Clock) -> None:
    """Clients of 50 numbers share one session; each has its own list and its own pace."""
    ids = tuple(str(10**14 + n) for n in range(50))
    rules = Rules(window=None, phone_number_ids=ids, rate=20, burst=1)
    with Sandbox(rules, clock=clock) as sandbox:
        async with aiohttp.ClientSession() as session:
            account = Account(**sandbox.credentials)
            clients = [
                await Client(
                    attrs.evolve(account, phone_number_id=each),
                    session=session,
                    chunk_size=2,
                    pace=adaptive(clock),
                ).open()
                for each in ids
            ]
            reports = await asyncio.gather(
                *(client.block(numbers(n % 5 + 1)) for n, client in enumerate(clients))
            )
            for client in clients:
                await client.close()

        assert [len(report.succeeded) for report in reports] == [n % 5 + 1 for n in range(50)]
        assert [len(sandbox.blocklist(each)) for each in ids] == [n % 5 + 1 for n in range(50)]
        assert not any(client.pace.state.in_flight for client in clients)
