"""A store on a clock of its own, for the tests of the guard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blockusers.guard.stores.sqlite import SqliteStore
from tests.support import Clock


@pytest.fixture
def clock() -> Clock:
    """Time that the test lets pass; it begins at a moment of 2026."""
    return Clock(1_790_000_000.0)


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    """An open store."""
    async with SqliteStore(tmp_path / "deny.db", clock=clock) as store:
        yield store
