"""Runs commands in this process, against a real sandbox over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import attrs
import pytest
from typer.testing import CliRunner

from blockusers.cli.app import app
from blockusers.sandbox import Rules, Sandbox

VARIABLES = ("PHONE_NUMBER_ID", "ACCESS_TOKEN", "APP_SECRET", "API_VERSION", "BASE_URL")


@attrs.frozen
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Command(Protocol):
    def __call__(self, *args: object, stdin: str | bytes = "", **env: str | None) -> Ran: ...


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command without any credentials."""
    for name in ("BLOCKUSERS_DEBUG", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*args: object, stdin: str | bytes = "", **env: str | None) -> Ran:
        none = dict.fromkeys((f"WHATSAPP_{name}" for name in VARIABLES), None)
        settings = {**none, "COLUMNS": "80", **env}
        result = CliRunner().invoke(app, [str(arg) for arg in args], input=stdin, env=settings)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def start_sandbox() -> Iterator[Callable[..., Sandbox]]:
    """Start sandboxes by rules."""
    running = list[Sandbox]()

    def start(**rules: Any) -> Sandbox:
        sandbox = Sandbox(Rules(**{"window": None, **rules}))
        sandbox.start()
        running.append(sandbox)
        return sandbox

    yield start
    for sandbox in running:
        sandbox.stop()


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox]) -> Sandbox:
    return start_sandbox()


@pytest.fixture
def environment(sandbox: Sandbox) -> dict[str, str]:
    return environment_of(sandbox)


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    credentials = sandbox.credentials
    return {
        "WHATSAPP_PHONE_NUMBER_ID": credentials["phone_number_id"],
        "WHATSAPP_ACCESS_TOKEN": credentials["access_token"],
        "WHATSAPP_BASE_URL": credentials["base_url"],
    }


@pytest.fixture
def command(bare: Command, environment: dict[str, str]) -> Command:
    """Run a command with the credentials of the sandbox."""

    def run(*args: object, stdin: str | bytes = "", **env: str | None) -> Ran:
        return bare(*args, stdin=stdin, **{**environment, **env})

    return run
