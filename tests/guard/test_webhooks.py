"""Webhooks: whose signature is believed, and what is read of what is signed."""

from __future__ import annotations

import hashlib
import hmac
import random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import BlockUsersError
from blockusers.guard.webhooks import (
    IdentityChanged,
    InvalidWebhook,
    Sighting,
    Webhook,
    WebhookRejected,
)
from blockusers.sandbox import Rules, Sandbox

SECRET = "3f5c8a1e9b7d4f60a2c4e6f8b0d2a4c6"
OLD_SECRET = "00112233445566778899aabbccddeeff"
TOKEN = "a word of our own"
NUMBER_ID = "106540352242922"
OTHER_ID = "106540352242933"
OWN = "15550783881"
ANN = "16505551234"
ANN_ID = "US.13491208655302741918"
NOW = 1_750_000_000.0
WAMID = "wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQ"


def webhook(app_secret: Any = SECRET) -> Webhook:
    return Webhook(app_secret, TOKEN, clock=lambda: NOW)


def signed(raw: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"


def message(**fields: Any) -> dict[str, Any]:
    whole = {
        "from": ANN,
        "id": WAMID,
        "timestamp": "1749999990",
        "type": "text",
        "text": {"body": "hi"},
    } | fields
    return {name: value for name, value in whole.items() if value is not None}


def change(*messages: Any, field: Any = "messages", **value: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "+1 555-078-3881", "phone_number_id": NUMBER_ID}
    content = {"messaging_product": "whatsapp", "metadata": metadata, "messages": list(messages)}
    content |= value
    return {"field": field, "value": {k: v for k, v in content.items() if v is not None}}


def body(*changes: Any) -> bytes:
    entry = [{"id": "102290129340398", "changes": list(changes)}]
    return orjson.dumps({"object": "whatsapp_business_account", "entry": entry})


def sighted(*changes: Any) -> list[tuple[str, ...]]:
    """Return the ids of the senders whom a webhook with these changes shows."""
    found = webhook().read(body(*changes))
    assert all(isinstance(one, Sighting) for one in found)
    return [one.ids for one in found if isinstance(one, Sighting)]


def skipped(raw: bytes) -> int:
    """Return how much was skipped of a webhook from which nothing was read."""
    hook = webhook()
    assert hook.read(raw) == []
    return hook.skipped


# --------------------------------------------------------------------------- construction


@pytest.mark.parametrize("secret", [None, 7, b"abc", [b"abc"], {"1": None}, {"1": {}}, {1: "abc"}])
def test_a_secret_is_a_text(secret: Any) -> None:
    """What is no text is a TypeError that says what it has to be."""
    with pytest.raises(TypeError, match="^app_secret.*: must be a str, not "):
        webhook(secret)


@pytest.mark.parametrize("secret", ["", " ", "abc\n", [], [""], ["abc", ""], {}, {"1": []}])
def test_a_missing_secret_is_found_in_the_dashboard(secret: Any) -> None:
    """An empty secret is a ValueError that says where Meta shows it."""
    with pytest.raises(ValueError, match="^app_secret.* App settings > Basic > App secret"):
        webhook(secret)


@pytest.mark.parametrize(("token", "error"), [("", ValueError), (None, TypeError)])
def test_a_missing_verify_token_is_explained(token: Any, error: type[Exception]) -> None:
    """Without a verify token the error says what it is and where else it is entered."""
    with pytest.raises(error, match="any text of your own.* WhatsApp > Configuration"):
        Webhook(SECRET, token)


@pytest.mark.parametrize("secret", [SECRET, [SECRET, OLD_SECRET], {NUMBER_ID: SECRET}])
def test_it_shows_no_secret(secret: Any) -> None:
    """Neither the secret nor the token is in its representation."""
    shown = repr(webhook(secret))

    assert SECRET not in shown
    assert TOKEN not in shown


def test_an_error_shows_no_secret() -> None:
    """A secret with a line break is not repeated in the error about it."""
    with pytest.raises(ValueError, match="app_secret") as raised:
        webhook(f"{SECRET}\n")

    assert SECRET not in str(raised.value)


# --------------------------------------------------------------------------- verification


def query(**fields: Any) -> dict[str, Any]:
    whole = {"mode": "subscribe", "verify_token": TOKEN, "challenge": "1158201444"} | fields
    return {f"hub.{name}": value for name, value in whole.items() if value is not None}


def test_the_challenge_is_answered() -> None:
    """Whoever shows the verify token gets the challenge back."""
    assert webhook().challenge(query()) == "1158201444"


@pytest.mark.parametrize(
    "wrong",
    [
        {"verify_token": "another"},
        {"verify_token": ""},
        {"verify_token": None},
        {"verify_token": [TOKEN]},
        {"verify_token": f"{TOKEN} "},
        {"verify_token": "ünïcödé"},
        {"verify_token": "\ud800"},
        {"mode": None},
        {"mode": "unsubscribe"},
        {"challenge": None},
        {"challenge": ""},
        {"challenge": ["1158201444"]},
        {"challenge": "1" * 257},
    ],
)
def test_no_other_verification_is_answered(wrong: dict[str, Any]) -> None:
    """A wrong token, another mode and a challenge that is none of Meta's are rejected."""
    with pytest.raises(WebhookRejected):
        webhook().challenge(query(**wrong))


def test_a_verify_token_may_have_any_letters() -> None:
    """A token with letters beyond ASCII is compared like any other."""
    hook = Webhook(SECRET, "прИвет")

    assert hook.challenge(query(verify_token="прИвет")) == "1158201444"
    with pytest.raises(WebhookRejected):
        hook.challenge(query(verify_token="привет"))


# --------------------------------------------------------------------------- signatures


def test_what_meta_signed_is_accepted() -> None:
    """The signature of the raw body with the app secret speaks for all numbers."""
    raw = body(change(message()))

    assert webhook().verify(raw, signed(raw)) is None


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_both_secrets_hold_while_one_is_rotated(secret: str) -> None:
    """With several secrets the signature of each is accepted."""
    hook = webhook(one for one in (SECRET, OLD_SECRET))

    assert hook.verify(b"{}", signed(b"{}", secret)) is None


def test_a_secret_speaks_for_its_own_numbers() -> None:
    """With a secret for each number, a signature speaks only for those with that secret."""
    hook = webhook({NUMBER_ID: [SECRET, "new"], OTHER_ID: OLD_SECRET, "7": OLD_SECRET})

    assert hook.verify(b"{}", signed(b"{}")) == {NUMBER_ID}
    assert hook.verify(b"{}", signed(b"{}", "new")) == {NUMBER_ID}
    assert hook.verify(b"{}", signed(b"{}", OLD_SECRET)) == {OTHER_ID, "7"}
    with pytest.raises(WebhookRejected):
        hook.verify(b"{}", signed(b"{}", "a third"))


RAW = body(change(message()))
HEX = signed(RAW).removeprefix("sha256=")


@pytest.mark.parametrize(
    "signature",
    [
        None,
        "",
        HEX,
        f"sha256={HEX.upper()}",
        f"SHA256={HEX}",
        f"sha1={HEX}",
        f"sha256={HEX[:-1]}",
        f"sha256={HEX}0",
        f"sha256={HEX}\n",
        f" sha256={HEX}",
        f"sha256= {HEX}",
        f"sha256=sha256={HEX}",
        f"sha256={HEX}, sha256={HEX}",
        f"sha256={HEX[:-1]}é",
        "sha256=" + "٣" * 64,
        "sha256=\ud800",
        signed(RAW, OLD_SECRET),
        signed(b""),
        f"sha256={HEX}".encode(),
        ["sha256={HEX}"],
    ],
)
def test_no_other_signature_is_accepted(signature: Any) -> None:
    """Only `sha256=` and the 64 small hex digits of this body are a signature."""
    with pytest.raises(WebhookRejected):
        webhook().verify(RAW, signature)


def changed(text: str, source: random.Random) -> str:
    """Return *text* with one character replaced, removed, doubled or swapped."""
    i = source.randrange(len(text))
    other = chr(ord(text[i]) ^ source.randrange(1, 32))
    return source.choice(
        [
            text[:i] + other + text[i + 1 :],
            text[:i] + text[i + 1 :],
            text[:i] + other + text[i:],
            text[i + 1 :] + text[: i + 1] + other,
        ]
    )


def test_no_mutation_is_accepted() -> None:
    """Of 1,000 changes of the body, the header or the secret, none is accepted."""
    source = random.Random(13)
    accepted = 0
    for n in range(1000):
        raw, signature, secret = RAW, signed(RAW), SECRET
        if n % 3 == 0:
            raw = changed(raw.decode("latin-1"), source).encode("latin-1")
        elif n % 3 == 1:
            signature = changed(signature, source)
        else:
            secret = changed(secret, source)
        assert (raw, signature, secret) != (RAW, signed(RAW), SECRET)
        try:
            Webhook(secret, TOKEN).verify(raw, signature)
            accepted += 1
        except (WebhookRejected, ValueError):
            pass

    assert accepted == 0


def test_nothing_is_parsed_to_check_a_signature() -> None:
    """A signature is right or wrong of any bytes; that they are no JSON does not matter."""
    bomb = b"[" * 3_000_000

    assert webhook().verify(bomb, signed(bomb)) is None


def test_what_is_left_is_signed_by_the_same_secret() -> None:
    """A part of a webhook gets the signature of whoever signed the whole, and of nobody else."""
    hook = webhook({NUMBER_ID: SECRET, OTHER_ID: OLD_SECRET})
    signature = hook.sign_again(b"{}", RAW, signed(RAW, OLD_SECRET))

    assert signature == signed(b"{}", OLD_SECRET)
    with pytest.raises(WebhookRejected):
        hook.sign_again(b"{}", RAW, signed(b""))


# --------------------------------------------------------------------------- messages


def test_a_message_is_a_sighting() -> None:
    """Who wrote when, to which number, and the id of the message are read."""
    raw = body(change(message(), contacts=[{"wa_id": ANN, "profile": {"name": "Ann"}}]))

    assert webhook().read(raw) == [
        Sighting(NUMBER_ID, (ANN,), wrote_at=1749999990.0, message_id=WAMID)
    ]


def test_every_message_of_every_change_of_every_entry_is_read() -> None:
    """Webhooks come in batches, on all levels."""
    changes = [change(message(**{"from": "11"}), message(**{"from": "22"})), change(message())]
    raw = orjson.dumps({"entry": [{"changes": changes}, {"changes": changes[:1]}]})
    read = webhook().read(raw)

    assert [one.ids for one in read if isinstance(one, Sighting)] == [
        ("11",),
        ("22",),
        (ANN,),
        ("11",),
        ("22",),
    ]


@pytest.mark.parametrize(
    "extra", [{"group_id": "Y2FwaV9ncm91cA"}, {"type": "reaction"}, {"type": 1}]
)
def test_any_message_counts(extra: dict[str, Any]) -> None:
    """Messages in groups and of any type show that somebody wrote."""
    assert sighted(change(message(**extra))) == [(ANN,)]


def test_standby_is_a_sighting() -> None:
    """While Meta's own agent holds the chat, messages come under `standby`."""
    assert sighted(change(message(), field="standby")) == [(ANN,)]


@pytest.mark.parametrize(
    "other",
    [
        change(statuses=[{"id": WAMID, "recipient_id": ANN}], messages=None),
        change(field="smb_message_echoes", message_echoes=[message()]),
        change(message(), field="smb_message_echoes"),
        change(message(), field="history"),
        change(field="history", history=[{"threads": [{"messages": [message()]}]}]),
        change(message(), field=None),
        change(message(), field=["messages"]),
    ],
)
def test_other_events_are_no_sightings(other: dict[str, Any]) -> None:
    """Statuses, echoes and history tell of no message that a user wrote now."""
    assert skipped(body(other)) == 0


@pytest.mark.parametrize("own", [OWN, f"+{OWN}"])
def test_the_business_does_not_see_itself(own: str) -> None:
    """A message of the business's own number is no sighting, however the number is displayed."""
    assert skipped(body(change(message(**{"from": own})))) == 0


def test_the_own_number_may_lack_a_digit() -> None:
    """A Brazilian business knows itself with and without the mobile digit."""
    metadata = {"display_phone_number": "+55 11 91234-5678", "phone_number_id": NUMBER_ID}

    assert sighted(change(message(**{"from": "551112345678"}), metadata=metadata)) == []


@pytest.mark.parametrize("display", [None, 15550783881, "", "Ann's shop"])
def test_an_unknown_own_number_hides_nobody(display: Any) -> None:
    """Without a display number every message is of a user."""
    metadata = {"display_phone_number": display, "phone_number_id": NUMBER_ID}

    assert sighted(change(message(), metadata=metadata)) == [(ANN,)]


# --------------------------------------------------------------------------- ids of a sender


def test_all_ids_of_a_sender_are_read() -> None:
    """Number, BSUID, WhatsApp id and parent ids are read, in this order, each once."""
    contact = {"wa_id": "551187654321", "user_id": ANN_ID, "parent_user_id": "US.ENT.9"}
    one = message(
        **{"from": "5511987654321", "from_user_id": "US.2", "from_parent_user_id": "US.ENT.8"}
    )

    assert sighted(change(one, contacts=[contact])) == [
        ("5511987654321", "US.2", "551187654321", ANN_ID, "US.ENT.9", "US.ENT.8")
    ]


def test_the_contact_of_somebody_else_is_left_alone() -> None:
    """The only contact of a webhook is not the sender's if it has another number."""
    contact = {"wa_id": "447911123456", "user_id": "GB.123"}

    assert sighted(change(message(), contacts=[contact])) == [(ANN,)]


def test_a_sender_may_have_no_number() -> None:
    """Of somebody with a user name only the BSUID is given, in the message or the contact."""
    contact = {"user_id": ANN_ID, "profile": {"username": "ann"}}

    assert sighted(change(message(**{"from": None, "from_user_id": ANN_ID}))) == [(ANN_ID,)]
    assert sighted(change(message(**{"from": None}), contacts=[contact])) == [(ANN_ID,)]


def test_contacts_are_matched_to_senders() -> None:
    """Of several contacts each sender gets the one with the same number or BSUID."""
    contacts = [{"wa_id": "22", "user_id": "US.22"}, {"wa_id": "33", "user_id": "US.33"}]
    messages = [
        message(**{"from": None, "from_user_id": "US.33"}),
        message(**{"from": "22"}),
        message(**{"from": "44"}),
    ]

    assert sighted(change(*messages, contacts=contacts)) == [
        ("US.33", "33"),
        ("22", "US.22"),
        ("44",),
    ]


def test_one_contact_belongs_to_one_sender_only() -> None:
    """A contact that matches nobody is no hint about one of several senders."""
    contacts = [{"wa_id": "22", "user_id": "US.22"}]
    messages = [message(**{"from": "33"}), message(**{"from": "44"})]

    assert sighted(change(*messages, contacts=contacts)) == [("33",), ("44",)]


@pytest.mark.parametrize("junk", [None, 16505551234, ["1"], {}, "", " ", "1" * 257])
def test_only_texts_are_ids(junk: Any) -> None:
    """What can be no id is left out, and without any id there is no sighting."""
    contact = {"wa_id": junk, "user_id": ANN_ID, "parent_user_id": junk}

    assert sighted(change(message(**{"from": junk}), contacts=[contact, 7])) == [(ANN_ID,)]
    assert skipped(body(change(message(**{"from": junk})))) == 1


# --------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("timestamp", "seconds"),
    [
        ("1749999990", 1749999990.0),
        (1749999980, 1749999980.0),
        (1749999990.5, 1749999990.5),
        ("1750000100", 1750000100.0),
        ("1", 1.0),
    ],
)
def test_a_time_is_read(timestamp: Any, seconds: float) -> None:
    """The time of a message is in seconds, as text or number; clocks may differ by a day."""
    [read] = webhook().read(body(change(message(timestamp=timestamp))))

    assert isinstance(read, Sighting)
    assert read.wrote_at == seconds


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        "",
        "soon",
        "-5",
        "1e9",
        "١٢٣",
        0,
        -1,
        True,
        [],
        "1749999990000",
        "9" * 5000,
        2**63,
        1e300,
    ],
)
def test_no_time_is_now(timestamp: Any) -> None:
    """A time that is none, or lies more than a day ahead, is the present."""
    [read] = webhook().read(body(change(message(timestamp=timestamp))))

    assert isinstance(read, Sighting)
    assert read.wrote_at == NOW


