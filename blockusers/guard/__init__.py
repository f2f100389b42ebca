"""The deny list that blocks people when they write.

`guard` is shown every incoming message, matches it against the `deny_list`, and writes down whom to
block as `intents`; the `drain` of each business number carries them out. `webhooks` reads what Meta
posts, `stores` keep it all.
"""

from typing import TYPE_CHECKING

from blockusers._tools.lazy import lazily
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import Change, Entry
from blockusers.guard.guard import Guard
from blockusers.guard.status import GuardStatus, NumberStatus
from blockusers.guard.stores.protocol import LeaseLost, StoreUnavailable
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.guard.webhooks import (
    IdentityChanged,
    InvalidWebhook,
    Sighting,
    Webhook,
    WebhookRejected,
)
from blockusers.observe.events import IntentsAnswered, NumberPaused, SenderMatched

if TYPE_CHECKING:
    from blockusers.guard.stores.redis import RedisStore

__all__ = [
    "Change",
    "DenyList",
    "Entry",
    "Guard",
    "GuardStatus",
    "IdentityChanged",
    "IntentsAnswered",
    "InvalidWebhook",
    "LeaseLost",
    "NumberPaused",
    "NumberStatus",
    "RedisStore",
    "SenderMatched",
    "Sighting",
    "SqliteStore",
    "StoreUnavailable",
    "Webhook",
    "WebhookRejected",
]

if not TYPE_CHECKING:
    # It needs the extra `redis`.
    __getattr__ = lazily(__name__, {"stores.redis": "RedisStore"})
