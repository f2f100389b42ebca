"""The fixtures, as the tests of somebody else use them."""

from __future__ import annotations

import pytest

import blockusers
from blockusers.sandbox import Rules, Sandbox


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


async def test_a_client_is_at_hand(
    blockusers_client: blockusers.Client, blockusers_sandbox: Sandbox
) -> None:
    """It is open, and reaches the sandbox of the same test."""
    assert (await blockusers_client.block_one("+16505551234")).ok
    assert blockusers_sandbox.blocklist() == {"16505551234"}


@pytest.mark.usefixtures("blockusers_env")
def test_the_environment_is_at_hand(blockusers_account: blockusers.Account) -> None:
    """What reads its account from the environment reaches the sandbox, too."""
    assert blockusers.Account.from_env() == blockusers_account


def test_the_environment_is_only_the_sandboxes(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Variables of the machine do not get in its way."""
    for name in ("PHONE_NUMBER_ID", "ACCESS_TOKEN", "APP_SECRET", "API_VERSION", "BASE_URL"):
        monkeypatch.setenv(f"WHATSAPP_{name}", "wrong")
    request.getfixturevalue("blockusers_env")

    account = request.getfixturevalue("blockusers_account")
    assert blockusers.Account.from_env() == account


class TestOverriddenRules:
    """A fixture of the same name changes the sandbox."""

    @pytest.fixture
    def blockusers_rules(self) -> Rules:
        return Rules(capacity=7, app_secret="secret")

    def test_rules(
        self, blockusers_sandbox: Sandbox, blockusers_account: blockusers.Account
    ) -> None:
        """The account knows what has changed for it."""
        assert blockusers_sandbox.rules.capacity == 7
        assert blockusers_account.app_secret == "secret"


@pytest.mark.parametrize("time", [1, 2])
def test_every_test_gets_a_fresh_sandbox(blockusers_sandbox: Sandbox, time: int) -> None:
    """What one test blocks is unknown to the next."""
    assert not blockusers_sandbox.blocklist()
    blockusers_sandbox.block("16505551234")


ASYNC_TEST = """
    import blockusers
    import pytest

    clients = []

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.{mark}
    async def test_client(blockusers_client, blockusers_sandbox):
        report = await blockusers_client.block(["16505551234"])
        assert blockusers_sandbox.blocklist() == {{"16505551234"}}
        clients.append(blockusers_client)

    def test_it_is_closed():
        with pytest.raises(blockusers.ClientClosed):
            clients[0].blocked().__anext__().send(None)
"""


def test_the_client_in_strict_mode(pytester: pytest.Pytester) -> None:
    """Whatever runs the async tests of a program also opens and closes the client.

    Our own tests run in the automatic mode of pytest-asyncio.
    """
    pytester.makepyfile(
        test_asyncio=ASYNC_TEST.format(mark="asyncio"), test_anyio=ASYNC_TEST.format(mark="anyio")
    )
    settings = ("asyncio_mode=strict", "asyncio_default_fixture_loop_scope=function")
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", *(f"--override-ini={each}" for each in settings)
    )

    result.assert_outcomes(passed=4)


def test_the_client_without_pytest_asyncio(pytester: pytest.Pytester) -> None:
    """AnyIO's plugin opens the client as well; what has no plugin is told so by pytest."""
    pytester.makepyfile(
        test_anyio=ASYNC_TEST.format(mark="anyio"),
        test_plain="def test_client(blockusers_client):\n    pass",
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines("*requested an async fixture 'blockusers_client'*")
