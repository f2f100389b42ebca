"""The asyncio client for WhatsApp's Block Users API: every number accounted for.

    from blockusers import Account, Client

    async with Client(Account(phone_number_id, access_token)) as client:
        report = await client.block(numbers)

What stands in `__all__` here and in `blockusers.sandbox` is what you can rely on.
"""

from typing import TYPE_CHECKING

from blockusers._tools.lazy import lazily

if TYPE_CHECKING:
    from blockusers.client import Client
    from blockusers.jobs.notifier import OnSettled
    from blockusers.jobs.source import Users
    from blockusers.lists.sync import SyncIncomplete, SyncReport, TooManyRemovals
    from blockusers.observe.events import (
        Event,
        JobEnded,
        JobStarted,
        PaceChanged,
        RequestEnded,
        RequestSent,
        Retrying,
        UsersSettled,
    )
    from blockusers.observe.observers import Observer
    from blockusers.pace.paces import AdaptivePace, FixedPace
    from blockusers.pace.protocol import Pace, PaceState, Priority, Slot
    from blockusers.protocol.retry import RetryPolicy
    from blockusers.values.account import Account, TokenSource
    from blockusers.values.blocklist import BlockedUser, Page
    from blockusers.values.errors import (
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
    from blockusers.values.masking import mask
    from blockusers.values.outcome import Fault, Operation, Outcome, Status, User, UserFailed
    from blockusers.values.report import Incomplete, PartialFailure, Report

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
        {
            "client": "Client",
            "jobs.notifier": "OnSettled",
            "jobs.source": "Users",
            "lists.sync": "SyncIncomplete SyncReport TooManyRemovals",
            "observe.events": "Event JobEnded JobStarted PaceChanged RequestEnded RequestSent"
            " Retrying UsersSettled",
            "observe.observers": "Observer",
            "pace.paces": "AdaptivePace FixedPace",
            "pace.protocol": "Pace PaceState Priority Slot",
            "protocol.retry": "RetryPolicy",
            "values.account": "Account TokenSource",
            "values.blocklist": "BlockedUser Page",
            "values.errors": "AccountRestricted ApiError AuthenticationError BlocklistChanged"
            " BlocklistFull BlockUsersError ClientClosed ConnectionFailed InvalidRequest"
            " InvalidResponse InvalidUser JobTimedOut PermissionDenied QueueFull RateLimited"
            " RequestTimeout ServiceError TokenUnavailable TransportError",
            "values.masking": "mask",
            "values.outcome": "Fault Operation Outcome Status User UserFailed",
            "values.report": "Incomplete PartialFailure Report",
        },
    )

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
