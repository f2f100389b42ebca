"""Taking the messages of denied people out of a webhook."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers.guard.dropping import without_denied
from blockusers.guard.webhooks import InvalidWebhook, Sighting, Webhook

ANN, BEN = "16505551234", "16505555678"
NUMBER_ID, OTHER_ID = "106540352242922", "106540352242933"


async def ann_is_denied(phone_number_id: str, ids: tuple[str, ...]) -> bool:
    return phone_number_id == NUMBER_ID and ANN in ids


def change(*messages: Any, number_id: str = NUMBER_ID, **value: Any) -> dict[str, Any]:
    content = {"metadata": {"phone_number_id": number_id}, "messages": list(messages)} | value
    return {"field": "messages", "value": content}


def by(sender: str, **fields: Any) -> dict[str, Any]:
    return {"from": sender, "id": f"wamid.{sender}", **fields}


def body(*changes: Any) -> bytes:
    return orjson.dumps({"entry": [{"id": "1", "changes": list(changes)}]})


async def left(*changes: Any) -> Any:
    """Return the changes that are left of a webhook; None if none is."""
    part = await without_denied(body(*changes), ann_is_denied)
    return part and orjson.loads(part)["entry"][0]["changes"]


async def test_what_has_nobody_denied_stays_byte_for_byte() -> None:
    """Without a denied sender the very body comes back, however it is written."""
    raw = b"  " + body(change(by(BEN), number=1e3)) + b"\n"

    assert await without_denied(raw, ann_is_denied) is raw


async def test_only_the_messages_of_the_denied_go() -> None:
    """Messages of others, other fields, and changes of other kinds stay, in their order."""
    status = {"field": "messages", "value": {"statuses": [{"recipient_id": ANN}]}}
    other = {"field": "account_update", "value": {"from": ANN}}

    assert await left(change(by(ANN), by(BEN), by(ANN), more=1), status, other) == [
        change(by(BEN), more=1),
        status,
        other,
    ]


async def test_contacts_of_the_denied_go_too() -> None:
    """A contact goes with its messages, by number or BSUID; what is no contact stays."""
    contacts = [{"wa_id": ANN}, {"user_id": "US.1"}, {"wa_id": BEN}, {"profile": {}}, 7]
    messages = [by(ANN, from_user_id="US.1"), by(BEN)]

    assert await left(change(*messages, contacts=contacts)) == [
        change(by(BEN), contacts=contacts[2:])
    ]


async def test_a_contact_of_somebody_else_stays() -> None:
    """An id that a kept message names too is not only that of the denied."""
    contacts = [{"wa_id": BEN, "user_id": "US.1"}]
    messages = [by(ANN, from_user_id="US.1"), by(BEN)]

    assert await left(change(*messages, contacts=contacts)) == [change(by(BEN), contacts=contacts)]


async def test_a_change_without_messages_goes() -> None:
    """What tells of nothing any more goes: the change, its entry, and in the end the webhook."""
    raw = orjson.dumps(
        {"entry": [{"changes": [change(by(ANN))]}, {"changes": [change(by(BEN))]}, {"id": "3"}]}
    )
    part = await without_denied(raw, ann_is_denied)

    assert part is not None
    assert orjson.loads(part) == {"entry": [{"changes": [change(by(BEN))]}, {"id": "3"}]}
    assert await left(change(by(ANN)), change(by(ANN), by(ANN))) is None


async def test_a_change_with_statuses_stays() -> None:
    """Statuses beside messages are not lost with them."""
    assert await left(change(by(ANN), statuses=[{"id": "1"}])) == [change(statuses=[{"id": "1"}])]


async def test_who_is_denied_on_one_number_is_not_on_another() -> None:
    """The list is asked about the number to which somebody wrote."""
    elsewhere = change(by(ANN), number_id=OTHER_ID)

    assert await left(change(by(ANN)), elsewhere) == [elsewhere]


async def test_a_changed_number_is_news_all_the_same() -> None:
    """What Meta tells of a denied person is no message of theirs."""
    system = by(ANN, type="system", system={"type": "user_changed_number", "wa_id": "1"})

    assert await left(change(by(ANN), system)) == [change(system)]


async def test_each_sender_is_looked_up_once() -> None:
    """Many messages of one person are one question."""
    asked = []

    async def is_denied(phone_number_id: str, ids: tuple[str, ...]) -> bool:
        asked.append(ids)
        return False

    await without_denied(body(change(*[by(ANN)] * 50, by(BEN))), is_denied)

    assert asked == [(ANN,), (BEN,)]


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{",
        body(change(by(ANN), by(BEN), deep="?")).replace(b'"?"', b"[" * 500 + b"]" * 500),
    ],
    ids=["no object", "no JSON", "too deep"],
)
async def test_what_cannot_be_read_or_written_is_no_webhook(raw: bytes) -> None:
    """What is no JSON object, or nested too deep to be written, is one error."""
    with pytest.raises(InvalidWebhook):
        await without_denied(raw, ann_is_denied)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([ANN, BEN, "messages"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["from", "wa_id", "changes", "value", "field", "messages", "contacts"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(JSON), st.lists(JSON), JSON)
async def test_afterwards_no_denied_person_is_seen(
    changes: list[Any], messages: list[Any], contacts: Any
) -> None:
    """Whatever stands around them: the others are all there, and the denied are not."""
    hook = Webhook("secret", "token", clock=lambda: 0.0)
    raw = body(*changes, change(*messages, by(ANN), by(BEN), contacts=contacts))
    part = await without_denied(raw, ann_is_denied)

    def senders(whole: bytes) -> list[str]:
        return [one.ids[0] for one in hook.read(whole) if isinstance(one, Sighting)]

    assert part is not None
    assert [sender for sender in senders(raw) if sender != ANN] == senders(part)
