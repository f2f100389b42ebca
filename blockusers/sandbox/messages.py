"""Builds the bodies of the webhooks that Meta posts about messages and changed identities.

Meta's documentation of them: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

_BUSINESS_ACCOUNT_ID: Final = "102030405060708"


class Business(NamedTuple):
    """The business number that is written to."""

    phone_number_id: str
    number: str
    """In digits."""


class Person(NamedTuple):
    """Whoever writes: known by number, by BSUID or by both."""

    number: str
    """The WhatsApp id; empty: not shown to the business."""
    user_id: str
    """The BSUID; empty: not shown to the business."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that the business is shown."""
        return tuple(each for each in self if each)


def new_message_id() -> str:
    """Return the id of a new message, in Meta's form."""
    return "wamid." + base64.b64encode(secrets.token_bytes(30)).decode()


def bsuid_of(number: str) -> str:
    """Return the BSUID that the sandbox gives to a phone number, always the same."""
    digest = hashlib.sha256(number.encode()).digest()
    return f"US.{int.from_bytes(digest[:8])}"


def incoming(
    business: Business,
    sender: Person,
    message: Mapping[str, Any],
    *,
    profile: Mapping[str, str],
    field: str,
) -> bytes:
    """Build the webhook of one incoming message."""
    ids = _without_empty({"wa_id": sender.number, "user_id": sender.user_id})
    origin = _without_empty({"from": sender.number, "from_user_id": sender.user_id})
    value = {"contacts": [{"profile": profile, **ids}], "messages": [{**origin, **message}]}
    return _webhook(business, value, field)


def identity_changed(
    business: Business, old: Person, new: Person, message: Mapping[str, Any]
) -> bytes:
    """Build the system message that tells of another number, or only of another BSUID."""
    kind = "user_changed_number" if new.number else "user_changed_user_id"
    change = {"wa_id": new.number, "previous_user_id": old.user_id, "user_id": new.user_id}
    system = {"type": kind, "body": "The user has changed"} | _without_empty(change)
    origin = _without_empty({"from": old.number, "from_user_id": old.user_id})
    row = {**origin, **message, "type": "system", "system": system}
    return _webhook(business, {"messages": [row]}, "messages")


def _webhook(business: Business, value: Mapping[str, Any], field: str) -> bytes:
    metadata = {
        "display_phone_number": business.number,
        "phone_number_id": business.phone_number_id,
    }
    change = {
        "field": field,
        "value": {"messaging_product": "whatsapp", "metadata": metadata, **value},
    }
    entry = {"id": _BUSINESS_ACCOUNT_ID, "changes": [change]}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})


def _without_empty(fields: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in fields.items() if text}
