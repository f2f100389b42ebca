"""Builds the answers of the sandbox: status, JSON and headers, as the rules say."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import orjson

from blockusers.sandbox.blocklist import Page
from blockusers.sandbox.cursors import encode
from blockusers.sandbox.refusals import WORDINGS, Refusal
from blockusers.sandbox.rules import Rules
from blockusers.sandbox.users import User, id_name

_Row: TypeAlias = dict[str, Any]

# A `next` link that is followed takes the token to a host that nobody owns.
_TRAP: Final = "https://never-follow-next-links.invalid"


@attrs.frozen
class Answer:
    """One HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    code: int | None = None
    """The error code at its top level."""


NO_ANSWER: Final = Answer(500, b"", {})
"""Stands for the answer to a request that was not carried out."""


@attrs.frozen
class AnswerBuilder:
    """Builds the answers to calls."""

    _rules: Rules

    def refused(self, refusal: Refusal) -> Answer:
        """Build the answer to a request that is refused."""
        limited = refusal.code == 130429
        status = self._rules.limit_status if limited else refusal.status
        body = orjson.dumps({"error": _error(refusal)})
        return Answer(status, body, self._headers(limited=limited), refusal.code)

    def changed(self, method: str, users: Sequence[User], faults: Mapping[str, int]) -> Answer:
        """Build the answer to POST or DELETE: *faults* says who failed; the others were done."""
        rows = self._ordered(users)
        done = [_row(one) for one in rows if one.key not in faults]
        failed = [self._failed_row(one, faults[one.key]) for one in rows if one.key in faults]
        content: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "block_users": self._lists(method, done, failed),
        }
        code = self._rules.mixed_code if failed and self._rules.mixed_error else None
        if code is not None:
            content["error"] = _error(Refusal(139100)) | {"code": code}
        status = self._rules.mixed_status if failed else 200
        return Answer(status, orjson.dumps(content), self._headers(), code)

    def listed(self, page: Page, path: str) -> Answer:
        """Build the answer to GET."""
        if not page.keys:
            return Answer(200, b'{"data":[]}', self._headers())
        content = {"data": self._listing_rows(page), "paging": self._paging(page, path)}
        return Answer(200, orjson.dumps(content), self._headers())

    def _lists(self, method: str, done: list[_Row], failed: list[_Row]) -> dict[str, list[_Row]]:
        name = "added_users" if method == "POST" else self._rules.removed_key
        lists = {name: done, "failed_users": failed}
        if self._rules.empty_lists:
            return lists
        return {key: rows for key, rows in lists.items() if rows} or {name: []}

    def _ordered(self, users: Sequence[User]) -> Sequence[User]:
        if self._rules.lists_order == "reversed":
            return users[::-1]
        if self._rules.lists_order == "shuffled":
            # By checksum: out of order, and the same in every run.
            return sorted(users, key=lambda one: zlib.crc32(one.input.encode()))
        return users

    def _failed_row(self, user: User, code: int) -> _Row:
        wording = WORDINGS[code]
        bare = self._rules.bare_error_data
        error = {
            "message": wording.message,
            "code": str(code) if self._rules.codes_as_text else code,
            "error_data": wording.details if bare else {"details": wording.details},
        }
        known = self._rules.failed_wa_ids and user.key
        return (_row(user) if known else {"input": user.input}) | {"errors": [error]}

    def _listing_rows(self, page: Page) -> list[_Row]:
        if self._rules.nested_listing:
            users = [{"input": key, id_name(key): key} for key in page.keys]
            return [{"block_users": users}]
        return [{"messaging_product": "whatsapp", id_name(key): key} for key in page.keys]

    def _paging(self, page: Page, path: str) -> dict[str, Any]:
        cursors = {"before": encode(page.first), "after": encode(page.last)}
        paging: dict[str, Any] = {"cursors": cursors}
        if self._rules.next_links and page.more:
            paging["next"] = f"{_TRAP}{path}?limit={len(page.keys)}&after={cursors['after']}"
        return paging

    def _headers(self, *, limited: bool = False) -> dict[str, str]:
        """Return the headers of an answer; when *limited*, with the waits that the rules set."""
        headers = {"Content-Type": "application/json; charset=UTF-8"}
        if limited and self._rules.retry_after is not None:
            headers["Retry-After"] = f"{self._rules.retry_after:.15g}"
        if self._rules.regain_minutes is not None:
            minutes = self._rules.regain_minutes if limited else 0
            headers["x-business-use-case-usage"] = self._usage(minutes)
        return headers

    def _usage(self, minutes: int) -> str:
        share = 100 if minutes else 1
        usage = {
            "type": "whatsapp",
            "call_count": share,
            "total_cputime": share,
            "total_time": share,
            "estimated_time_to_regain_access": minutes,
        }
        return orjson.dumps({self._rules.phone_number_ids[0]: [usage]}).decode()


def _row(user: User) -> _Row:
    return {"input": user.input, id_name(user.key): user.key}


def _error(refusal: Refusal) -> _Row:
    error: _Row = {
        "message": f"(#{refusal.code}) {refusal.message}",
        "type": "OAuthException",
        "code": refusal.code,
        "error_data": {"messaging_product": "whatsapp", "details": refusal.details},
        "fbtrace_id": "A" + secrets.token_urlsafe(16),
    }
    if refusal.subcode is not None:
        error["error_subcode"] = refusal.subcode
    return error
