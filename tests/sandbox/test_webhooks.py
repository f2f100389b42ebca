"""The sandbox posts signed webhooks to a receiver of ours, as Meta does."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from blockusers.sandbox import Rules, Sandbox

if TYPE_CHECKING:
    from tests.support import Clock

ANN, BEN = "16505550001", "16505550002"
BSUID = "US.13491208655302741918"
SECRET = "app-secret"
RULES = Rules(webhook_retry_wait=0.001, webhook_retry_wait_max=0.002)


@attrs.define
class Receiver:
    """Answers each request with the next status, and with 200 when there is none left."""

    url: str = ""
    statuses: list[int] = attrs.field(factory=list)
    bodies: list[bytes] = attrs.field(factory=list)
    signed: list[bool] = attrs.field(factory=list)
    paths: list[str] = attrs.field(factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        right = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        self.bodies.append(body)
        self.signed.append(request.headers["X-Hub-Signature-256"] == f"sha256={right}")
        self.paths.append(request.path)
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    @property
    def changes(self) -> list[dict[str, Any]]:
        rows = [json.loads(body) for body in self.bodies]
        assert {row["object"] for row in rows} <= {"whatsapp_business_account"}
        return [change for row in rows for each in row["entry"] for change in each["changes"]]

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [one for change in self.changes for one in change["value"]["messages"]]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.receive)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/webhook"))
        yield receiver


@pytest.fixture
def sandbox(receiver: Receiver, clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(RULES, webhook_url=receiver.url, app_secret=SECRET, clock=clock) as sandbox:
        yield sandbox


async def delivered(sandbox: Sandbox) -> None:
    await asyncio.to_thread(sandbox.wait_delivered)


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not met():
            await asyncio.sleep(0.001)


async def test_a_message_is_posted(sandbox: Sandbox, receiver: Receiver) -> None:
    """The body has the shape of Meta's, with all ids of the sender."""
    message_id = sandbox.message_from(
        f"+{ANN}", text="Hi", user_id=BSUID, name="Ann", username="ann", wrote_at=1234.5
    )
    await delivered(sandbox)

    assert message_id.startswith("wamid.")
    assert receiver.changes == [
        {
            "field": "messages",
            "value": {
                "messaging_product": "whatsapp",
                "metadata": {
                    "display_phone_number": "15550783881",
                    "phone_number_id": "106540352242922",
                },
                "contacts": [
                    {"profile": {"name": "Ann", "username": "ann"}, "wa_id": ANN, "user_id": BSUID}
                ],
                "messages": [
                    {
                        "from": ANN,
                        "from_user_id": BSUID,
                        "id": message_id,
                        "timestamp": "1234",
                        "type": "text",
                        "text": {"body": "Hi"},
                    }
                ],
            },
        }
    ]


async def test_the_raw_body_is_signed(sandbox: Sandbox, receiver: Receiver) -> None:
    """The signature is made over the bytes, whatever is in them."""
    sandbox.message_from(ANN, text="Grüße 👋")
    await delivered(sandbox)

    assert receiver.signed == [True]


async def test_a_number_comes_with_a_bsuid_of_its_own(sandbox: Sandbox, receiver: Receiver) -> None:
    """It is the same in every message, and can be left out."""
    for user in (ANN, ANN, BEN):
        sandbox.message_from(user)
        await delivered(sandbox)
    sandbox.message_from(ANN, user_id="")
    await delivered(sandbox)
    first, again, other, without = (row.get("from_user_id") for row in receiver.messages)

    assert first == again != other
    assert first.startswith("US.")
    assert without is None


async def test_a_person_known_only_by_bsuid(sandbox: Sandbox, receiver: Receiver) -> None:
    """Neither `from` nor `wa_id` is there."""
    sandbox.message_from(BSUID)
    await delivered(sandbox)
    value = receiver.changes[0]["value"]

    assert value["contacts"] == [{"profile": {"name": "Somebody"}, "user_id": BSUID}]
    assert "from" not in value["messages"][0]
    assert value["messages"][0]["from_user_id"] == BSUID


