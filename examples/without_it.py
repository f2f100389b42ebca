"""What goes wrong without it, each case played on the sandbox: run it and see.

Each case is given to what one writes first (forty lines of aiohttp, which drop what is no digit,
post the list, raise for a bad status, trust the order of the rows and follow the links), to pywa,
and to blockusers.  `in truth` stands where somebody believes what is not so.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import aiohttp
import attrs
import httpx
import pywa_async
from aiohttp import web
from aiohttp.test_utils import TestServer
from pywa.errors import WhatsAppError
from yarl import URL

from blockusers import Account, Client, Incomplete
from blockusers.sandbox import Credentials, Rules, Sandbox, glitches

ANNA, BERTA, CARLA, DORA = "+4915100001", "+4915100002", "+491511131047", "+491512139103"
TRUNK_ZERO = "+49 (0)15100001"
MANY = [f"+4915200{n:04}" for n in range(1500)]
NAMES = {
    ANNA: "Anna",
    BERTA: "Berta",
    CARLA: "Carla, who never wrote,",
    DORA: "Dora",
    TRUNK_ZERO: f"`{TRUNK_ZERO}`",
    "+49015100001": "a stranger",
}


@attrs.frozen
class Belief:
    """What a client says, and so who is blocked if one believes it."""

    text: str
    blocked: frozenset[str] = frozenset()


def all_blocked(numbers: list[str]) -> Belief:
    """Say that *numbers* are blocked."""
    few = " and ".join(NAMES.get(number, number) for number in numbers)
    text = few if len(numbers) < 5 else f"{len(numbers):,}"
    return Belief(f"{text or 'nobody'} blocked", frozenset(numbers))


class ByHand:
    """What one writes first."""

    def __init__(self, credentials: Credentials) -> None:
        path = f"v25.0/{credentials['phone_number_id']}/block_users"
        self._url = f"{credentials['base_url']}/{path}"
        self._headers = {"Authorization": f"Bearer {credentials['access_token']}"}

    async def block(self, numbers: list[str]) -> Belief:
        """Block *numbers*."""
        users = [{"user": re.sub("[^0-9]", "", number)} for number in numbers]
        answer = await self._send(
            "POST", self._url, json={"messaging_product": "whatsapp", "block_users": users}
        )
        rows = answer["block_users"]["added_users"]
        return all_blocked([number for number, _ in zip(numbers, rows, strict=False)])

    async def blocked(self) -> int:
        """Count the blocked users."""
        answer = await self._send("GET", self._url)
        found = len(answer["data"])
        while answer["data"]:
            after = URL(self._url).with_query(after=answer["paging"]["cursors"]["after"])
            answer = await self._send("GET", answer["paging"].get("next") or after)
            found += len(answer.get("data", []))
            answer.setdefault("data", [])
        return found

    async def _send(self, method: str, url: str | URL, json: object = None) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=json, headers=self._headers) as response,
        ):
            if method == "POST":
                response.raise_for_status()
            found: dict[str, Any] = await response.json()
            return found


class Pywa:
    """pywa, as its own documentation uses it."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def block(self, numbers: list[str]) -> Belief:
        """Block *numbers*."""
        async with httpx.AsyncClient(trust_env=False) as session:
            result = await self._client(session).block_users(numbers)
        return all_blocked([user.input for user in result.added_users])

    async def blocked(self) -> int:
        """Count the blocked users."""
        async with httpx.AsyncClient(trust_env=False) as session:
            result = await self._client(session).get_blocked_users()
            return len(await result.all())

    def _client(self, session: httpx.AsyncClient) -> Any:
        number, token = self._credentials["phone_number_id"], self._credentials["access_token"]
        client = pywa_async.WhatsApp(phone_id=number, token=token, session=session)
        session.base_url = httpx.URL(f"{self._credentials['base_url']}/v25.0")
        return client


class Ours:
    """blockusers."""

    def __init__(self, credentials: Credentials) -> None:
        self._account = Account(**credentials)

    async def block(self, numbers: list[str]) -> Belief:
        """Block *numbers*."""
        async with Client(self._account) as client:
            try:
                report = await client.block(numbers)
            except Incomplete as early:
                report = early.report
        done = all_blocked([outcome.input for outcome in report.succeeded])
        others = [
            f"{NAMES[outcome.input]} {outcome.status.value}" for outcome in report if not outcome.ok
        ]
        said = ([done.text] if done.blocked else []) + others
        return Belief(", ".join(said), done.blocked)

    async def blocked(self) -> int:
        """Count the blocked users."""
        async with Client(self._account) as client:
            return len([user async for user in client.blocked()])


