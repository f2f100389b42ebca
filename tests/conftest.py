"""Fixtures for all tests."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from importlib.metadata import version
from inspect import signature
from types import SimpleNamespace
from typing import Any

import aiohttp
import aioresponses.core
import hypothesis
import pytest

from tests.support import Clock

pytest_plugins = ["pytester", "tests.redis_server"]


class _Response(aiohttp.ClientResponse):
    """Lets aioresponses 0.7.9 build responses of aiohttp 3.14, which wants one argument more.

    https://github.com/pnuckowski/aioresponses/issues/289: delete this when that is released.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "stream_writer" in signature(aiohttp.ClientResponse).parameters:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


aioresponses.core.ClientResponse = _Response

# The same few examples in each run, however slow the machine; `nox -s explore` looks for new ones.
hypothesis.settings.register_profile(
    "same", max_examples=50, derandomize=True, database=None, deadline=None
)
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


def pytest_collection_finish() -> None:
    # Collecting garbage as often as by default, among all that is loaded, is a quarter of the time.
    gc.freeze()
    gc.set_threshold(50_000, 50)


def pytest_report_header() -> str:
    names = ("aiohttp", "attrs", "cattrs", "orjson", "tenacity")
    return ", ".join(f"{name} {version(name)}" for name in names)
