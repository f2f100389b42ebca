"""The asyncio client for WhatsApp's Block Users API: every number accounted for.

    from blockusers import Account, Client

    async with Client(Account(phone_number_id, access_token)) as client:
        report = await client.block(numbers)

What stands in `__all__` here and in `blockusers.sandbox` is what you can rely on.
"""

from typing import TYPE_CHECKING

from blockusers._lazy import lazily

if TYPE_CHECKING:
    from blockusers.client import Client
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
    from blockusers.models import Account, BlockedUser, Fault, Operation, Page, Status
    from blockusers.observing import Observer
    from blockusers.pacing import AdaptivePace, FixedPace, PaceState
    from blockusers.report import Incomplete, Outcome, PartialFailure, Report, UserFailed
    from blockusers.retry import RetryPolicy
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
    "Operation",
    "Outcome",
    "PaceChanged",
    "PaceState",
    "Page",
    "PartialFailure",
    "PermissionDenied",
    "QueueFull",
    "RateLimited",
    "Report",
    "RequestEnded",
    "RequestSent",
    "RequestTimeout",
    "RetryPolicy",
    "Retrying",
    "ServiceError",
    "Status",
    "SyncIncomplete",
    "SyncReport",
    "TokenUnavailable",
    "TooManyRemovals",
    "TransportError",
    "UserFailed",
    "UsersSettled",
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
