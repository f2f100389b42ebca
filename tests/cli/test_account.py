"""Whose blocklist it is: credentials, and the name of the host in errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blockusers.sandbox import SANDBOX_TOKEN

if TYPE_CHECKING:
    from blockusers.sandbox import Sandbox

ANN = "+16505550001"
HOST = "https://graph.example"


def test_says_what_to_set(bare: Any) -> None:
    """Without credentials it is a wrong usage, and there is a way to try it."""
    ran = bare("block", ANN)

    assert ran.code == 2
    assert "WHATSAPP_PHONE_NUMBER_ID and WHATSAPP_ACCESS_TOKEN" in ran.stderr
    assert "--sandbox" in ran.stderr


def test_a_sandbox_needs_none(bare: Any) -> None:
    """Anybody can try it."""
    assert bare("block", ANN, "--sandbox").code == 0


@pytest.mark.parametrize("before", [None, "another"])
def test_reads_the_token_from_a_file(
    command: Any, sandbox: Sandbox, tmp_path: Path, before: str | None
) -> None:
    """It goes before the environment's, and blanks around it do not count."""
    path = tmp_path / "token"
    path.write_text(f"  {SANDBOX_TOKEN}\n")

    assert command("block", ANN, "--token-file", path, WHATSAPP_ACCESS_TOKEN=before).code == 0
    assert f"Bearer {SANDBOX_TOKEN}" == sandbox.requests[0].headers["Authorization"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Bearer abc", "--token-file"),
        (b"\xff", "not text"),
        (b"", "is empty"),
        (None, "no such file"),
    ],
)
def test_a_bad_token_file_is_wrong_usage(
    command: Any, tmp_path: Path, content: bytes | None, message: str
) -> None:
    """The message says what is wrong, and not what stands there."""
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    ran = command("block", ANN, "--token-file", path)

    assert ran.code == 2
    assert message in ran.stderr
    assert "abc" not in ran.stderr


@pytest.mark.parametrize("option", ["--token", "--access-token"])
@pytest.mark.parametrize("verb", ["block", "list"])
def test_takes_no_token_as_an_argument(command: Any, option: str, verb: str) -> None:
    """It says why, and how to do it, and does not show the token once more."""
    ran = command(verb, option, "EAAsecret")
    words = " ".join(ran.stderr.replace("│", " ").split())

    assert ran.code == 2
    assert "process list" in words
    assert "--token-file" in words
    assert "EAAsecret" not in words


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_token_is_for_its_owner(command: Any, tmp_path: Path, mode: int, warned: bool) -> None:
    """If others can read the file, it says so, and goes on."""
    path = tmp_path / "token"
    path.write_text(SANDBOX_TOKEN)
    path.chmod(mode)
    ran = command("block", ANN, "--token-file", path)

    assert ran.code == 0
    assert (f"others can read {path}: chmod 600 {path}" in ran.stderr) is warned


def test_plain_http_is_refused_in_a_terminals_words(command: Any) -> None:
    """There is no `allow_http` to pass."""
    ran = command("list", WHATSAPP_BASE_URL="http://graph.example")

    assert ran.code == 2
    assert "WHATSAPP_BASE_URL: plain http would show the token to the network" in ran.stderr
    assert "allow_http" not in ran.stderr
