"""Builds the API's requests and parses its answers, without I/O.

A reply is judged by its body, not by its HTTP status: Meta answers a mixed success with status 400
and the two lists of a per-number answer.  Whatever is not as the API promises is read as "nobody
knows", never as done:

- a user that the answer forgot, names both as done and as failed, or as done with errors, is
  `UNKNOWN`;
- a row that is not well-formed makes the user it names `UNKNOWN`;
- a row for somebody who was not asked for is ignored and logged;
- an answer without any of the promised parts is an `InvalidResponse`.

An answer costs no more than what was asked for: `Request.largest_reply` bounds its bytes, and rows
and faults beyond what so many users can have are counted, logged and not kept.

Guide: https://developers.facebook.com/docs/whatsapp/cloud-api/block-users
"""

from __future__ import annotations

import logging
import operator
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, Final, NamedTuple, TypeVar

import attrs
import cattrs
import orjson

from blockusers.values import users as identifiers
from blockusers.values.blocklist import BlockedUser, Page
from blockusers.values.columns import Verdict, Verdicts
from blockusers.values.error_codes import known
from blockusers.values.errors import (
    ERROR_OF,
    ApiError,
    AuthenticationError,
    BlockUsersError,
    InvalidRequest,
    InvalidResponse,
    PermissionDenied,
    RateLimited,
    ServiceError,
)
from blockusers.values.masking import mask_all
from blockusers.values.outcome import Fault, Operation, Status
from blockusers.values.users import Identifiers

_LOG: Final = logging.getLogger("blockusers")

T = TypeVar("T")


@attrs.frozen
class Request:
    """One request, without the secrets and the address that the session adds."""

    method: str
    query: Mapping[str, str] = attrs.field(factory=dict[str, str])
    body: bytes | None = attrs.field(default=None, repr=False)
    largest_reply: int = 4 * 1024 * 1024
    """Bytes of its answer that are read at most."""


@attrs.frozen
class Reply:
    """What came back: nothing in it is interpreted yet."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Header names in any case; the mapping must not mind the case."""
    body: bytes = attrs.field(repr=False)


# --------------------------------------------------------------------------- requests

_METHODS: Final = {Operation.BLOCK: "POST", Operation.UNBLOCK: "DELETE"}
# A failed user makes about 300 bytes.
_REPLY_BYTES: Final = 64 * 1024
_REPLY_BYTES_A_USER: Final = 4 * 1024


def build_update(operation: Operation, users: Identifiers) -> Request:
    """Build the request that blocks or unblocks *users*."""
    entries = [{"user_id" if "." in wire else "user": wire} for wire in users.wires]
    body = orjson.dumps({"messaging_product": "whatsapp", "block_users": entries})
    largest_reply = _REPLY_BYTES + _REPLY_BYTES_A_USER * len(users)
    return Request(_METHODS[operation], body=body, largest_reply=largest_reply)


def build_listing(page_size: int | None, after: str | None, before: str | None) -> Request:
    """Build the request for one page of the blocklist."""
    limit = None if page_size is None else str(page_size)
    query = {"limit": limit, "after": after, "before": before}
    return Request("GET", {name: value for name, value in query.items() if value is not None})


# --------------------------------------------------------------------------- shapes


_DIGITS: Final = re.compile(r"\+?[0-9]{1,32}")
_BSUID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,136}")


def _text(value: Any, _: object) -> str | None:
    """Read text that may be missing; cattrs by itself would turn null into "None"."""
    if value is None or isinstance(value, str):
        return value or None
    raise TypeError(f"text expected, not {type(value).__name__}")


def _wa_id(value: Any, _: object) -> str | None:
    text = _text(value, None)
    if text is not None and not _DIGITS.fullmatch(text):
        raise ValueError("not the digits of a WhatsApp id")
    return text and text.removeprefix("+")


def _user_id(value: Any, _: object) -> str | None:
    text = _text(value, None)
    if text is not None and not _BSUID.fullmatch(text):
        raise ValueError("not a business-scoped user id")
    return text


