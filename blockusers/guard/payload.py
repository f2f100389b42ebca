"""Walks through the JSON of a webhook: who wrote to which number, whatever shape it has.

Nothing in it is trusted to be where Meta's documentation puts it: what cannot be read is skipped
and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from blockusers.values.users import same_person

Json: TypeAlias = dict[str, Any]

Skipped: TypeAlias = Literal["malformed", "no sender", "other event", "own message"]
"""Why something in a webhook was skipped: it has no shape that is known; a message does not say
who wrote it; it tells of something else than a message; the business wrote it itself."""

LARGEST: Final = 3 * 2**20
"""How large a webhook can be, in bytes."""
_MESSAGE_FIELDS: Final = ("messages", "standby")
_LONGEST_ID: Final = 256
# A message takes more than a hundred bytes, so that no webhook holds as many.
_MOST_OBJECTS: Final = LARGEST // 96


class Message(NamedTuple):
    """A message of a user to a business number."""

    ids: tuple[str, ...]
    """All ids that are given of who wrote it."""
    json: Json
    """The message itself."""


class Delivery(NamedTuple):
    """What one change of a webhook tells about messages to one business number."""

    phone_number_id: str
    value: Json
    """The JSON of it, with `messages` and `contacts`."""
    messages: list[Message]
    """Those that users wrote."""
    system: list[Json]
    """Those in which Meta tells of a user, such as of another number."""


def text(value: object) -> str:
    """Return *value* if it can be an id, else an empty text."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_ID else ""


def deliveries(body: Json, skipped: Counter[Skipped]) -> Iterator[Delivery]:
    """Yield what the changes of a webhook tell about messages; count what is skipped."""
    for change in changes(body, skipped):
        delivery = read_change(change, skipped)
        if delivery is not None:
            yield delivery


def changes(body: Json, skipped: Counter[Skipped]) -> Iterator[Json]:
    """Yield the changes of a webhook."""
    for entry in _objects(body.get("entry"), skipped):
        yield from _objects(entry.get("changes"), skipped)


def read_change(change: Json, skipped: Counter[Skipped]) -> Delivery | None:
    """Read one change; None if it tells of no messages, or cannot be read."""
    value = change.get("value")
    if change.get("field") not in _MESSAGE_FIELDS:
        skipped["other event"] += 1
        return None
    if not isinstance(value, dict):
        skipped["malformed"] += 1
        return None
    if "messages" not in value:  # statuses of messages of the business
        skipped["other event"] += 1
        return None
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    number_id = text(metadata.get("phone_number_id"))
    if not number_id:
        skipped["malformed"] += 1
        return None
    messages = _objects(value["messages"], skipped)
    own = _forms(text(metadata.get("display_phone_number")))
    foreign = [json for json in messages if text(json.get("from")).lstrip("+") not in own]
    skipped["own message"] += len(messages) - len(foreign)
    system = [json for json in foreign if json.get("type") == "system"]
    people = [json for json in foreign if json.get("type") != "system"] if system else foreign
    return Delivery(number_id, value, _with_ids(people, value, skipped), system)


def _objects(items: object, skipped: Counter[Skipped]) -> list[Json]:
    if not isinstance(items, list):
        skipped["malformed"] += 1
        return []
    objects = [item for item in items if type(item) is dict and item][:_MOST_OBJECTS]
    skipped["malformed"] += len(items) - len(objects)
    return objects


@lru_cache(1024)
def _forms(number: str) -> frozenset[str]:
    """Return the WhatsApp ids that a number of a business may have."""
    digits = "".join(char for char in number if char in "0123456789")
    return same_person(digits) if digits else frozenset()


def _with_ids(messages: list[Json], value: Json, skipped: Counter[Skipped]) -> list[Message]:
    named = [(text(json.get("from")), text(json.get("from_user_id"))) for json in messages]
    contacts = _Contacts(value.get("contacts"), alone=len(set(named)) == 1, skipped=skipped)
    read = (
        Message(_ids(json, sender, contacts.of(*sender)), json)
        for json, sender in zip(messages, named, strict=True)
    )
    found = [message for message in read if message.ids]
    skipped["no sender"] += len(messages) - len(found)
    return found


def _ids(json: Json, sender: tuple[str, str], contact: Json) -> tuple[str, ...]:
    given = (
        *sender,
        text(contact.get("wa_id")),
        text(contact.get("user_id")),
        text(contact.get("parent_user_id")),
        text(json.get("from_parent_user_id")),
    )
    return tuple(dict.fromkeys(filter(str.strip, given)))


class _Contacts:
    """Finds the contact that tells more about a sender.

    Args:
        contacts: Those of one change.
        alone: Whether all its messages are of one sender.
        skipped: Where to count what is malformed.
    """

    def __init__(self, contacts: object, *, alone: bool, skipped: Counter[Skipped]) -> None:
        found = [] if contacts is None else _objects(contacts, skipped)
        self._by_id = {
            given: contact
            for contact in found
            for key in ("wa_id", "user_id")
            if (given := text(contact.get(key)))
        }
        # Its `wa_id` may have a digit more or less than `from`.
        self._only: Json = found[0] if alone and len(found) == 1 else {}

    def of(self, number: str, user_id: str) -> Json:
        """Return the contact of who wrote; an empty one if there is none."""
        return self._by_id.get(number) or self._by_id.get(user_id) or self._only
