"""The asyncio client for WhatsApp's Block Users API: every number accounted for.

    from blockusers import Account, Client

    async with Client(Account(phone_number_id, access_token)) as client:
        report = await client.block(numbers)

What stands in `__all__` here and in `blockusers.sandbox` is what you can rely on.
"""

from typing import TYPE_CHECKING

from blockusers._lazy import lazily

if TYPE_CHECKING:
    from blockusers.batch import OnSettled
    from blockusers.client import Client
    from blockusers.controller import Slot
    from blockusers.errors import (
        AccountRestricted,
        ApiError,
        AuthenticationError,
        BlocklistChanged,
        BlocklistFull,
        BlockUsersError,
        ClientClosed,
        ConnectionFailed,
        InvalidRequest,
        InvalidResponse,
        InvalidUser,
        JobTimedOut,
        PermissionDenied,
        QueueFull,
        RateLimited,
        RequestTimeout,
        ServiceError,
        TokenUnavailable,
        TransportError,
    )
    from blockusers.events import (
        Event,
        JobEnded,
        JobStarted,
        PaceChanged,
        RequestEnded,
        RequestSent,
        Retrying,
        UsersSettled,
    )
    from blockusers.identifiers import mask
    from blockusers.models import (
        Account,
        BlockedUser,
        Fault,
        Operation,
        Page,
        Status,
        TokenSource,
    )
    from blockusers.observing import Observer
    from blockusers.pacing import AdaptivePace, FixedPace, Pace, PaceState, Priority
    from blockusers.report import Incomplete, Outcome, PartialFailure, Report, User, UserFailed
    from blockusers.retry import RetryPolicy
    from blockusers.sources import Users
    from blockusers.syncing import SyncIncomplete, SyncReport, TooManyRemovals

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AccountRestricted",
    "AdaptivePace",
    "ApiError",
    "AuthenticationError",
    "BlockUsersError",
    "BlockedUser",
    "BlocklistChanged",
    "BlocklistFull",
    "Client",
    "ClientClosed",
    "ConnectionFailed",
    "Event",
    "Fault",
    "FixedPace",
    "Incomplete",
    "InvalidRequest",
    "InvalidResponse",
    "InvalidUser",
    "JobEnded",
    "JobStarted",
    "JobTimedOut",
    "Observer",
    "OnSettled",
    "Operation",
    "Outcome",
    "Pace",
    "PaceChanged",
    "PaceState",
    "Page",
    "PartialFailure",
    "PermissionDenied",
    "Priority",
    "QueueFull",
    "RateLimited",
    "Report",
    "RequestEnded",
    "RequestSent",
    "RequestTimeout",
    "RetryPolicy",
    "Retrying",
    "ServiceError",
    "Slot",
    "Status",
    "SyncIncomplete",
    "SyncReport",
    "TokenSource",
    "TokenUnavailable",
    "TooManyRemovals",
    "TransportError",
    "User",
    "UserFailed",
    "Users",
    "UsersSettled",
    "mask",
]

if not TYPE_CHECKING:
    __getattr__ = lazily(
        __name__,
        __all__,
        (
            "models",
            "pacing",
            "errors",
            "report",
            "events",
            "retry",
            "observing",
            "syncing",
            "client",
        ),
    )

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
