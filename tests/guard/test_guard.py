"""The guard against the sandbox, over real HTTP: who is denied is blocked when they write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import attrs
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blockusers import Account, Client, ClientClosed, Event, FixedPace, Priority
from blockusers.guard import (
    Change,
    DenyList,
    Guard,
    GuardStatus,
    IdentityChanged,
    NumberStatus,
    Sighting,
    StoreUnavailable,
    Webhook,
)
from blockusers.guard.intents import Intent, Rank
from blockusers.guard.stores.protocol import Store
from blockusers.observe.events import SenderMatched
from blockusers.sandbox import Rules, Sandbox, glitches
from tests.guard.support import APP_SECRET, block, pass_time, signed, until, webhook_of
from tests.support import Clock

ANNA, BEN, CARL = "16505550001", "16505550002", "16505550003"
ANNAS_ID = "US.13491208655302741918"
FIRST, SECOND = "106540352242922", "106540352242923"


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    rules = Rules(phone_number_ids=(FIRST, SECOND), webhook_retry_wait=0.01)
    with Sandbox(rules, app_secret=APP_SECRET, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
def deny_list(store: Store) -> DenyList:
    return DenyList(store)


def guard_of(sandbox: Sandbox, deny_list: DenyList, **settings: object) -> Guard:
    """Return a guard of both numbers."""
    accounts = [Account(**sandbox.credentials_of(each)) for each in (FIRST, SECOND)]
    given = {"webhook": Webhook(APP_SECRET, "a token of ours"), "sweep_every": 0.01} | settings
    return Guard(accounts, deny_list, **given)  # type: ignore[arg-type]


@pytest.fixture
async def guard(sandbox: Sandbox, deny_list: DenyList) -> AsyncIterator[Guard]:
    """An open guard, to which the sandbox posts its webhooks."""

    async def receive(request: web.Request) -> web.Response:
        signature = request.headers.get("X-Hub-Signature-256")
        return web.Response(status=await guard.handle(await request.read(), signature))

    app = web.Application()
    app.router.add_post("/webhook", receive)
    async with guard_of(sandbox, deny_list) as guard, TestServer(app) as server:
        sandbox.post_webhooks_to(str(server.make_url("/webhook")))
        yield guard


async def delivered(sandbox: Sandbox) -> None:
    await asyncio.to_thread(sandbox.wait_delivered)


async def settled(guard: Guard) -> bool:
    numbers = (await guard.status()).numbers.values()
    return all(number.waiting_seconds is None for number in numbers)


def changes_asked_for(sandbox: Sandbox) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.method, each.users) for each in sandbox.requests]


async def test_who_is_denied_is_blocked_when_they_write(guard: Guard, sandbox: Sandbox) -> None:
    """The block follows the message; who is not denied is left alone."""
    change = await guard.deny_list.add(["+1 650 555 0001"], reason="spam", origin="anna")
    sandbox.message_from(BEN)
    sandbox.message_from(ANNA)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert change == Change(added=1)
    assert sandbox.blocklist() == {ANNA}
    assert await guard.status() == GuardStatus(
        {FIRST: NumberStatus("draining", blocked=1), SECOND: NumberStatus("draining")},
        sightings=2,
        denied=1,
    )
    assert sandbox.message_from(ANNA) is None


async def test_a_message_reaches_only_its_own_number(guard: Guard, sandbox: Sandbox) -> None:
    """Who writes to one number is blocked on that number alone."""
    await guard.deny_list.add([ANNA])
    sandbox.message_from(ANNA, phone_number_id=SECOND)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert (sandbox.blocklist(FIRST), sandbox.blocklist(SECOND)) == (set(), {ANNA})


async def test_a_bot_may_tell_who_writes(guard: Guard, sandbox: Sandbox, clock: Clock) -> None:
    """`see` returns the entry that denies the sender, and blocks; of others it returns None."""
    await guard.deny_list.add([ANNA], reason="spam")
    sandbox.message_from(ANNA)

    entry = await guard.see(Sighting(FIRST, (ANNA,), clock()))

    assert entry is not None
    assert entry.reason == "spam"
    assert await guard.see(Sighting(FIRST, (BEN,), clock())) is None
    await until(lambda: settled(guard))
    assert sandbox.blocklist() == {ANNA}


async def test_who_hides_the_number_later_is_known_by_the_bsuid(
    guard: Guard, sandbox: Sandbox
) -> None:
    """A BSUID that was seen with a denied number is denied when it is seen alone."""
    await guard.deny_list.add([ANNA])
    sandbox.message_from(ANNA, user_id=ANNAS_ID)
    await delivered(sandbox)
    await until(lambda: settled(guard))
    sandbox.unblock(ANNA)
    sandbox.message_from(ANNAS_ID)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert sandbox.blocklist() == {ANNAS_ID}


async def test_a_changed_number_takes_its_entry_along(guard: Guard, sandbox: Sandbox) -> None:
    """Who tells of a new number is denied by that one; the old number is free."""
    await guard.deny_list.add([ANNA])
    sandbox.identity_changed(ANNA, BEN)
    sandbox.message_from(ANNA)
    await delivered(sandbox)
    sandbox.message_from(BEN)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert sandbox.blocklist() == {BEN}


async def test_a_changed_id_is_learned(guard: Guard, clock: Clock) -> None:
    """A new BSUID of somebody whose old one is an alias stands for the same entry."""
    await guard.deny_list.add([ANNA])
    await guard.see(Sighting(FIRST, (ANNA, ANNAS_ID), clock()))
    await guard.deny_list.follow(IdentityChanged(ANNAS_ID, "US.2", FIRST, clock(), "wamid.1"))

    assert await guard.see(Sighting(FIRST, ("US.2",), clock()))
    assert not await guard.deny_list.follow(IdentityChanged(ANNA, "nobody", FIRST, clock()))


async def test_allow_beats_deny(guard: Guard, sandbox: Sandbox) -> None:
    """Who is allowed on a number is not blocked there, though denied everywhere."""
    await guard.deny_list.add([ANNA])
    await guard.deny_list.add([ANNA], scope=FIRST, action="allow")
    for number in (FIRST, SECOND):
        sandbox.message_from(ANNA, phone_number_id=number)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert (sandbox.blocklist(FIRST), sandbox.blocklist(SECOND)) == (set(), {ANNA})


async def test_several_messages_of_one_sender_are_one_intent(
    sandbox: Sandbox, deny_list: DenyList, clock: Clock
) -> None:
    """Several messages in one webhook cost one request."""
    await deny_list.add([ANNA])
    sandbox.message_from(ANNA)
    body = webhook_of(ANNA, ANNA, phone_number_id=FIRST, at=clock())
    async with guard_of(sandbox, deny_list) as guard:
        assert await guard.handle(body, signed(body)) == 200
        await until(lambda: settled(guard))

    assert len(sandbox.requests) == 1


# --------------------------------------------------------------------------- replays


async def test_a_webhook_that_is_sent_again_costs_nothing(
    guard: Guard, sandbox: Sandbox, clock: Clock
) -> None:
    """A webhook that was taken care of changes nothing and costs no request, however old."""
    await guard.deny_list.add([ANNA])
    sandbox.message_from(ANNA)
    await delivered(sandbox)
    await until(lambda: settled(guard))
    (webhook,) = sandbox.webhooks
    sandbox.unblock(ANNA)  # by hand
    asked = len(sandbox.requests)
    for seconds in (0, 1, 3600, 86_400, 86_400):
        await pass_time(clock, guard.deny_list.store, seconds)
        assert await guard.handle(webhook.body, signed(webhook.body)) == 200
        await until(lambda: settled(guard))

    assert len(sandbox.requests) == asked


async def test_who_was_unblocked_by_hand_is_blocked_by_the_next_message(
    guard: Guard, sandbox: Sandbox
) -> None:
    """Another message, even of the same second, shows that the sender is not blocked."""
    await guard.deny_list.add([ANNA])
    for _ in range(2):
        sandbox.message_from(ANNA)
        await delivered(sandbox)
        await until(lambda: settled(guard))
        assert sandbox.blocklist() == {ANNA}
        sandbox.unblock(ANNA)


async def test_a_message_of_yesterday_costs_no_request(
    guard: Guard, sandbox: Sandbox, clock: Clock
) -> None:
    """Who wrote more than 24 hours ago cannot be blocked, so it is not tried."""
    await guard.deny_list.add([ANNA])

    assert await guard.see(Sighting(FIRST, (ANNA,), clock() - 86_401))
    assert await settled(guard)
    assert sandbox.requests == ()


# --------------------------------------------------------------------------- changes of the list


async def test_who_is_removed_is_unblocked(guard: Guard, sandbox: Sandbox) -> None:
    """A removed entry unblocks whom the guard has blocked, and nobody else."""
    await guard.deny_list.add([ANNA, BEN])
    sandbox.block(BEN)  # by hand
    sandbox.message_from(ANNA)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert await guard.deny_list.remove([ANNA, BEN]) == Change(removed=2)
    await until(lambda: sandbox.blocklist() == {BEN})
    await until(lambda: settled(guard))
    assert [method for method, _ in changes_asked_for(sandbox)] == ["POST", "DELETE"]


async def test_who_is_allowed_later_is_unblocked(guard: Guard, sandbox: Sandbox) -> None:
    """An entry that allows somebody undoes the guard's block."""
    await guard.deny_list.add([ANNA])
    sandbox.message_from(ANNA)
    await delivered(sandbox)
    await until(lambda: sandbox.blocklist() == {ANNA})

    await guard.deny_list.add([ANNA], action="allow")
    await until(lambda: sandbox.blocklist() == set())


