"""Builds the API's requests, bounds the size of their replies, and reads these; without I/O.

A reply is judged by its body, not by its HTTP status: Meta answers a mixed success with status 400
and the two lists of a per-user answer.  An answer without any of the promised parts is an
`InvalidResponse`.

Guide: https://developers.facebook.com/docs/whatsapp/cloud-api/block-users
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson

from blockusers.protocol.failures import edge_error, error_of, invalid
from blockusers.protocol.matching import Matcher
from blockusers.protocol.messages import Reply, Request
from blockusers.protocol.rows import are_digits, structure
from blockusers.values.blocklist import BlockedUser, Page
from blockusers.values.columns import Verdicts
from blockusers.values.outcome import Operation
from blockusers.values.users import Identifiers

_METHODS: Final = {Operation.BLOCK: "POST", Operation.UNBLOCK: "DELETE"}
_SOME_FAILED: Final = 139100
"""The code beside the lists of a mixed success; if they are empty, everybody is `UNKNOWN`."""
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
    error = error_of(reply, answer["error"]) if answer.get("error") else None
    if done is None and failed is None:
        raise error or edge_error(reply, "has no list of users")
    if error and not done and not failed and error.code != _SOME_FAILED:
        raise error
    return Matcher(asked).match(done or (), failed or ())


# DELETE has been said to answer with `added_users`; POST never to answer with `removed_users`.
_DONE_LISTS: Final = {
    Operation.BLOCK: ("added_users",),
    Operation.UNBLOCK: ("removed_users", "added_users"),
}


def _rows(reply: Reply, lists: Mapping[str, Any], *names: str) -> list[Any] | None:
    """Return the entries of the lists *names*, or None if none of them is there."""
    found = [lists[name] for name in names if lists.get(name) is not None]
    if not all(isinstance(rows, list) for rows in found):
        raise invalid(reply, f"has {' or '.join(names)} that is no list")
    return [row for rows in found for row in rows] if found else None


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
        raise error_of(reply, error)
    if not isinstance(answer.get("data"), list):
        raise edge_error(reply, "has no list of users")
    users = _plainly_blocked(answer["data"]) or tuple(
        _blocked_user(reply, row) for row in islice(_flat(answer["data"]), LARGEST_BLOCKLIST + 1)
    )
    if len(users) > LARGEST_BLOCKLIST:
        raise invalid(reply, f"has a page of more than {LARGEST_BLOCKLIST:,} users")
    paging = answer.get("paging") or {}
    cursors = paging.get("cursors") or {} if isinstance(paging, dict) else None
    if not isinstance(cursors, dict):
        raise invalid(reply, "has cursors that are no object")
    before, after = (_cursor(reply, cursors.get(name)) for name in ("before", "after"))
    page = Page(users, before, after)
    return Listing(page, bool(paging.get("next")), bool(paging.get("previous")))


def _plainly_blocked(entries: list[Any]) -> tuple[BlockedUser, ...] | None:
    """Read rows that name a `wa_id` and the product, and nothing else, all at once."""
    try:
        wa_ids = [row["wa_id"] for row in entries if row["messaging_product"]]
    except (KeyError, TypeError):
        return None
    if len(wa_ids) < len(entries) or set(map(len, entries)) - {2} or not are_digits(wa_ids):
        return None
    return tuple(map(BlockedUser, wa_ids))


def _flat(data: list[Any]) -> Iterable[Any]:
    """Unwrap the older, nested form: `[{"block_users": [row, …]}]`."""
    for row in data:
        nested = row.get("block_users") if isinstance(row, dict) else None
        yield from nested if isinstance(nested, list) else (row,)


def _blocked_user(reply: Reply, entry: Any) -> BlockedUser:
    try:
        user = structure(entry, BlockedUser)
    except ValueError as why:
        raise invalid(reply, f"lists something that is no user: {why}") from None
    if not (user.wa_id or user.user_id):
        raise invalid(reply, "lists something that is no user: it has no id")
    return user


def _cursor(reply: Reply, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise invalid(reply, "has a cursor that is no text")


# The largest page in its nested form has three for each user.
_MOST_CONTAINERS: Final = 4 * LARGEST_BLOCKLIST


def _read_object(reply: Reply) -> dict[str, Any]:
    """Return the body's JSON object; raise what a body without one means."""
    if reply.body.lstrip()[:1] != b"{":
        raise edge_error(reply, "is no JSON object" if reply.body.strip() else "is empty")
    # Whatever the parser made of more would cost more memory and time than any true answer.
    if reply.body.count(b"{") + reply.body.count(b"[") > _MOST_CONTAINERS:
        raise edge_error(reply, f"has more than {_MOST_CONTAINERS:,} objects and lists")
    try:
        return dict(orjson.loads(reply.body))
    except orjson.JSONDecodeError:
        raise edge_error(reply, "is broken JSON") from None
