"""Makes an exception of an error answer, by the table in `errors`; reads how long to wait.

An error is judged by its code, then by the HTTP status.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any, Final

import orjson

from blockusers.protocol.messages import Reply
from blockusers.values.errors import (
    ApiError,
    AuthenticationError,
    BlockUsersError,
    InvalidRequest,
    InvalidResponse,
    PermissionDenied,
    RateLimited,
    ServiceError,
    known,
)
from blockusers.values.outcome import Fault

_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: InvalidRequest,
    429: RateLimited,
}


def _by_status(status: int) -> type[ApiError] | None:
    return ServiceError if status >= 500 else _BY_STATUS.get(status)


def edge_error(reply: Reply, what: str) -> BlockUsersError:
    """Return the exception for an answer that is none of the API's, by its status.

    Meta's edge answers with HTML or nothing, gateways in front of it with JSON of their own.
    """
    kind = _by_status(reply.status)
    if reply.status == 400 and not reply.body.strip():
        kind = InvalidRequest
    if kind is None:
        return invalid(reply, what)
    return kind(f"the answer {what}", status=reply.status, retry_after=_retry_after(reply))


def invalid(reply: Reply, what: str) -> InvalidResponse:
    """Return the error for an answer that the API does not give."""
    return InvalidResponse(f"the answer (HTTP {reply.status}) {what}")


def error_of(reply: Reply, error: Any) -> ApiError:
    """Return the exception for the `error` of an answer: by its code, then by the status."""
    fields = error if isinstance(error, dict) else {"message": error}
    code = _code(fields.get("code"))
    meant = known(code)
    kind = meant.error if meant else None
    if fields.get("is_transient") is True and (
        kind is InvalidRequest or (kind is None and reply.status != 429)
    ):
        kind = ServiceError
    kind = kind or _by_status(reply.status) or InvalidRequest
    return kind(
        message=_text(fields.get("message")) or _meaning(code),
        code=code,
        subcode=_code(fields.get("error_subcode")),
        status=reply.status,
        details=_details(fields),
        trace_id=_text(fields.get("fbtrace_id")),
        retry_after=_retry_after(reply),
    )


def _code(value: Any) -> int | None:
    """Read an error code: an integer, printed as text in some of Meta's pages."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch("-?[0-9]{1,9}", str(value).strip()) else None


def _details(fields: Mapping[str, Any]) -> str:
    """Return `error_data.details`, or `error_data` itself where it is bare text."""
    data = fields.get("error_data")
    details = data.get("details") if isinstance(data, dict) else data
    return _text(details) or _text(fields.get("error_user_msg"))


_LONGEST_TEXT: Final = 500


def _text(value: Any) -> str:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else ""


_ABSURD_WAIT: Final = 24 * 3600.0


def _retry_after(reply: Reply) -> float | None:
    """Return the longest wait in seconds that the headers ask for, None if they ask for none.

    `Retry-After` is in seconds or an HTTP date; `x-business-use-case-usage` names minutes until
    access is regained:
    https://developers.facebook.com/docs/graph-api/overview/rate-limiting
    An unreadable or absurd wait (negative, over a day) is no wait.
    """
    hint = reply.headers.get("Retry-After")
    waits = [_seconds(hint, 1) or _seconds_until(hint, reply), *_regain_times(reply)]
    return max((wait for wait in waits if 0 < wait <= _ABSURD_WAIT), default=None)


def _seconds(value: Any, unit: float) -> float:
    try:
        return float(value) * unit
    except (TypeError, ValueError):
        return 0.0


def _seconds_until(date: str | None, reply: Reply) -> float:
    """Return how long after the answer's own `Date` an HTTP date is; else from this clock."""
    until, now = _moment(date), _moment(reply.headers.get("Date"))
    return 0.0 if until is None else until - (time.time() if now is None else now)


def _moment(date: str | None) -> float | None:
    try:
        moment = parsedate_to_datetime(date or "")
    except (IndexError, OverflowError, TypeError, ValueError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def _regain_times(reply: Reply) -> Iterable[float]:
    try:
        usage = orjson.loads(reply.headers.get("x-business-use-case-usage", "{}"))
    except orjson.JSONDecodeError:
        return
    groups = usage.values() if isinstance(usage, dict) else ()
    for entry in chain.from_iterable(group for group in groups if isinstance(group, list)):
        if isinstance(entry, dict):
            yield _seconds(entry.get("estimated_time_to_regain_access"), 60)


def fault_of(value: Any) -> Fault:
    """Read one entry of `errors`, whatever it holds: it explains a failure, it does not decide."""
    fields = value if isinstance(value, dict) else {"message": value}
    code = _code(fields.get("code"))
    message = _text(fields.get("message")) or _text(fields.get("title")) or _meaning(code)
    return Fault(code, message, _details(fields))


def _meaning(code: int | None) -> str:
    meant = known(code)
    return meant.meaning if meant else "the server gave no reason"