def _fault(value: Any) -> Fault:
    """Read one entry of `errors`, whatever it holds: it explains a failure, it does not decide."""
    if not isinstance(value, dict):
        return Fault(None, _words(value) or _meaning(None))
    code = _code(value.get("code"))
    message = _words(value.get("message")) or _words(value.get("title")) or _meaning(code)
    return Fault(code, message, _details(value))


def _meaning(code: int | None) -> str:
    meant = known(code)
    return meant.meaning if meant else "the server gave no reason"


def _entries(errors: Any) -> list[Any]:
    """Return the entries of a row's `errors`, which should be a list."""
    if isinstance(errors, list):
        return errors
    return [errors] if errors else []


class _WaId(str):
    """Marks a field for `_wa_id`."""

    __slots__ = ()


class _UserId(str):
    """Marks a field for `_user_id`."""

    __slots__ = ()


@attrs.define
class _Row:
    """One entry of `added_users`, `removed_users` or `failed_users`."""

    input: str | None = None
    wa_id: _WaId | None = None
    user_id: _UserId | None = None
    errors: Any = None


@attrs.frozen
class _ListRow:
    """One entry of a page."""

    wa_id: _WaId | None = None
    user_id: _UserId | None = None
    parent_user_id: _UserId | None = None


def _shapes() -> cattrs.Converter:
    converter = cattrs.Converter()
    hooks: dict[Any, Callable[[Any, object], Any]] = {
        str | None: _text,
        _WaId | None: _wa_id,
        _UserId | None: _user_id,
    }
    for shape, hook in hooks.items():
        converter.register_structure_hook_func(partial(operator.eq, shape), hook)
    return converter


_SHAPES: Final = _shapes()


class _Malformed(Exception):
    """A row is not of its shape; the message says where."""


def _structure(value: object, shape: type[T]) -> T:
    if not isinstance(value, dict):
        raise _Malformed("it is malformed: no object")
    try:
        return _SHAPES.structure(value, shape)
    except cattrs.BaseValidationError as error:
        why = mask_all("; ".join(cattrs.transform_error(error)))
        raise _Malformed(f"it is malformed: {why}") from None


def _are_digits(values: Sequence[Any]) -> bool:
    """Say whether all are the bare digits of a WhatsApp id."""
    try:
        digits = "".join(values)
    except TypeError:
        return False
    lengths = set(map(len, values))
    plain = digits.isascii() and digits.isdecimal() and 0 not in lengths
    return not values or (plain and max(lengths) <= 32)


# --------------------------------------------------------------------------- replies


def read_update(reply: Reply, operation: Operation, asked: Identifiers) -> Verdicts:
    """Read the answer to `build_update`: one verdict for each of *asked*, in their order.

    Raises:
        ApiError: The whole request failed; its class says how to react.
        InvalidResponse: The answer is not one that the API gives.
    """
    answer = _read_object(reply)
    lists = answer.get("block_users")
    lists = lists if isinstance(lists, dict) else {}
    done = _rows(reply, lists, *_DONE_LISTS[operation])
    failed = _rows(reply, lists, "failed_users")
    error = answer.get("error")
    if done is None and failed is None:
        raise _error_of(reply, error) if error else _edge_error(reply, "has no list of users")
    if error and not done and not failed and _code_of(error) != 139100:
        raise _error_of(reply, error)
    return _Matcher(asked).match(done or (), failed or ())


# DELETE has been said to answer with `added_users`; POST never to answer with `removed_users`.
_DONE_LISTS: Final = {
    Operation.BLOCK: ("added_users",),
    Operation.UNBLOCK: ("removed_users", "added_users"),
}


