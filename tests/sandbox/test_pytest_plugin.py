"""The fixtures, as the tests of somebody else use them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import blockusers
from blockusers.sandbox import Rules, Sandbox

if TYPE_CHECKING:
    import pytest


def test_a_sandbox_is_at_hand(blockusers_sandbox: Sandbox) -> None:
    """It runs, and blocks anybody."""
    assert blockusers_sandbox.url.startswith("http://127.0.0.1:")
    assert Rules(window=None) == blockusers_sandbox.rules


def test_an_account_is_at_hand(
    blockusers_account: blockusers.Account, blockusers_sandbox: Sandbox
) -> None:
    """It reaches the sandbox of the same test."""
    assert blockusers_sandbox.url == blockusers_account.base_url
    assert blockusers_sandbox.rules.access_token == blockusers_account.access_token


def test_the_rules_can_be_overridden(pytester: pytest.Pytester) -> None:
    """A fixture of the same name changes the sandbox; every test gets a fresh one."""
    pytester.makepyfile(
        """
        import pytest
        from blockusers.sandbox import Rules

        @pytest.fixture
        def blockusers_rules():
            return Rules(capacity=7, app_secret="secret")

        def test_rules(blockusers_sandbox, blockusers_account):
            assert 7 == blockusers_sandbox.rules.capacity
            assert "secret" == blockusers_account.app_secret
            blockusers_sandbox.block("16505551234")

        @pytest.mark.parametrize("time", [1, 2])
        def test_fresh(blockusers_sandbox, time):
            assert not blockusers_sandbox.blocklist()
        """
    )

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)