async def test_posting_goes_on_until_200(sandbox: Sandbox, receiver: Receiver) -> None:
    """Anything but 200 is a failure, other successes too; the body stays the same."""
    receiver.statuses = [500, 503, 401, 204]
    sandbox.message_from(ANN)
    await delivered(sandbox)
    [webhook] = sandbox.webhooks

    assert len(receiver.bodies) == webhook.attempts == 5
    assert {webhook.body} == set(receiver.bodies)
    assert (webhook.status, webhook.delivered_at) == (200, 1000.0)


async def test_redirects_are_not_followed(sandbox: Sandbox, receiver: Receiver) -> None:
    """Messages go nowhere but to the URL that was given."""
    receiver.statuses = [302, 307]
    sandbox.message_from(ANN)
    await delivered(sandbox)

    assert receiver.paths == ["/webhook"] * 3


async def test_a_receiver_that_is_away(receiver: Receiver) -> None:
    """What cannot be delivered waits, also for another URL."""
    with Sandbox(RULES, webhook_url="http://127.0.0.1:9/", app_secret=SECRET) as sandbox:
        sandbox.message_from(ANN)
        await until(lambda: sandbox.webhooks[0].attempts > 2)
        [webhook] = sandbox.webhooks
        assert (webhook.status, webhook.delivered_at) == (None, None)
        assert webhook.error == "ClientConnectorError"
        with pytest.raises(TimeoutError, match="1 webhooks wait for a 200, such as Rec.*Connector"):
            sandbox.wait_delivered(0)

        sandbox.post_webhooks_to(receiver.url)
        await delivered(sandbox)
    assert len(receiver.bodies) == 1
    assert (webhook.status, webhook.error) == (200, None)


async def test_a_slow_receiver(receiver: Receiver) -> None:
    """By the rules it is given up, and the message posted again."""

    async def never(_request: web.Request) -> web.Response:
        return await asyncio.get_running_loop().create_future()

    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_post("/", never)
    rules = attrs.evolve(RULES, webhook_timeout=0.01)
    async with TestServer(app) as server:
        with Sandbox(rules, webhook_url=str(server.make_url("/")), app_secret=SECRET) as sandbox:
            sandbox.message_from(ANN)
            await until(lambda: sandbox.webhooks[0].error == "TimeoutError")
            sandbox.post_webhooks_to(receiver.url)
            await delivered(sandbox)


async def test_a_blocked_person_is_not_heard(sandbox: Sandbox, receiver: Receiver) -> None:
    """Their messages never reach the business, under whichever id; the others' do."""
    sandbox.message_from(ANN, user_id=BSUID)
    await delivered(sandbox)
    sandbox.block(ANN)

    assert sandbox.message_from(ANN) is None
    assert sandbox.message_from(BSUID) is None
    assert sandbox.message_from(BEN)
    sandbox.unblock(ANN)
    assert sandbox.message_from(BSUID)
    await delivered(sandbox)
    assert len(receiver.bodies) == len(sandbox.webhooks) == 3


async def test_other_fields_of_a_message(receiver: Receiver) -> None:
    """`standby`, another business number, and whatever else the message is to carry."""
    rules = attrs.evolve(RULES, phone_number_ids=("1", "2"))
    with Sandbox(rules, webhook_url=receiver.url, app_secret=SECRET) as sandbox:
        extra = {"type": "image", "group_id": "g"}
        sandbox.message_from(ANN, field="standby", phone_number_id="2", extra=extra)
        await delivered(sandbox)
    [change] = receiver.changes

    assert change["field"] == "standby"
    assert change["value"]["metadata"]["phone_number_id"] == "2"
    assert receiver.messages[0]["type"] == "image"
    assert receiver.messages[0]["group_id"] == "g"


async def test_a_message_can_be_repeated(sandbox: Sandbox, receiver: Receiver) -> None:
    """Meta delivers twice now and then."""
    message_id = sandbox.message_from(ANN)
    assert sandbox.message_from(ANN, message_id=message_id) == message_id
    await delivered(sandbox)

    assert [row["id"] for row in receiver.messages] == [message_id] * 2