async def test_an_entry_that_expires_unblocks(guard: Guard, sandbox: Sandbox, clock: Clock) -> None:
    """Once an entry has expired, whom it denied can write again."""
    await guard.deny_list.add([ANNA], expires_at=clock() + 60)
    sandbox.message_from(ANNA)
    await delivered(sandbox)
    await until(lambda: sandbox.blocklist() == {ANNA})
    await until(lambda: settled(guard))
    clock.now += 60
    await until(lambda: sandbox.blocklist() == set())

    async def is_gone() -> bool:
        return await guard.deny_list.count() == 0

    await until(is_gone)


async def test_to_deny_blocks_at_once(guard: Guard, sandbox: Sandbox) -> None:
    """`deny` adds, and blocks those who have just written on every number that is concerned."""
    sandbox.message_from(ANNA)
    sandbox.message_from(ANNA, phone_number_id=SECOND)
    sandbox.message_from(BEN)
    sandbox.message_from(BEN, phone_number_id=SECOND)
    everywhere = await guard.deny([ANNA, "nobody"], reason="spam")
    second_only = await guard.deny([BEN], scope=SECOND)
    await until(lambda: settled(guard))

    assert (everywhere.added, second_only.added) == (1, 1)
    assert [str(each.input) for each in everywhere.refused] == ["nobody"]
    assert (sandbox.blocklist(FIRST), sandbox.blocklist(SECOND)) == ({ANNA}, {ANNA, BEN})