def _rows(reply: Reply, lists: Mapping[str, Any], *names: str) -> list[Any] | None:
    """Return the entries of the lists *names*, or None if none of them is there."""
    found = [lists[name] for name in names if lists.get(name) is not None]
    if not all(isinstance(rows, list) for rows in found):
        raise _no_answer(reply, f"has {' or '.join(names)} that is no list")
    return [row for rows in found for row in rows] if found else None


_MOST_ROWS_A_USER: Final = 2
_MOST_FAULTS_A_USER: Final = 4
# A BSUID has 131 characters at most; what is longer was not sent, and is not worth parsing.
_LONGEST_NAME: Final = 140


class _Matcher:
    """Matches the rows of an answer to the users that were asked for."""

    def __init__(self, asked: Identifiers) -> None:
        self._asked = asked
        self._index_of_input = {wire: index for index, wire in enumerate(asked.wires)}
        self._ignored = 0
        self._first_ignored = ""
        self._faults_left_out = 0

    @cached_property
    def _index_of_key(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self._asked.keys)}

    def match(self, done: Sequence[Any], failed: Sequence[Any]) -> Verdicts:
        """Return a verdict for each user who was asked for."""
        done, failed = self._bounded(done), self._bounded(failed)
        verdicts = Verdicts()
        verdicts.enter(len(self._asked), Status.UNKNOWN)
        doubtful: set[int] = set()
        done_indexes = self._plainly_done(done, verdicts)
        if done_indexes is None:
            done_rows, doubtful = self._read(done)
            for index, rows in done_rows.items():
                faults = self._faults(rows)
                status = Status.UNKNOWN if faults else Status.DONE
                verdicts[index] = Verdict(status, rows[0].wa_id, rows[0].user_id, faults)
            done_indexes = done_rows.keys()
        failed_rows, doubtful_failed = self._read(failed)
        for index, rows in failed_rows.items():
            faults = self._faults(rows) or (_fault(None),)
            verdicts[index] = Verdict(Status.FAILED, rows[0].wa_id, rows[0].user_id, faults)
        for index in doubtful | doubtful_failed | (failed_rows.keys() & done_indexes):
            verdicts.statuses[index] = Status.UNKNOWN
        self._log()
        return verdicts

    def _bounded(self, rows: Sequence[Any]) -> Sequence[Any]:
        """Return the rows that are looked at: a user may be repeated, but not without an end."""
        most = _MOST_ROWS_A_USER * len(self._asked)
        if len(rows) > most:
            self._ignore(f"there are {len(rows):,} rows for {len(self._asked):,} users")
            self._ignored += len(rows) - most - 1
        return rows[:most]

    def _faults(self, rows: Iterable[_Row]) -> tuple[Fault, ...]:
        entries = list(chain.from_iterable(_entries(row.errors) for row in rows))
        self._faults_left_out += len(entries[_MOST_FAULTS_A_USER:])
        return tuple(map(_fault, entries[:_MOST_FAULTS_A_USER]))

    def _ignore(self, why: str) -> None:
        self._first_ignored = self._first_ignored or why
        self._ignored += 1

    def _log(self) -> None:
        if self._ignored:
            _LOG.warning(
                "ignored rows of an answer: %d, the first because %s",
                self._ignored,
                self._first_ignored,
            )
        if self._faults_left_out:
            _LOG.warning(
                "ignored errors in an answer: %d, for there were more than %d of one user",
                self._faults_left_out,
                _MOST_FAULTS_A_USER,
            )

    def _plainly_done(self, entries: Sequence[Any], verdicts: Verdicts) -> AbstractSet[int] | None:
        """Read rows of nothing but an `input` that was sent and a `wa_id`, all at once.

        That is what nearly every row is, and it is a tenth of the work.

        Returns:
            The indexes of those that are done; None if any row is not so plain.
        """
        index_of = self._index_of_input
        try:
            indexes = [index_of[row["input"]] for row in entries]
            wa_ids = [row["wa_id"] for row in entries]
        except (KeyError, TypeError):
            return None
        distinct = set(indexes)
        if len(distinct) < len(indexes) or set(map(len, entries)) - {2} or not _are_digits(wa_ids):
            return None
        done = Verdicts([Status.DONE] * len(indexes), wa_ids)
        verdicts.put(indexes, done)
        return distinct

    def _read(self, entries: Iterable[Any]) -> tuple[dict[int, list[_Row]], set[int]]:
        """Return the rows by the user whom each names, and who is named by a malformed one."""
        rows: dict[int, list[_Row]] = {}
        doubtful: set[int] = set()
        for entry in entries:
            try:
                row = _structure(entry, _Row)
            except _Malformed as why:
                self._ignore(str(why))
                doubtful |= self._named_by_malformed(entry)
                continue
            if (index := self._match(row)) is None:
                self._ignore("it names a user who was not asked for")
            else:
                rows.setdefault(index, []).append(row)
        return rows, doubtful

    def _match(self, row: _Row) -> int | None:
        """Match by `input`, then by the digits of `wa_id`, then by `user_id`; never by position.

        An `input` that names somebody else is not overruled by the ids beside it.
        """
        if row.input is not None:
            if (index := self._index_of_input.get(row.input)) is not None:
                return index
            with suppress(ValueError):
                return self._index_of_key.get(identifiers.read(row.input[:_LONGEST_NAME]).key)
        indexes = (self._index_of_key.get(name) for name in (row.wa_id, row.user_id) if name)
        return next((index for index in indexes if index is not None), None)

    def _named_by_malformed(self, entry: Any) -> set[int]:
        values = entry.values() if isinstance(entry, dict) else (entry,)
        texts = [value for value in values if isinstance(value, str)]
        by_key = self._index_of_key
        indexes = (self._index_of_input.get(t, by_key.get(t.removeprefix("+"))) for t in texts)
        return {index for index in indexes if index is not None}