@pytest.mark.parametrize("id_", [None, "", 7, [WAMID]])
def test_a_message_may_have_no_id(id_: Any) -> None:
    """A message without a readable id is a sighting all the same."""
    [read] = webhook().read(body(change(message(id=id_))))

    assert read.message_id is None


# --------------------------------------------------------------------------- changed ids


def told(*fields: dict[str, Any], **system: Any) -> list[Sighting | IdentityChanged]:
    """Return what a system message tells."""
    [overrides] = fields or ({},)
    one = message(type="system", system=system, **overrides)
    return webhook().read(body(change(one)))


def moved(old: str, new: str) -> IdentityChanged:
    return IdentityChanged(
        old=old, new=new, phone_number_id=NUMBER_ID, changed_at=1749999990.0, message_id=WAMID
    )


@pytest.mark.parametrize("type_", ["user_changed_number", "customer_changed_number"])
@pytest.mark.parametrize("key", ["wa_id", "new_wa_id"])
def test_a_changed_number_is_told(type_: str, key: str) -> None:
    """The number before is the sender's, the new one is in the message, under either key."""
    assert told(type=type_, **{key: "12195555358"}) == [moved(ANN, "12195555358")]


def test_a_message_may_name_the_old_number_itself() -> None:
    """Where `customer` is given, that is the number before."""
    change = told({"from": "12195555358"}, type="user_changed_number", customer=ANN, wa_id="22")

    assert change == [moved(ANN, "22")]