async def test_what_raises_in_a_source_is_raised(guard: Guard) -> None:
    """An iterable that fails denies nobody."""

    def failing() -> Iterator[str]:
        yield ANNA
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await guard.deny(failing())
    assert await guard.deny_list.count() == 0


# --------------------------------------------------------------------------- what handle answers


async def test_handle_answers_with_a_status(guard: Guard) -> None:
    """Wrong signatures are 401, what is no webhook 400, what is too large 413."""
    body = webhook_of(ANNA, phone_number_id=FIRST)

    assert await guard.handle(body, signed(body)) == 200
    for wrong in (None, "", "sha256=", signed(body, "another"), signed(body)[:-1], "sha1=x"):
        assert await guard.handle(body, wrong) == 401
    for nonsense in (b"", b"[]", b"{"):
        assert await guard.handle(nonsense, signed(nonsense)) == 400
    large = b" " * (3 * 1024 * 1024 + 1)
    assert await guard.handle(large, signed(large)) == 413
    assert (await guard.status()).rejected == 9


async def test_the_largest_webhook_is_read(guard: Guard) -> None:
    """A body of 3 MB is read."""
    body = webhook_of(ANNA, phone_number_id=FIRST)
    body += b" " * (3 * 1024 * 1024 - len(body))

    assert await guard.handle(body, signed(body)) == 200


