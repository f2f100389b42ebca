"""Walks through the JSON of a webhook: who wrote to which number, whatever shape it has.

Nothing in it is trusted to be where Meta's documentation puts it: what has an unknown shape is
skipped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import attrs

from blockusers.values.users import same_person

Json: TypeAlias = dict[str, Any]

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
    messages: list[Message]
    """Those that users wrote."""
    system: list[Json]
    """Those in which Meta tells of a user, such as of another number."""


def text(value: object) -> str:
    """Return *value* if it can be an id, else an empty text."""
    return value if isinstance(value, str) and len(value) <= _LONGEST_ID else ""


@attrs.define
class PayloadReader:
    """Reads what webhooks tell about messages."""

    skipped: int = 0
    """How many objects had an unknown shape, and messages no sender."""

    def deliveries(self, body: Json) -> Iterator[Delivery]:
        """Yield what the changes of a webhook tell about messages."""
        for entry in self.objects(body.get("entry")):
            for change in self.objects(entry.get("changes")):
                delivery = self.read_change(change)
                if delivery is not None:
                    yield delivery

    def read_change(self, change: Json) -> Delivery | None:
        """Read one change; None if it tells of no messages, or cannot be read."""
        value = change.get("value")
        if change.get("field") not in _MESSAGE_FIELDS:
            return None
        if not isinstance(value, dict):
            self.skipped += 1
            return None
        if "messages" not in value:  # statuses of messages of the business
            return None
        metadata = value.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        number_id = text(metadata.get("phone_number_id"))
        if not number_id:
            self.skipped += 1
            return None
        own = _forms(text(metadata.get("display_phone_number")))
        messages = [
            json
            for json in self.objects(value["messages"])
            if text(json.get("from")).lstrip("+") not in own
        ]
        system = [json for json in messages if json.get("type") == "system"]
        written = [json for json in messages if json.get("type") != "system"]
        return Delivery(number_id, self._with_ids(written, value), system)

    def objects(self, items: object) -> list[Json]:
        """Return the JSON objects in a list; count what is none."""
        if not isinstance(items, list):
            self.skipped += 1
            return []
        found = [item for item in items if type(item) is dict and item][:_MOST_OBJECTS]
        self.skipped += len(items) - len(found)
        return found

    def _with_ids(self, messages: list[Json], value: Json) -> list[Message]:
        contacts = self.objects(value["contacts"]) if value.get("contacts") else []
        senders = [(text(json.get("from")), text(json.get("from_user_id"))) for json in messages]
        known = _Contacts(contacts, alone=len(set(senders)) == 1)
        read = (
            Message(_ids(json, sender, known.of(*sender)), json)
            for json, sender in zip(messages, senders, strict=True)
        )
        found = [message for message in read if message.ids]
        self.skipped += len(messages) - len(found)
        return found


@lru_cache(1024)
def _forms(number: str) -> frozenset[str]:
    """Return the WhatsApp ids that a number of a business may have."""
    digits = "".join(char for char in number if char in "0123456789")
    return same_person(digits) if digits else frozenset()


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
    """

    def __init__(self, contacts: list[Json], *, alone: bool) -> None:
        self._by_id = {
            given: contact
            for contact in contacts
            for key in ("wa_id", "user_id")
            if (given := text(contact.get(key)))
        }
        self._only: Json = contacts[0] if alone and len(contacts) == 1 else {}

    def of(self, number: str, user_id: str) -> Json:
        """Return the contact of who wrote; an empty one if there is none."""
        found = self._by_id.get(number) or self._by_id.get(user_id) or self._only
        given = text(found.get("wa_id"))
        # A WhatsApp id may have a digit more or less than the number in `from`.
        is_other = number and given and given not in same_person(number)
        return {} if is_other else found