def test_a_changed_number_is_a_changed_bsuid_too() -> None:
    """With its number somebody's BSUID changes, and the same message tells of both."""
    ids = {"wa_id": "22", "previous_user_id": "US.1", "user_id": "US.2"}

    assert told(type="user_changed_number", **ids) == [moved(ANN, "22"), moved("US.1", "US.2")]


@pytest.mark.parametrize(
    ("fields", "system"),
    [
        ({}, {"previous_user_id": "US.1"}),
        ({"from_user_id": "US.1"}, {}),
        ({"from": None}, {"previous_user_id": "US.1"}),
    ],
)
def test_a_changed_bsuid_is_told(fields: dict[str, Any], system: dict[str, Any]) -> None:
    """The BSUID before is in the message or its sender's; the number stays what it is."""
    assert told(fields, type="user_changed_user_id", user_id="US.2", **system) == [
        moved("US.1", "US.2")
    ]


@pytest.mark.parametrize(
    "system",
    [
        {"type": "user_changed_number"},
        {"type": "user_changed_number", "wa_id": ANN},
        {"type": "user_changed_number", "wa_id": 7},
        {"type": "user_changed_user_id", "user_id": "US.2"},
        {"type": "user_changed_user_id", "previous_user_id": "US.1"},
        {"type": "customer_identity_changed", "wa_id": "22"},
        {"type": ["user_changed_number"], "wa_id": "22"},
        {},
        None,
        "user_changed_number",
    ],
)
def test_a_system_message_that_changes_no_id_is_skipped(system: Any) -> None:
    """It is neither a sighting, for nobody wrote, nor a change."""
    assert skipped(body(change(message(type="system", system=system)))) == 0


