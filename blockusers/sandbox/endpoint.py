"""The endpoint without its socket: checks a `Call`, carries it out, and returns an `Answer`.

The checks are in the order in which Meta's edge could make them: the path, the token, the business
number, the rate limit, and only then the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final, NamedTuple

import attrs
import orjson

from blockusers.sandbox.answers import Answer, AnswerBuilder
from blockusers.sandbox.blocklist import Blocklist, Page
from blockusers.sandbox.bucket import Bucket
from blockusers.sandbox.refusals import Refusal
from blockusers.sandbox.rules import Rules
from blockusers.sandbox.users import User, read_entry

# Meta's guide prints the path without a version as well, which then is the oldest that is alive.
_GRAPH_PATH: Final = re.compile(r"(?:/v[0-9]+\.[0-9]+)?/([^/]+)/block_users")
_DIALOG360_PATH: Final = "/block_users"
_LIMIT: Final = re.compile(r"0*[1-9][0-9]{0,8}")


@attrs.frozen(slots=False)
class Call:
    """One HTTP request, read to its end."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in any case find them."""
    body: bytes = b""

    @cached_property
    def payload(self) -> dict[str, Any] | None:
        """The body as a JSON object; `None`: it is none."""
        try:
            content = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None
        return content if isinstance(content, dict) else None

    @cached_property
    def entries(self) -> list[Any] | None:
        """The entries of `block_users`; `None`: there is no such list."""
        entries = (self.payload or {}).get("block_users")
        return entries if isinstance(entries, list) else None

    @property
    def users(self) -> tuple[str, ...]:
        """The strings sent as users, whether or not the rest is valid."""
        rows: list[dict[str, Any]] = [row for row in self.entries or () if isinstance(row, dict)]
        named = (row.get("user", row.get("user_id")) for row in rows)
        return tuple(user for user in named if isinstance(user, str))


class Number(NamedTuple):
    """What the server keeps for one business number."""

    blocklist: Blocklist
    bucket: Bucket


class Endpoint:
    """Answers calls by the rules."""

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self.numbers = {
            phone_number_id: Number(Blocklist(rules, clock), Bucket(rules, clock))
            for phone_number_id in rules.phone_number_ids
        }
        self._rules = rules
        self._builder = AnswerBuilder(rules)

    def answer(self, call: Call) -> Answer:
        """Carry out *call* and return the answer to it."""
        try:
            return self._carry_out(call)
        except Refusal as refusal:
            return self._builder.refused(refusal)

    def _carry_out(self, call: Call) -> Answer:
        blocklist, bucket = self._find(self._authenticate(call), call.method)
        if (call.method != "GET" or self._rules.listing_costs) and not bucket.take():
            raise Refusal(130429, "Too many requests in a short time")
        if call.method == "GET":
            return self._builder.listed(self._page(blocklist, call.query), call.path)
        users = self._read_users(call)
        change = blocklist.block if call.method == "POST" else blocklist.unblock
        faults = change([user.key for user in users])
        return self._builder.changed(call.method, users, faults)

    def _authenticate(self, call: Call) -> str:
        """Check path and credentials; return the business number id that is called."""
        if call.path == _DIALOG360_PATH:
            return self._owners(call.headers.get("D360-API-KEY", ""))[0]
        found = _GRAPH_PATH.fullmatch(call.path)
        if found is None:
            raise Refusal(2500)
        scheme, _, bearer = call.headers.get("Authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else call.query.get("access_token", "")
        owners = self._owners(token)
        self._check_proof(token, call.query.get("appsecret_proof"))
        if found[1] in self.numbers and found[1] not in owners:
            raise Refusal(131005)
        return found[1]

    def _owners(self, token: str) -> Sequence[str]:
        """Return the ids of the business numbers that *token* is good for."""
        if not token:
            raise Refusal(104)
        owners = [each for each in self.numbers if self._rules.token_of(each) == token]
        if not owners:
            raise Refusal(190)
        return owners

    def _check_proof(self, token: str, proof: str | None) -> None:
        secret = self._rules.app_secret
        if secret is None:
            return
        right = hmac.new(secret.encode(), token.encode(), hashlib.sha256)
        if proof != right.hexdigest():
            what = "Invalid appsecret_proof" if proof else "Missing appsecret_proof"
            raise Refusal(100, message=f"{what} in the API argument")

    def _find(self, phone_number_id: str, method: str) -> Number:
        if method not in {"GET", "POST", "DELETE"}:
            raise Refusal(100, message=f"Unsupported method: {method}")
        if not phone_number_id.isdecimal():
            raise Refusal(803)
        if phone_number_id not in self.numbers:
            message = f"Object with ID '{phone_number_id}' does not exist"
            raise Refusal(100, message=message, subcode=33)
        return self.numbers[phone_number_id]

    def _read_users(self, call: Call) -> Sequence[User]:
        """Return the distinct users that *call* names; the first spelling of each counts."""
        if call.payload is None:
            raise Refusal(100, "The body must be a JSON object")
        if call.payload.get("messaging_product") != "whatsapp":
            raise Refusal(100, "messaging_product must be whatsapp")
        if call.entries is None:
            raise Refusal(100, "block_users must be a list")
        if not call.entries:
            raise Refusal(100, "block_users names nobody")
        if len(call.entries) > self._rules.max_users:
            raise Refusal(130429, f"More than {self._rules.max_users} users in one request")
        distinct: dict[str, User] = {}
        for entry in call.entries:
            user = read_entry(entry, rewrite=self._rules.rewrite_wa_ids)
            distinct.setdefault(user.key or user.input, user)
        if self._rules.repeats == "refuse" and len(distinct) < len(call.entries):
            raise Refusal(100, "block_users names somebody twice")
        return list(distinct.values())

    def _page(self, blocklist: Blocklist, query: Mapping[str, str]) -> Page:
        text = query.get("limit", str(self._rules.default_page))
        if not _LIMIT.fullmatch(text):
            raise Refusal(100, "limit must be a positive whole number")
        limit = min(int(text), self._rules.largest_page)
        return blocklist.page(limit, after=query.get("after"), before=query.get("before"))
