"""What several tests of the guard need: a server that is a function, and waiting for something."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence

import attrs
import orjson

from blockusers import Operation, Outcome, Status
from blockusers.guard.answers import Answer
from blockusers.guard.entries import Entry
from blockusers.guard.intents import Intent, Rank
from blockusers.guard.stores.protocol import Filter, Store
from tests.support import PHONE_NUMBER_ID, Clock

Script = Callable[[Operation, Sequence[str]], Sequence[Answer] | None]


@attrs.define
class Server:
    """Carries out operations on a blocklist; *script* may answer in its place."""

    script: Script = lambda _operation, _users: None
    blocked: set[str] = attrs.field(factory=set)
    asked: list[tuple[Operation, tuple[str, ...]]] = attrs.field(factory=list)
    ranks: list[Rank] = attrs.field(factory=list)
    gate: asyncio.Event | None = None
    """While it is not set, requests that have come are not answered."""
    holds: Operation | None = None
    """The operation for which that holds; None for both."""

    async def __call__(
        self, operation: Operation, users: Sequence[str], rank: Rank
    ) -> Sequence[Answer]:
        self.asked.append((operation, tuple(users)))
        self.ranks.append(rank)
        if self.gate is not None and self.holds in {None, operation}:
            await self.gate.wait()
        answers = self.script(operation, users)
        if answers is None:
            answers = [Outcome(user, Status.DONE, wa_id=user) for user in users]
        ok = {user for user, each in zip(users, answers, strict=True) if is_done(each)}
        self.blocked = self.blocked | ok if operation is Operation.BLOCK else self.blocked - ok
        return answers


def is_done(answer: Answer) -> bool:
    return isinstance(answer, Outcome) and answer.ok


def block(user: str, at: float, *, not_after: float | None = None) -> Intent:
    """Return the intent to block a denied sender who wrote at a moment."""
    return Intent(
        PHONE_NUMBER_ID,
        user,
        Operation.BLOCK,
        user,
        ids=(user,),
        entry=user,
        wrote_at=at,
        message=f"{user} at {at}",
        not_after=at + 86400 if not_after is None else not_after,
    )


def unblock(user: str, at: float, rank: Rank = Rank.SINGLE) -> Intent:
    return Intent(
        PHONE_NUMBER_ID, user, Operation.UNBLOCK, user, ids=(user,), wrote_at=at, rank=rank
    )


async def until(true: Callable[[], object | Awaitable[object]]) -> None:
    """Wait until something is true; fail after many seconds."""
    async with asyncio.timeout(30):
        while True:
            result = true()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.003)


async def pass_time(clock: Clock, store: Store, seconds: float) -> None:
    """Let time pass, and wake whoever waits for it."""
    clock.now += seconds
    await store.add([Entry("nobody", origin=f"at {clock.now}")])
    await store.remove(Filter(["nobody"]))


APP_SECRET = "0123456789abcdef0123456789abcdef"


def signed(body: bytes, secret: str = APP_SECRET) -> str:
    """Return the header with which Meta signs a webhook."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def webhook_of(
    *senders: str,
    phone_number_id: str = PHONE_NUMBER_ID,
    at: float = 1_790_000_000,
    message_id: str = "wamid.1",
    user_id: str | None = None,
) -> bytes:
    """Return the body of a webhook in which *senders* write."""
    contacts = [{"wa_id": each, "profile": {"name": "Anna"}} for each in senders]
    messages = [
        {"from": each, "id": message_id, "timestamp": str(int(at)), "type": "text"}
        for each in senders
    ]
    for row in contacts if user_id else ():
        row["user_id"] = user_id
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": phone_number_id},
        "contacts": contacts,
        "messages": messages,
    }
    change = {"field": "messages", "value": value}
    entry = {"id": "1", "changes": [change]}
    return orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]})
