"""Fixtures for the tests of programs that use blockusers.

pytest loads this for every run on a machine where blockusers is installed, so it imports nothing
before a fixture is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blockusers import Account
    from blockusers.sandbox.rules import Rules
    from blockusers.sandbox.server import Sandbox


@pytest.fixture
def blockusers_rules() -> Rules:
    """Give the rules of the sandbox; override it to change them. Anybody can be blocked."""
    from blockusers.sandbox.rules import Rules  # noqa: PLC0415  # see above

    return Rules(window=None)


@pytest.fixture
def blockusers_sandbox(blockusers_rules: Rules) -> Iterator[Sandbox]:
    """Give a running sandbox of its own to each test."""
    from blockusers.sandbox.server import Sandbox  # noqa: PLC0415  # see above

    with Sandbox(blockusers_rules) as sandbox:
        yield sandbox


@pytest.fixture
def blockusers_account(blockusers_sandbox: Sandbox) -> Account:
    """Give the account that reaches the sandbox."""
    from blockusers import Account  # noqa: PLC0415  # see above

    return Account(**blockusers_sandbox.credentials)
