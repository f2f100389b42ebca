"""Fixtures for the tests of the sandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from blockusers.sandbox import Rules, Sandbox
from tests.sandbox.support import Api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support import Clock


@pytest.fixture
def serve(clock: Clock) -> Iterator[Callable[..., Api]]:
    """Start sandboxes with given rules, and stop them all at the end; no window by default."""
    started: list[Sandbox] = []

    def start(**rules: Any) -> Api:
        sandbox = Sandbox(Rules(**{"window": None, **rules}), clock=clock)
        sandbox.start()
        started.append(sandbox)
        return Api(sandbox)

    yield start
    for sandbox in started:
        sandbox.stop()


@pytest.fixture
def api(serve: Callable[..., Api]) -> Api:
    return serve()