LARGEST_BLOCKLIST: Final = 64_000
"""So many users a blocklist holds at most."""


class Listing(NamedTuple):
    """A page, and whether the answer has links to its neighbours.

    The links themselves are never followed: the token would go to whatever host they name.
    """

    page: Page
    has_next: bool = False
    has_previous: bool = False


def read_page(reply: Reply) -> Listing:
    """Read one page of the blocklist.

    Raises:
        ApiError: The request failed; `BlocklistChanged` for a cursor of an older list.
        InvalidResponse: The answer is not one that the API gives.
    """
    answer = _read_object(reply)
    if error := answer.get("error"):
        raise _error_of(reply, error)
    if not isinstance(answer.get("data"), list):
        raise _edge_error(reply, "has no list of users")
    users = _plainly_blocked(answer["data"]) or tuple(
        _blocked_user(reply, row) for row in islice(_flat(answer["data"]), LARGEST_BLOCKLIST + 1)
    )
    if len(users) > LARGEST_BLOCKLIST:
        raise _no_answer(reply, f"has a page of more than {LARGEST_BLOCKLIST:,} users")
    paging = answer.get("paging") or {}
    cursors = paging.get("cursors") or {} if isinstance(paging, dict) else None
    if not isinstance(cursors, dict):
        raise _no_answer(reply, "has cursors that are no object")
    before, after = (_cursor(reply, cursors.get(name)) for name in ("before", "after"))
    page = Page(users, before, after)
    return Listing(page, bool(paging.get("next")), bool(paging.get("previous")))


def _plainly_blocked(entries: list[Any]) -> tuple[BlockedUser, ...] | None:
    """Read rows that name a `wa_id` and the product, and nothing else, all at once."""
    try:
        wa_ids = [row["wa_id"] for row in entries if row["messaging_product"]]
    except (KeyError, TypeError):
        return None
    if len(wa_ids) < len(entries) or set(map(len, entries)) - {2} or not _are_digits(wa_ids):
        return None
    return tuple(map(BlockedUser, wa_ids))


