"""Fixtures for all tests."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from importlib.metadata import version

import hypothesis
import pytest

from tests.support import Clock

pytest_plugins = ["pytester"]


# The same examples in each run, however slow the machine; `nox -s explore` looks for new ones.
hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("explore", max_examples=3000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("TEST_PROFILE", "same"))


if os.environ.get("TEST_LOOP") == "uvloop":  # `nox -s uvloop`
    import uvloop

    def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
        return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pytest_configure() -> None:
    # A shell lets what it starts in the background ignore Ctrl-C, and children inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    names = ("aiohttp", "attrs", "cattrs", "orjson", "tenacity")
    return ", ".join(f"{name} {version(name)}" for name in names)
