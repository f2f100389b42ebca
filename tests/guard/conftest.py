"""A store on a clock of its own, for the tests of the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from blockusers.guard.stores.protocol import Store
from blockusers.guard.stores.redis import RedisStore
from blockusers.guard.stores.sqlite import SqliteStore
from tests.support import Clock

Make = Callable[[], Store]


@pytest.fixture(params=["sqlite", "redis"])
def make(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Make:
    """Make stores that share what they keep; each kind of store has its own way."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda: RedisStore(url, clock=clock)
    return lambda: SqliteStore(tmp_path / "deny.db", clock=clock)


@pytest.fixture
async def store(make: Make) -> AsyncIterator[Store]:
    """An open store."""
    async with make() as store:
        yield store
