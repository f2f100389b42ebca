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


ASYNC_TEST = """
    import blockusers
    import pytest

    clients = []

    @pytest.mark.{mark}
    async def test_client(blockusers_client, blockusers_sandbox):
        report = await blockusers_client.block(["16505551234"])
        assert blockusers_sandbox.blocklist() == {{"16505551234"}}
        clients.append(blockusers_client)

    def test_it_is_closed():
        with pytest.raises(blockusers.ClientClosed):
            clients[0].blocked().__anext__().send(None)
"""


@pytest.mark.parametrize(
    ("mark", "options"),
    [
        ("asyncio", ["-o", "asyncio_mode=strict"]),
        ("anyio", ["-p", "no:asyncio"]),
        ("anyio", ["-o", "asyncio_mode=strict"]),
    ],
    ids=["strict", "anyio", "anyio beside asyncio"],
)
def test_the_client_in_every_mode(pytester: pytest.Pytester, mark: str, options: list[str]) -> None:
    """Whatever runs the async tests of a program also opens and closes the client.

    Our own tests run in the automatic mode of pytest-asyncio.
    """
    pytester.makepyfile(ASYNC_TEST.format(mark=mark))
    pytester.makeconftest(
        "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'"
    )

    pytester.runpytest_subprocess("-p", "no:cacheprovider", *options).assert_outcomes(passed=2)


def test_the_client_without_a_plugin_for_async_tests(pytester: pytest.Pytester) -> None:
    """Nobody can open a client without a plugin that runs async fixtures; pytest says so."""
    pytester.makepyfile("def test_client(blockusers_client):\n    pass")
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "-p", "no:anyio")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*requested an async fixture 'blockusers_client'*")


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