async def test_unknown_numbers_are_counted(guard: Guard) -> None:
    """A message to a number that the guard does not have is answered 200, and counted."""
    body = webhook_of(ANNA, phone_number_id="42")

    assert await guard.handle(body, signed(body)) == 200
    status = await guard.status()
    assert (status.sightings, status.unknown_numbers) == (1, {"42": 1})
    assert status.to_dict()["unknown_numbers"] == {"42": 1}


async def test_who_names_nobody_is_counted(guard: Guard, clock: Clock) -> None:
    """A denied sender without an id that can be blocked is counted as skipped."""
    await guard.deny_list.add([ANNA])
    await guard.see(Sighting(FIRST, (ANNA, "US.ENT.77"), clock()))
    await until(lambda: settled(guard))
    await guard.see(Sighting(FIRST, ("US.ENT.77",), clock()))

    assert (await guard.status()).skipped == 1


async def test_one_account_does_not_speak_for_another(
    sandbox: Sandbox, deny_list: DenyList
) -> None:
    """With a secret for each number, a webhook for one that another's secret signed is 401."""
    webhook = Webhook({FIRST: APP_SECRET, SECOND: "another secret"}, "a token")
    body = webhook_of(ANNA, phone_number_id=SECOND)
    async with guard_of(sandbox, deny_list, webhook=webhook) as guard:
        assert await guard.handle(body, signed(body)) == 401
        assert await guard.handle(body, signed(body, "another secret")) == 200


async def test_one_account_changes_nothing_of_another(
    sandbox: Sandbox, deny_list: DenyList, clock: Clock
) -> None:
    """A signature for one number moves no entry of another number, nor one of all numbers."""
    webhook = Webhook({FIRST: APP_SECRET, SECOND: "another secret"}, "a token")
    await deny_list.add([ANNA], scope=SECOND)
    await deny_list.add([CARL])
    async with guard_of(sandbox, deny_list, webhook=webhook) as guard:
        for number in (FIRST, "999"):
            for old in (ANNA, CARL):
                body = changed_number(old, BEN, number, clock())
                assert await guard.handle(body, signed(body)) == 200
        assert [entry.user async for entry in deny_list.entries()] == [ANNA, CARL]

        body = changed_number(ANNA, BEN, SECOND, clock())
        assert await guard.handle(body, signed(body, "another secret")) == 200
        assert [entry.user async for entry in deny_list.entries()] == [BEN, CARL]


def changed_number(old: str, new: str, phone_number_id: str, at: float) -> bytes:
    """Return the body of a webhook that tells of a new number."""
    message = {
        "from": old,
        "id": f"wamid.{old}.{phone_number_id}",
        "timestamp": str(int(at)),
        "type": "system",
        "system": {"type": "user_changed_number", "wa_id": new},
    }
    value = {
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": phone_number_id},
        "messages": [message],
    }
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})


async def test_it_may_be_opened_again(sandbox: Sandbox, deny_list: DenyList, clock: Clock) -> None:
    """A guard that was closed works again once it is opened."""
    await deny_list.add([ANNA])
    guard = guard_of(sandbox, deny_list)
    async with guard:
        pass
    async with guard:
        sandbox.message_from(ANNA)
        await guard.see(Sighting(FIRST, (ANNA,), clock()))
        await until(lambda: sandbox.blocklist() == {ANNA})