def _flat(data: list[Any]) -> Iterable[Any]:
    """Unwrap the older, nested form: `[{"block_users": [row, …]}]`."""
    for row in data:
        nested = row.get("block_users") if isinstance(row, dict) else None
        yield from nested if isinstance(nested, list) else (row,)


def _blocked_user(reply: Reply, entry: Any) -> BlockedUser:
    try:
        row = _structure(entry, _ListRow)
    except _Malformed as why:
        raise _no_answer(reply, f"lists something that is no user: {why}") from None
    if not (row.wa_id or row.user_id):
        raise _no_answer(reply, "lists something that is no user: it has no id")
    return BlockedUser(row.wa_id, row.user_id, row.parent_user_id)


def _cursor(reply: Reply, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise _no_answer(reply, "has a cursor that is no text")


# --------------------------------------------------------------------------- errors


# The largest page in its nested form has three for each user.
_MOST_CONTAINERS: Final = 4 * LARGEST_BLOCKLIST


def _read_object(reply: Reply) -> dict[str, Any]:
    """Return the body's JSON object; raise what a body without one means."""
    if reply.body.lstrip()[:1] != b"{":
        raise _edge_error(reply, "is no JSON object" if reply.body.strip() else "is empty")
    # Whatever the parser made of more would cost more memory and time than any true answer.
    if reply.body.count(b"{") + reply.body.count(b"[") > _MOST_CONTAINERS:
        raise _edge_error(reply, f"has more than {_MOST_CONTAINERS:,} objects and lists")
    try:
        return dict(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        raise _edge_error(reply, "is broken JSON") from None


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: InvalidRequest,
    429: RateLimited,
}


def _edge_error(reply: Reply, what: str) -> BlockUsersError:
    """Return what an answer that is none of the API's means, by its status.

    Meta's edge answers with HTML or nothing, gateways in front of it with JSON of their own.
    """
    kind = _BY_STATUS.get(reply.status)
    if reply.status >= 500:
        kind = ServiceError
    elif reply.status == 400 and not reply.body.strip():
        kind = InvalidRequest
    if kind is None:
        return _no_answer(reply, what)
    return kind(f"the answer {what}", status=reply.status, retry_after=_retry_after(reply))


def _no_answer(reply: Reply, what: str) -> InvalidResponse:
    return InvalidResponse(f"the answer (HTTP {reply.status}) {what}")


def _error_of(reply: Reply, error: Any) -> ApiError:
    """Return the error that an envelope describes: classified by its code, then by the status."""
    fields = error if isinstance(error, dict) else {"message": error}
    code = _code_of(error)
    meant = known(code)
    kind = ERROR_OF[meant.reaction] if meant else None
    if fields.get("is_transient") is True and (
        kind is InvalidRequest or (kind is None and reply.status != 429)
    ):
        kind = ServiceError
    if kind is None:
        fallback = ServiceError if reply.status >= 500 else InvalidRequest
        kind = _BY_STATUS.get(reply.status, fallback)
    return kind(
        message=_words(fields.get("message")) or _meaning(code),
        code=code,
        subcode=_code(fields.get("error_subcode")),
        status=reply.status,
        details=_details(fields),
        trace_id=_words(fields.get("fbtrace_id")),
        retry_after=_retry_after(reply),
    )


def _code_of(error: Any) -> int | None:
    return _code(error.get("code")) if isinstance(error, dict) else None


def _code(value: Any) -> int | None:
    """Read an error code: an integer, printed as text in some of Meta's pages."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return int(value) if re.fullmatch("-?[0-9]{1,9}", str(value).strip()) else None


def _details(fields: Mapping[str, Any]) -> str:
    """Return `error_data.details`, or `error_data` itself where it is bare text."""
    data = fields.get("error_data")
    details = data.get("details") if isinstance(data, dict) else data
    return _words(details) or _words(fields.get("error_user_msg"))


_LONGEST_WORDS: Final = 500


def _words(value: Any) -> str:
    return value[:_LONGEST_WORDS] if isinstance(value, str) else ""


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
