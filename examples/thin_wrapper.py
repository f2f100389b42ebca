"""What goes wrong with a thin wrapper, each case played on the sandbox: run it and see.

The wrapper below is what one writes first: it drops what is no digit, posts the list, raises for a
bad status, and trusts the order of the rows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import aiohttp

from blockusers import Account, Client
from blockusers.sandbox import Credentials, Rules, Sandbox, glitches

ANNA, BERTA, NEVER_WROTE, SHAKY = "+4915100001", "+4915100002", "+491511131047", "+491512139103"


class ThinWrapper:
    """The obvious client."""

    def __init__(self, session: aiohttp.ClientSession, credentials: Credentials) -> None:
        self._session = session
        path = f"v25.0/{credentials['phone_number_id']}/block_users"
        self._url = f"{credentials['base_url']}/{path}"
        self._headers = {"Authorization": f"Bearer {credentials['access_token']}"}

    async def block(self, numbers: list[str]) -> str:
        """Say what became of *numbers*."""
        users = [{"user": re.sub("[^0-9]", "", number)} for number in numbers]
        body = {"messaging_product": "whatsapp", "block_users": users}
        try:
            async with self._session.post(
                self._url, json=body, headers=self._headers, raise_for_status=True
            ) as response:
                answer = await response.json()
        except aiohttp.ClientError as error:
            return f"{type(error).__name__}: nobody?"
        rows = answer["block_users"]["added_users"]
        blocked = [number for number, _ in zip(numbers, rows, strict=False)]
        return ", ".join(f"{name(number)} blocked" for number in blocked)

    async def blocked(self) -> str:
        """Say how many are blocked."""
        found, query = 0, {"limit": "100"}
        while True:
            async with self._session.get(
                self._url, params=query, headers=self._headers
            ) as response:
                answer = await response.json()
            if not answer.get("data"):
                return f"{found} users"
            found += len(answer["data"])
            query["after"] = answer["paging"]["cursors"]["after"]


def name(number: str) -> str:
    """Say who has *number*."""
    names = {ANNA: "Anna", BERTA: "Berta", NEVER_WROTE: "Carla", SHAKY: "Dora"}
    return names.get(number, number)


Case = tuple[str, Rules, Callable[[Sandbox], None], list[str]]
ANYBODY = Rules(window=None)
CASES: list[Case] = [
    (
        "one of two fails: the reply has status 400",
        ANYBODY,
        lambda _: None,
        [ANNA, NEVER_WROTE],
    ),
    (
        "one of two fails: the reply has status 200, the rows another order",
        Rules(window=None, mixed_status=200, mixed_error=False),
        lambda _: None,
        [NEVER_WROTE, BERTA],
    ),
    (
        "the answer is lost after the effect",
        ANYBODY,
        lambda sandbox: sandbox.glitch(glitches.reset_after()),
        [ANNA],
    ),
    ("139103 on one number, for a moment", ANYBODY, lambda _: None, [ANNA, SHAKY]),
    ("`+49 (0)151…`, as people write it", ANYBODY, lambda _: None, ["+49 (0)15100001"]),
]


async def play(case: Case) -> tuple[str, str, str]:
    """Play one case to both; return what each says, and who is blocked in truth."""
    _, rules, prepare, numbers = case
    with Sandbox(rules) as sandbox:
        prepare(sandbox)
        async with aiohttp.ClientSession() as session:
            thin = await ThinWrapper(session, sandbox.credentials).block(numbers)
        truth = sandbox.blocklist()
    with Sandbox(rules) as sandbox:
        prepare(sandbox)
        async with Client(Account(**sandbox.credentials)) as client:
            report = await client.block(numbers)
    ours = ", ".join(
        f"{name(outcome.input)} {'blocked' if outcome.ok else outcome.status.value}"
        for outcome in report
    )
    known = {number.removeprefix("+"): name(number) for number in (ANNA, BERTA, SHAKY)}
    really = ", ".join(f"{known.get(key, f'a stranger, {key},')} blocked" for key in sorted(truth))
    return thin, really or "nobody blocked", ours


async def play_listing() -> tuple[str, str, str]:
    """List 250 users while somebody is unblocked between two pages."""

    async def listed(by: Callable[[Sandbox], Awaitable[str]]) -> str:
        with Sandbox(ANYBODY) as sandbox:
            sandbox.block(*(f"4915200{n:04}" for n in range(250)))
            sandbox.glitch(
                glitches.answer(
                    400,
                    {"error": {"code": 139102, "message": "Blocklist was updated"}},
                ),
                at=2,
            )
            return await by(sandbox)

    async def thin(sandbox: Sandbox) -> str:
        async with aiohttp.ClientSession() as session:
            return await ThinWrapper(session, sandbox.credentials).blocked()

    async def ours(sandbox: Sandbox) -> str:
        async with Client(Account(**sandbox.credentials)) as client:
            return f"{len([user async for user in client.blocked()])} users"

    return await listed(thin), "250 users", await listed(ours)


async def main() -> None:
    """Print the table."""
    print("| case | a thin wrapper says | the truth behind that | blockusers says |")
    print("| --- | --- | --- | --- |")
    for case in CASES:
        print(f"| {case[0]} | {' | '.join(await play(case))} |")
    print(f"| the list changes while it is read | {' | '.join(await play_listing())} |")


if __name__ == "__main__":
    asyncio.run(main())