def test_what_the_sandbox_posts_is_read() -> None:
    """The sandbox, which is written by itself, signs and words webhooks as they are read here."""
    with Sandbox(Rules(phone_number_ids=(NUMBER_ID,)), app_secret=SECRET) as sandbox:
        sandbox.post_webhooks_to("http://127.0.0.1:9/nobody-listens")
        sandbox.message_from(ANN)
        sandbox.identity_changed(ANN, "22195555358", previous_user_id="US.1", user_id="US.2")
        posted = sandbox.webhooks
    hook = Webhook(SECRET, TOKEN)
    for one in posted:
        assert hook.verify(one.body, signed(one.body)) is None
    seen, *moves = [told for one in posted for told in hook.read(one.body)]

    assert isinstance(seen, Sighting)
    assert (seen.phone_number_id, seen.ids[0]) == (NUMBER_ID, ANN)
    assert [(one.old, one.new) for one in moves if isinstance(one, IdentityChanged)] == [
        (ANN, "22195555358"),
        ("US.1", "US.2"),
    ]
    assert hook.skipped == 0


# --------------------------------------------------------------------------- strange shapes


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"text"',
        b"{",
        b"\xef\xbb\xbf{}",
        b"\xff{}",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"[" * 3_000_000,
        b'{"a":' * 500_000,
        b'{"a": ' + b"9" * 3_000_000 + b"x}",
    ],
    ids=lambda raw: repr(raw[:12]),
)
def test_no_json_object_is_no_webhook(raw: bytes) -> None:
    """What is no JSON object is one error, which is a ValueError and a rejection of ours."""
    with pytest.raises(InvalidWebhook) as raised:
        webhook().read(raw)

    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, BlockUsersError)
    assert not isinstance(raised.value, WebhookRejected)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"entry": {}}',
        b'{"entry": [7]}',
        b'{"entry": [{}]}',
        b'{"entry": [{"changes": "x"}]}',
        b'{"entry": [{"changes": [[]]}]}',
        body({"field": "messages"}),
        body({"field": "messages", "value": []}),
        body(change(message(), metadata=None)),
        body(change(message(), metadata="x")),
        body(change(message(), metadata={"phone_number_id": 106540352242922})),
        body(change(messages={})),
        body(change(messages=[[]])),
        body(change(messages=[{}])),
    ],
)
def test_unknown_shapes_are_skipped_and_counted(raw: bytes) -> None:
    """On every level, what has another shape is skipped, and counted once."""
    assert skipped(raw) == 1