async def test_a_changed_number(sandbox: Sandbox, receiver: Receiver) -> None:
    """The system message comes without contacts, from the old number, with both BSUIDs."""
    message_id = sandbox.identity_changed(ANN, BEN, previous_user_id=BSUID, user_id="US.2")
    await delivered(sandbox)

    assert "contacts" not in receiver.changes[0]["value"]
    assert receiver.messages == [
        {
            "from": ANN,
            "from_user_id": BSUID,
            "id": message_id,
            "timestamp": "1000",
            "type": "system",
            "system": {
                "type": "user_changed_number",
                "body": "The user has changed",
                "wa_id": BEN,
                "previous_user_id": BSUID,
                "user_id": "US.2",
            },
        }
    ]


async def test_a_changed_bsuid(sandbox: Sandbox, receiver: Receiver) -> None:
    """Only the ids are told."""
    sandbox.identity_changed(BSUID, "US.2", changed_at=7, message_id="wamid.x")
    await delivered(sandbox)
    [message] = receiver.messages

    assert (message["id"], message["timestamp"], message["from_user_id"]) == ("wamid.x", "7", BSUID)
    assert message["system"] == {
        "type": "user_changed_user_id",
        "body": "The user has changed",
        "previous_user_id": BSUID,
        "user_id": "US.2",
    }


async def test_what_is_pending_outlasts_a_stop(receiver: Receiver) -> None:
    """Messages of before the start, and those that a stop interrupted, are posted afterwards."""
    sandbox = Sandbox(RULES, webhook_url="http://127.0.0.1:9/", app_secret=SECRET)
    sandbox.message_from(ANN)
    with sandbox:
        await until(lambda: sandbox.webhooks[0].attempts > 0)
    sandbox.message_from(BEN)
    sandbox.post_webhooks_to(receiver.url)
    with sandbox:
        await delivered(sandbox)

    assert {row["from"] for row in receiver.messages} == {ANN, BEN}


async def test_it_remembers_the_last_webhooks(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are forgotten are delivered all the same."""
    monkeypatch.setattr("blockusers.sandbox.poster.KEPT", 1)
    sandbox = Sandbox(RULES, webhook_url=receiver.url, app_secret=SECRET)
    ids = [sandbox.message_from(user) for user in (ANN, BEN)]
    with sandbox:
        await delivered(sandbox)

    assert [webhook.message_id for webhook in sandbox.webhooks] == ids[1:]
    assert {row["id"] for row in receiver.messages} == {*ids}


async def test_without_a_url_nothing_is_posted() -> None:
    """The message counts all the same: it has an id, and opens the window."""
    with Sandbox() as sandbox:
        assert sandbox.message_from(ANN)
        sandbox.wait_delivered(0)
        assert sandbox.webhooks == ()


@pytest.mark.parametrize(
    ("url", "allow_remote", "error"),
    [
        ("https://example.com/webhook", False, "not on this machine"),
        ("http://10.0.0.1/", False, "not on this machine"),
        ("https://example.com/webhook", True, None),
        ("http://localhost:1/", False, None),
        ("http://[::1]:1/", False, None),
        ("127.0.0.1:8080", False, "must begin with"),
        ("ftp://127.0.0.1/", False, "must begin with"),
        ("http:///webhook", True, "must begin with"),
    ],
)
def test_webhooks_stay_on_this_machine(*, url: str, allow_remote: bool, error: str | None) -> None:
    """Unless it is permitted, no message goes elsewhere."""

    def make() -> Sandbox:
        return Sandbox(webhook_url=url, app_secret=SECRET, allow_remote_webhook=allow_remote)

    if error is None:
        assert make().webhooks == ()
    else:
        with pytest.raises(ValueError, match=error):
            make()


def test_webhooks_need_a_secret() -> None:
    """Meta signs every one."""
    with pytest.raises(ValueError, match="app_secret"):
        Sandbox(webhook_url="http://127.0.0.1:1/")


def test_the_secret_is_that_of_the_proof() -> None:
    """Given to the sandbox or to its rules, it is one."""
    with Sandbox(app_secret=SECRET) as sandbox:
        assert Rules(app_secret=SECRET) == sandbox.rules
        assert sandbox.credentials["app_secret"] == SECRET