async def test_an_outage_of_the_store_is_503(
    guard: Guard, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written down is sent again by Meta, and caught up."""
    await guard.deny_list.add([ANNA])
    store = guard.deny_list.store
    with monkeypatch.context() as patch:
        patch.setattr("blockusers.guard.guard._STORE_TIMEOUT", 0.0)
        sandbox.message_from(ANNA)
        await until(lambda: sandbox.webhooks[0].status == 503)
    await delivered(sandbox)
    await until(lambda: settled(guard))

    assert store is guard.deny_list.store
    assert sandbox.blocklist() == {ANNA}


async def test_the_status_tells_of_an_outage(
    sandbox: Sandbox, deny_list: DenyList, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a webhook that could not be written down, the status raises, until a write worked."""

    async def failing(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    await deny_list.add([ANNA])
    body = webhook_of(ANNA, phone_number_id=FIRST, at=clock())
    async with guard_of(sandbox, deny_list, sweep_every=60.0) as guard:
        await until(lambda: state_is(guard, "draining"))
        monkeypatch.setattr(deny_list.store, "want", failing)

        assert await guard.handle(body, signed(body)) == 503
        with pytest.raises(StoreUnavailable, match="the disk is full"):
            await guard.status()


async def test_a_guard_that_is_not_open(sandbox: Sandbox, deny_list: DenyList) -> None:
    """A closed guard answers 503, and raises ClientClosed where it is called."""
    guard = guard_of(sandbox, deny_list)
    body = webhook_of(ANNA, phone_number_id=FIRST)
    await guard.close()

    assert await guard.handle(body, signed(body)) == 503
    with pytest.raises(ClientClosed, match="the guard is not open"):
        await guard.see(Sighting(FIRST, (ANNA,)))
    with pytest.raises(ClientClosed, match="the guard is not open"):
        await guard.deny([ANNA])


async def test_a_number_that_pauses_holds_no_other_up(
    sandbox: Sandbox, deny_list: DenyList, clock: Clock
) -> None:
    """With an invalid token for one number, the other is guarded all the same."""
    good, bad = (Account(**sandbox.credentials_of(each)) for each in (FIRST, SECOND))
    bad = attrs.evolve(bad, access_token="EAAinvalid")
    await deny_list.add([ANNA])
    for number in (FIRST, SECOND):
        sandbox.message_from(ANNA, phone_number_id=number)
    async with Guard([good, bad], deny_list) as guard:
        for number in (SECOND, FIRST):
            await guard.see(Sighting(number, (ANNA,), clock()))
        await until(lambda: sandbox.blocklist(FIRST) == {ANNA})

        async def second() -> bool:
            number = (await guard.status()).numbers[SECOND]
            return (number.state, number.to_block) == ("paused", 1)

        await until(second)
        assert "invalid or expired" in (await guard.status()).numbers[SECOND].reason


async def test_it_goes_on_with_what_was_left_open(
    sandbox: Sandbox, deny_list: DenyList, clock: Clock
) -> None:
    """A guard that is opened carries out what an earlier one had only written down."""
    await deny_list.add([ANNA])
    sandbox.message_from(ANNA)
    somebody_else = deny_list.store.queue(FIRST)
    async with somebody_else, guard_of(sandbox, deny_list) as guard:
        await guard.see(Sighting(FIRST, (ANNA,), clock()))
        assert (await guard.status()).numbers[FIRST].state == "waiting"
    async with guard_of(sandbox, deny_list) as guard:
        await until(lambda: settled(guard))

    assert sandbox.blocklist() == {ANNA}


# --------------------------------------------------------------------------- long lists, arguments


def of_a_list(people: list[str], at: float) -> list[Intent]:
    """Return intents to block the users of a long list."""
    return [
        attrs.evolve(block(each, at), phone_number_id=FIRST, entry="", rank=Rank.BULK)
        for each in people
    ]


async def test_a_long_list_is_carried_out_as_a_job(
    guard: Guard, sandbox: Sandbox, clock: Clock
) -> None:
    """Users of a long list go in one request, in the order of a job."""
    people = [f"1650556{number:04}" for number in range(101)]
    for person in people:
        sandbox.message_from(person)
    await guard.deny_list.store.want(of_a_list(people, clock()), {})
    await until(lambda: settled(guard))

    assert sandbox.blocklist() == {*people}
    assert len(sandbox.requests) == 1


async def test_a_job_that_is_refused_waits(guard: Guard, sandbox: Sandbox, clock: Clock) -> None:
    """When the token is refused for a long list, the number pauses, and then goes on with all."""
    people = [f"1650556{number:04}" for number in range(101)]
    for person in people:
        sandbox.message_from(person)
    refusal = {"error": {"code": 190, "message": "Invalid OAuth access token"}}
    sandbox.glitch(glitches.answer(401, refusal))

    await guard.deny_list.store.want(of_a_list(people, clock()), {})
    await until(lambda: state_is(guard, "paused"))
    assert sandbox.blocklist() == set()
    await pass_time(clock, guard.deny_list.store, 60.0)
    await until(lambda: sandbox.blocklist() == {*people})


async def state_is(guard: Guard, state: str) -> bool:
    return (await guard.status()).numbers[FIRST].state == state


async def test_an_error_of_unknown_kind_loses_nobody(
    sandbox: Sandbox, deny_list: DenyList, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """What an own pace raises is logged, and the intents are carried out later."""

    class Failing(FixedPace):
        failed = False

        def slot(self, priority: Priority, *, again: bool = False) -> Any:
            if not self.failed:
                self.failed = True
                raise RuntimeError("of a pace")
            return super().slot(priority, again=again)

    await deny_list.add([ANNA])
    sandbox.message_from(ANNA)
    make_client = partial(Client, pace=Failing(1))
    async with guard_of(sandbox, deny_list, make_client=make_client) as guard:
        await guard.see(Sighting(FIRST, (ANNA,), clock()))
        await until(lambda: "guard: a request failed: RuntimeError: of a pace" in caplog.text)
        await pass_time_until(clock, guard, lambda: sandbox.blocklist() == {ANNA})


async def pass_time_until(clock: Clock, guard: Guard, true: Callable[[], bool]) -> None:
    """Let time pass until something is true."""
    while not true():
        await pass_time(clock, guard.deny_list.store, 1.0)
        await asyncio.sleep(0.01)


async def test_an_outage_during_the_sweep(
    sandbox: Sandbox,
    deny_list: DenyList,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A store that fails while what has expired is removed is logged; the guard goes on."""

    async def failing() -> int:
        raise StoreUnavailable("the disk is full")

    async with guard_of(sandbox, deny_list, sweep_every=0.001):
        monkeypatch.setattr(deny_list.store, "expire", failing)
        await until(lambda: "guard: the disk is full" in caplog.text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_full": "ask"}, "on_full: must be 'evict' or 'stop', not 'ask'"),
        ({"accounts": []}, "accounts: there is none"),
        ({"accounts": ["1"]}, "accounts: must be accounts, not str"),
        ({"accounts": [1, 1]}, "is there 2 times"),
    ],
)
def test_wrong_arguments(
    deny_list: DenyList, sandbox: Sandbox, settings: dict[str, object], message: str
) -> None:
    """An argument that cannot be meant is rejected, by its name."""
    account = Account(**sandbox.credentials)
    given = {"accounts": [account], "deny_list": deny_list} | settings
    given["accounts"] = [account if each == 1 else each for each in given["accounts"]]  # type: ignore[attr-defined]

    with pytest.raises((TypeError, ValueError), match=message):
        Guard(**given)  # type: ignore[arg-type]


async def test_it_is_opened_once(guard: Guard) -> None:
    """To open an open guard is an error."""
    with pytest.raises(RuntimeError, match="open already"):
        await guard.open()


async def test_handle_needs_a_webhook(sandbox: Sandbox, deny_list: DenyList) -> None:
    """Without a webhook there is nothing to check a signature with."""
    async with guard_of(sandbox, deny_list, webhook=None) as guard:
        with pytest.raises(TypeError, match=r"webhook: Guard\(…, webhook=Webhook\("):
            await guard.handle(b"", None)
        assert (await guard.status()).skipped == 0


async def test_observers_are_told(sandbox: Sandbox, deny_list: DenyList, clock: Clock) -> None:
    """Each sighting is an event that names the number, and nobody who wrote."""
    events: list[Event] = []
    await deny_list.add([ANNA])
    async with guard_of(sandbox, deny_list, observers=[events.append]) as guard:
        for user in (ANNA, BEN):
            await guard.see(Sighting(FIRST, (user,), clock()))

    seen = [event for event in events if isinstance(event, SenderMatched)]
    assert [(event.phone_number_id, event.denied) for event in seen] == [
        (FIRST, True),
        (FIRST, False),
    ]
    assert str(seen[1]) == "guard: a sender is not on the deny list"
    assert not [each for event in events for each in (ANNA, BEN) if each in repr(event)]


async def test_a_client_may_be_made_to_measure(sandbox: Sandbox, deny_list: DenyList) -> None:
    """`make_client` decides how requests are sent."""
    made: list[str] = []

    def make_client(account: Account) -> Client:
        made.append(account.phone_number_id)
        return Client(account, request_timeout=5.0)

    async with guard_of(sandbox, deny_list, make_client=make_client):
        assert made == [FIRST, SECOND]
