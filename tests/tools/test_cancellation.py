"""Ending what other tasks are doing without cancelling them."""

from __future__ import annotations

import asyncio

import pytest

from blockusers._tools.cancellation import Scopes


async def test_close() -> None:
    """Closing leaves all open blocks early, without an error; their tasks go on."""
    scopes, went_on = Scopes(), []

    async def wait(name: int) -> None:
        async with scopes.until_closed():
            await asyncio.sleep(3600)
        went_on.append(name)

    tasks = [asyncio.create_task(wait(name)) for name in range(3)]
    await asyncio.sleep(0)
    scopes.close()
    scopes.close()  # a second time changes nothing
    await asyncio.gather(*tasks)

    assert sorted(went_on) == [0, 1, 2]


async def test_other_errors_pass() -> None:
    """What the block raises by itself leaves it, a timeout of its own among it."""
    scopes = Scopes()
    with pytest.raises(TimeoutError, match="my own"):
        async with scopes.until_closed():
            raise TimeoutError("my own")
