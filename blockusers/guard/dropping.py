"""Takes the messages of denied people out of a webhook, for a bot that need not see them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import orjson

from blockusers.guard.payload import Delivery, Json, Message, PayloadReader, text
from blockusers.guard.webhooks import InvalidWebhook, parse

IsDenied: TypeAlias = Callable[[str, tuple[str, ...]], Awaitable[bool]]
"""Given a phone number id and the ids of a sender, returns whether the sender is denied there."""


async def without_denied(raw: bytes, is_denied: IsDenied) -> bytes | None:
    """Return a webhook without the messages of denied people, nor their contacts.

    All else stays what it is. A change that tells of nothing any more goes too.

    Returns:
        *raw* itself if nobody in it is denied; None if nothing is left.

    Raises:
        InvalidWebhook: *raw* is no JSON object.
    """
    body = parse(raw)
    reader = PayloadReader()
    found = [
        (change, delivery)
        for entry in reader.objects(body.get("entry"))
        for change in reader.objects(entry.get("changes"))
        if (delivery := reader.read_change(change))
    ]
    denied = await _denied([delivery for _, delivery in found], is_denied)
    if not denied:
        return raw
    emptied = {
        id(change)
        for change, delivery in found
        if not _take_out(
            change["value"],
            [one for one in delivery.messages if (delivery.phone_number_id, one.ids) in denied],
            [one for one in delivery.messages if (delivery.phone_number_id, one.ids) not in denied],
        )
    }
    body["entry"] = [entry for entry in body["entry"] if not _is_emptied(entry, emptied)]
    return _dump(body) if body["entry"] else None


async def _denied(
    deliveries: Iterable[Delivery], is_denied: IsDenied
) -> set[tuple[str, tuple[str, ...]]]:
    senders = list(
        dict.fromkeys(
            (delivery.phone_number_id, message.ids)
            for delivery in deliveries
            for message in delivery.messages
        )
    )
    verdicts = await asyncio.gather(*(is_denied(number, ids) for number, ids in senders))
    return {sender for sender, denied in zip(senders, verdicts, strict=True) if denied}


def _take_out(value: Json, gone: list[Message], kept: list[Message]) -> bool:
    """Take messages out of the value of a change; return whether it still tells of something."""
    if not gone:
        return True
    taken = {id(message.json) for message in gone}
    ids = _all_ids(gone) - _all_ids(kept)
    value["messages"] = [one for one in value["messages"] if id(one) not in taken]
    if isinstance(value.get("contacts"), list):
        value["contacts"] = [one for one in value["contacts"] if not _is_of(one, ids)]
    return bool(value["messages"] or value.get("statuses"))


def _all_ids(messages: Iterable[Message]) -> set[str]:
    return {each for message in messages for each in message.ids}


def _is_of(contact: object, ids: set[str]) -> bool:
    if not isinstance(contact, dict):
        return False
    return text(contact.get("wa_id")) in ids or text(contact.get("user_id")) in ids


def _is_emptied(entry: object, emptied: set[int]) -> bool:
    """Take the emptied changes out of an entry; return whether none is left of those it had."""
    if not (isinstance(entry, dict) and isinstance(entry.get("changes"), list)):
        return False
    before = entry["changes"]
    entry["changes"] = [change for change in before if id(change) not in emptied]
    return bool(before) and not entry["changes"]


def _dump(body: Json) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes
        raise InvalidWebhook("the webhook is nested deeper than Meta's are") from None
