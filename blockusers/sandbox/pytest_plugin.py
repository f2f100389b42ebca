"""The pytest plugin: fixtures for the tests of programs that use blockusers.

pytest loads this for every run on a machine where blockusers is installed, so it imports nothing
before a fixture is asked for.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from blockusers import Account, Client
    from blockusers.sandbox.rules import Rules
    from blockusers.sandbox.server import Sandbox


@pytest.fixture
def blockusers_rules() -> Rules:
    """Return the rules of the sandbox; override it to change them. Anybody can be blocked."""
    from blockusers.sandbox.rules import Rules  # noqa: PLC0415  # see above

    return Rules(window=None)


@pytest.fixture
def blockusers_sandbox(blockusers_rules: Rules) -> Iterator[Sandbox]:
    """Run a sandbox for one test."""
    from blockusers.sandbox.server import Sandbox  # noqa: PLC0415  # see above

    with Sandbox(blockusers_rules) as sandbox:
        yield sandbox


@pytest.fixture
def blockusers_account(blockusers_sandbox: Sandbox) -> Account:
    """Return the account that reaches the sandbox."""
    from blockusers import Account  # noqa: PLC0415  # see above

    return Account(**blockusers_sandbox.credentials)


@pytest.fixture
def blockusers_env(blockusers_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the environment variables that `Account.from_env()` reads to reach the sandbox."""
    for name in ("APP_SECRET", "API_VERSION"):
        monkeypatch.delenv(f"WHATSAPP_{name}", raising=False)
    for name, value in blockusers_sandbox.credentials.items():
        monkeypatch.setenv(f"WHATSAPP_{name.upper()}", str(value))


async def blockusers_client(blockusers_account: Account) -> AsyncIterator[Client]:
    """Open a client of the sandbox, and close it after the test."""
    from blockusers import Client  # noqa: PLC0415  # see above

    async with Client(blockusers_account) as client:
        yield client


def pytest_configure(config: pytest.Config) -> None:
    """Make `blockusers_client` a fixture: of pytest-asyncio, if that is loaded.

    In its strict mode, pytest-asyncio takes only fixtures made by itself. Without it a fixture
    of pytest's own will do, for which AnyIO's plugin looks, and pytest says what is missing.
    """
    maker = sys.modules.get("pytest_asyncio", pytest)
    fixtures = ModuleType("blockusers_async_fixtures")
    fixtures.blockusers_client = maker.fixture(blockusers_client)  # type: ignore[attr-defined]
    config.pluginmanager.register(fixtures, fixtures.__name__)