Kind = type[ByHand] | type[Pywa] | type[Ours]
KINDS: tuple[Kind, ...] = (ByHand, Pywa, Ours)
Prepare = Callable[[Sandbox], object]


async def blocking(kind: Kind, rules: Rules, prepare: Prepare, numbers: list[str]) -> str:
    """Block *numbers*; return what the client says, and the truth if that is another."""
    with Sandbox(rules) as sandbox:
        prepare(sandbox)
        try:
            belief = await kind(sandbox.credentials).block(numbers)
        except (aiohttp.ClientError, httpx.HTTPError, WhatsAppError) as error:
            belief = Belief(type(error).__name__)
        spelled = {key.removeprefix("+"): key for key in (*NAMES, *MANY)}
        truth = all_blocked([spelled[key] for key in sorted(sandbox.blocklist())])
    return belief.text + (f"; in truth: {truth.text}" if truth.blocked != belief.blocked else "")


async def listing(kind: Kind, prepare: Prepare) -> str:
    """List 250 users; return what the client says."""
    with Sandbox(Rules(window=None)) as sandbox:
        sandbox.block(*(number.removeprefix("+") for number in MANY[:250]))
        prepare(sandbox)
        try:
            found = await kind(sandbox.credentials).blocked()
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return f"{found} blocked" + ("" if found == 250 else "; in truth: 250 blocked")


async def following(kind: Kind) -> str:
    """List users where a page has a link to another host; return who sees the token."""
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response({"data": [], "paging": {}})

    app = web.Application()
    app.router.add_get("/", elsewhere)
    async with TestServer(app) as other:
        row = {"messaging_product": "whatsapp", "wa_id": "4915100001", "input": "4915100001"}
        cursors = {"before": "QVFIUj", "after": "QVFIUk"}
        link = str(other.make_url("/"))
        page = {"data": [row], "paging": {"cursors": cursors, "next": link}}
        await listing(kind, lambda sandbox: sandbox.glitch(glitches.answer(200, page), at=1))
    return "the link's host has the token" if any(seen) else "only Meta has the token"


ANYBODY = Rules(window=None)
OTHER_ORDER = Rules(window=None, mixed_status=200, mixed_error=False)
CHANGED = glitches.answer(400, {"error": {"code": 139102, "message": "Blocklist was updated"}})


def nothing(_: Sandbox) -> None:
    """Prepare nothing."""


def lose_the_answer(sandbox: Sandbox) -> None:
    """Let the first answer be lost, after its effect."""
    sandbox.glitch(glitches.reset_after(), at=1)


def change_the_list(sandbox: Sandbox) -> None:
    """Let the list change before the second page."""
    sandbox.glitch(CHANGED, at=2)


CASES: dict[str, Callable[[Kind], Awaitable[str]]] = {
    "one of two fails: the reply has status 400": lambda kind: blocking(
        kind, ANYBODY, nothing, [ANNA, CARLA]
    ),
    "one of two fails: status 200, rows for those who did not": lambda kind: blocking(
        kind, OTHER_ORDER, nothing, [CARLA, BERTA]
    ),
    "the answer is lost after the effect": lambda kind: blocking(
        kind, ANYBODY, lose_the_answer, [ANNA]
    ),
    "139103 on one number, for a moment": lambda kind: blocking(
        kind, ANYBODY, nothing, [ANNA, DORA]
    ),
    f"`{TRUNK_ZERO}`, as people write it": lambda kind: blocking(
        kind, ANYBODY, nothing, [TRUNK_ZERO]
    ),
    "1,500 numbers": lambda kind: blocking(kind, ANYBODY, nothing, MANY),
    "the list of 250, in pages": lambda kind: listing(kind, nothing),
    "the list changes while it is read": lambda kind: listing(kind, change_the_list),
    "a page links to another host": following,
}


async def main() -> None:
    """Print the table."""
    logging.disable()  # pywa writes about its own errors
    print(f"| case | by hand | pywa {version('pywa')} | blockusers |")
    print("| --- | --- | --- | --- |")
    for case, play in CASES.items():
        cells = [await play(kind) for kind in KINDS]
        print(f"| {case} | {' | '.join(cells)} |")


if __name__ == "__main__":
    asyncio.run(main())
