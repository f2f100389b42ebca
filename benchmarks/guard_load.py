"""Signed webhooks, and a load of them at a fixed rate."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import aiohttp
import orjson

from benchmarks.guard_service import APP_SECRET


class Latencies(NamedTuple):
    """How long the answers took, in milliseconds."""

    median: float
    p99: float
    longest: float
    answered: int
    """How many webhooks were answered with 200."""


def webhook(phone_number_id: str, sender: str, number: int) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a webhook in which *sender* writes."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": phone_number_id},
        "contacts": [{"wa_id": sender, "profile": {"name": "Somebody"}}],
        "messages": [
            {
                "from": sender,
                "id": f"wamid.{number}",
                "timestamp": str(int(time.time())),
                "type": "text",
                "text": {"body": "Hello, is this still available? " * 4},
            }
        ],
    }
    entry = {"id": "1", "changes": [{"field": "messages", "value": value}]}
    return signed(orjson.dumps({"object": "whatsapp_business_account", "entry": [entry]}))


def signed(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Return body and headers, as Meta would sign it."""
    digest = hmac.new(APP_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
    return body, headers


async def post_all(
    url: str, webhooks: Sequence[tuple[bytes, dict[str, str]]], rate: float
) -> Latencies:
    """Post webhooks at so many a second, whether answers come or not."""
    took: list[float] = []
    answered = 0

    async def post(session: aiohttp.ClientSession, due: float, index: int) -> None:
        nonlocal answered
        body, headers = webhooks[index]
        async with session.post(url, data=body, headers=headers) as response:
            await response.read()
            answered += response.status == 200
        took.append(time.perf_counter() - due)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for index in range(len(webhooks)):
            due = began + index / rate
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(post(session, due, index))
    return latencies(took, answered)


def latencies(seconds: Iterable[float], answered: int) -> Latencies:
    """Return the quantiles of some times."""
    ordered = sorted(each * 1000 for each in seconds)
    at = len(ordered)
    return Latencies(ordered[at // 2], ordered[at * 99 // 100], ordered[-1], answered)