def test_what_can_be_read_beside_is_read() -> None:
    """What is broken costs nothing that stands beside it."""
    hook = webhook()
    broken = [7, {}, message(**{"from": None}), message()]
    raw = orjson.dumps({"entry": [None, {"changes": [0, change(*broken)]}]})

    assert [one.ids for one in hook.read(raw) if isinstance(one, Sighting)] == [(ANN,)]
    assert hook.skipped == 5


KEYS = st.sampled_from(
    [
        "object", "entry", "changes", "field", "value", "metadata", "phone_number_id", "contacts",
        "display_phone_number", "messages", "statuses", "from", "from_user_id", "id", "timestamp",
        "type", "system", "wa_id", "user_id", "parent_user_id", "previous_user_id",
    ]
)  # fmt: skip
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.sampled_from(["messages", "standby", "system", "user_changed_number", ANN, OWN]),
    st.text(max_size=5),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=40,
)


@given(JSON, JSON, JSON, JSON)
def test_nothing_but_our_own_error_is_raised(whole: Any, part: Any, one: Any, value: Any) -> None:
    """Whatever JSON it is given, on whatever level, reading it ends well or in our error."""
    hook = webhook()
    for strange in (
        orjson.dumps(whole),
        orjson.dumps({"entry": part}),
        body(part),
        body(change(part, one)),
        body({"field": "messages", "value": value}),
        body(change(message(), contacts=part, metadata=one)),
        body(change(message(type="system", system=part, timestamp=one))),
    ):
        try:
            read = hook.read(strange)
        except InvalidWebhook:
            continue
        assert all(isinstance(found, Sighting | IdentityChanged) for found in read)


def test_a_full_webhook_is_read() -> None:
    """Thousands of messages in one body of 3 MB are each a sighting."""
    messages = [message(**{"from": f"1650{n:07}"}) for n in range(20_000)]
    raw = body(change(*messages))

    assert 2_000_000 < len(raw) <= 3 * 2**20
    assert len(webhook().read(raw)) == 20_000


def test_a_webhook_has_no_more_messages_than_bytes_for_them() -> None:
    """More messages than fit into 3 MB, if they are such, are not read."""
    hook = webhook()
    read = hook.read(body(change(*[{"from": "1"}] * 40_000)))

    assert len(read) == 32_768
    assert hook.skipped == 40_000 - 32_768


def test_a_sighting_shows_nobody() -> None:
    """Neither ids nor the message's id are shown whole."""
    raw = body(change(message(from_user_id=ANN_ID)))
    number = body(
        change(
            message(type="system", system={"type": "user_changed_number", "wa_id": "12195555358"})
        )
    )
    shown = repr(webhook().read(raw) + webhook().read(number))

    assert not any(secret in shown for secret in (ANN, ANN_ID, WAMID, "12195555358"))
