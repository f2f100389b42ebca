"""The deny list that blocks people when they write.

`guard` is shown every incoming message, matches it against the `deny_list`, and writes down whom to
block as `intents`; the `drain` of each business number carries them out. `webhooks` reads what Meta
posts, `stores` keep it all.
"""

from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import Change, Entry
from blockusers.guard.guard import Guard
from blockusers.guard.intents import Intent, Result
from blockusers.guard.status import GuardStatus, NumberStatus
from blockusers.guard.stores.protocol import StoreUnavailable
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.guard.webhooks import (
    IdentityChanged,
    InvalidWebhook,
    Sighting,
    Webhook,
    WebhookRejected,
)
from blockusers.observe.events import DrainChanged, IntentsAnswered, SenderMatched

__all__ = [
    "Change",
    "DenyList",
    "DrainChanged",
    "Entry",
    "Guard",
    "GuardStatus",
    "IdentityChanged",
    "Intent",
    "IntentsAnswered",
    "InvalidWebhook",
    "NumberStatus",
    "Result",
    "SenderMatched",
    "Sighting",
    "SqliteStore",
    "StoreUnavailable",
    "Webhook",
    "WebhookRejected",
]
