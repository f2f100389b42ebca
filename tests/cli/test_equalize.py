"""`blockusers sync`: shows what there is to do, asks, and does it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import typer

from blockusers import Account
from blockusers.cli import equalize
from blockusers.cli.screen import Screen
from blockusers.sandbox import Sandbox, glitches
from tests.support import numbers

KEPT = [name[1:] for name in numbers(19)]


@pytest.fixture
def file(tmp_path: Path, sandbox: Sandbox) -> Path:
    """A file that lacks one of the twenty who are blocked, and names somebody new."""
    sandbox.block(*numbers(20))
    path = tmp_path / "wanted.txt"
    path.write_text("\n".join([*numbers(19), "+16505550001"]))
    return path


def test_dry_run(command: Any, sandbox: Sandbox, file: Path) -> None:
    """Who would be added and removed is on stdout, the counts on stderr; nothing is changed."""
    ran = command("sync", file, "--dry-run")

    assert ran.code == 0
    assert ran.lines == [f"remove {numbers(20)[19][1:]}", "add +16505550001"]
    assert "1 to add, 1 to remove, 19 already right" in ran.stderr
    assert len(sandbox.blocklist()) == 20


def test_without_a_question(command: Any, sandbox: Sandbox, file: Path) -> None:
    """With --yes it is done, and said; to run it again does nothing."""
    ran = command("sync", file, "--yes")
    assert ran.code == 0
    assert "1 added, 1 removed, 19 already right" in ran.stderr
    assert sandbox.blocklist() == {*KEPT, "16505550001"}

    again = command("sync", file)
    assert (again.code, again.stdout) == (0, "")


def test_nobody_to_ask(command: Any, sandbox: Sandbox, file: Path) -> None:
    """Where no terminal is, it does nothing unless told so."""
    ran = command("sync", file)

    assert ran.code == 2
    assert "--yes" in ran.stderr
    assert len(sandbox.blocklist()) == 20


@pytest.mark.parametrize("answer", [True, False])
def test_asks(
    command: Any, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch, answer: bool
) -> None:
    """On a terminal it asks, and says what a removal means."""
    monkeypatch.setattr(equalize, "somebody_is_there", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: answer)
    ran = command("sync", file)

    assert ran.code == (0 if answer else 1)
    assert "only after writing to you" in ran.stderr
    assert ("16505550001" in sandbox.blocklist()) is answer


def test_does_what_was_confirmed(
    command: Any, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who comes onto the list while the question is open is not removed: nobody was asked."""

    def confirm(*_: object, **__: object) -> bool:
        sandbox.unblock(numbers(20)[19])
        sandbox.block("16505550009")
        return True

    monkeypatch.setattr(equalize, "somebody_is_there", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)

    assert command("sync", file).code == 0
    assert {"16505550001", "16505550009"} <= sandbox.blocklist()


def test_adding_alone_warns_of_nothing(
    command: Any, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody is removed, there is nothing to warn of."""
    monkeypatch.setattr(equalize, "somebody_is_there", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: True)
    path = tmp_path / "wanted.txt"
    path.write_text("+16505550001")
    ran = command("sync", path)

    assert ran.code == 0
    assert "only after" not in ran.stderr
    assert sandbox.blocklist() == {"16505550001"}


def test_too_many_removals(command: Any, sandbox: Sandbox, file: Path) -> None:
    """Without a question it says how many it would be, and what to pass if that is right."""
    file.write_text(numbers(1)[0])
    ran = command("sync", file, "--yes")

    assert ran.code == 3
    assert len(ran.lines) == 19
    assert "19 of 20 blocked users would be unblocked" in ran.stderr
    assert ran.stderr.count("--max-removals 19") == 1
    assert len(sandbox.blocklist()) == 20
    assert command("sync", file, "--yes", "--max-removals", "19").code == 0
    assert len(sandbox.blocklist()) == 1


def test_a_dry_run_shows_all_removals(command: Any, sandbox: Sandbox, file: Path) -> None:
    """A dry run shows the plan, however many removals it takes, and what would permit them."""
    file.write_text(numbers(1)[0])
    ran = command("sync", file, "--dry-run")

    assert ran.code == 0
    assert len(ran.lines) == 19
    assert "more than the 2 removals that are permitted; " in ran.stderr
    assert "pass --max-removals 19" in ran.stderr
    assert len(sandbox.blocklist()) == 20


def test_the_question_is_the_permission(
    command: Any, sandbox: Sandbox, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal whoever confirms permits the removals, unless they set a limit themselves."""
    monkeypatch.setattr(equalize, "somebody_is_there", lambda: True)
    monkeypatch.setattr(typer, "confirm", lambda *_, **__: True)
    file.write_text(numbers(1)[0])

    assert command("sync", file, "--max-removals", "18").code == 3
    assert len(sandbox.blocklist()) == 20

    ran = command("sync", file)
    assert ran.code == 0
    assert "19 of 20 blocked users will be unblocked" in ran.stderr
    assert len(sandbox.blocklist()) == 1


def test_ends_early(command: Any, sandbox: Sandbox, file: Path) -> None:
    """When it ends early it says who is removed and added by then, and how to go on."""
    sandbox.glitch(glitches.answer(401, {"error": {"code": 190}}), method="POST")
    ran = command("sync", file, "--yes")

    assert ran.code == 3
    assert "0 added, 1 removed, 19 already right, 1 remaining" in ran.stderr
    assert "sync again" in ran.stderr
    assert command("sync", file, "--yes").code == 0
    assert sandbox.blocklist() == {*KEPT, "16505550001"}


def test_ends_early_after_some_failed(command: Any, sandbox: Sandbox, file: Path) -> None:
    """When it ends early, who has failed until then is explained as well."""
    failing = numbers(20)[19]
    row = {"input": failing, "wa_id": failing[1:], "errors": [{"code": 131021, "message": "no"}]}
    sandbox.glitch(
        glitches.answer(400, {"block_users": {"removed_users": [], "failed_users": [row]}}),
        method="DELETE",
    )
    sandbox.glitch(glitches.answer(401, {"error": {"code": 190}}), method="POST")
    ran = command("sync", file, "--yes")

    assert ran.code == 3
    assert "131021" in ran.stderr


async def test_interrupted(
    environment: dict[str, str],
    sandbox: Sandbox,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C in between does not hide how many were removed."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sandbox.block(*numbers(20))
    sandbox.glitch(glitches.hang_before(), method="POST")
    work = asyncio.ensure_future(
        equalize.equalize(
            Account.from_env(),
            [*numbers(19), "+16505550001"],
            Screen(),
            region=None,
            dry_run=False,
            max_removals=None,
            yes=True,
        )
    )
    while not any(request.method == "POST" for request in sandbox.requests):
        await asyncio.sleep(0.005)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert "0 added, 1 removed, and perhaps" in capsys.readouterr().err


def test_what_cannot_be_read(command: Any, sandbox: Sandbox, file: Path) -> None:
    """A file that names nobody, or has lines that cannot be read, changes nothing."""
    file.write_text("anna")
    nobody = command("sync", file, "--yes")
    broken = file.with_suffix(".jsonl")
    broken.write_text('{"phone": "+16505550001"}\n{"phone":')
    mangled = command("sync", broken, "--column", "phone", "--yes")

    assert (nobody.code, mangled.code) == (2, 2)
    assert "names nobody" in nobody.stderr
    assert "mend these lines first" in mangled.stderr
    assert len(sandbox.blocklist()) == 20


def test_what_fails(command: Any, file: Path) -> None:
    """Who cannot be added is explained; a rejected line is no success either."""
    file.write_text("\n".join([*numbers(20), "+1650555131047"]))
    failed = command("sync", file, "--yes")
    assert failed.code == 1
    assert "131047" in failed.stderr

    file.write_text("\n".join([*numbers(20), "0151 1234567"]))
    rejected = command("sync", file, "--yes")
    assert rejected.code == 1
    assert "rejected: 0151" in rejected.stderr


def test_a_rejected_line_forbids_removals(command: Any, sandbox: Sandbox, file: Path) -> None:
    """While a line is rejected nobody is removed, and the summary says why; others are added."""
    file.write_text("\n".join([*numbers(10), "+16505550001", "0151 1234567"]))
    ran = command("sync", file, "--yes", "--max-removals", "20")

    assert ran.code == 1
    assert ran.lines == ["add +16505550001"]
    assert "1 added, 0 removed, 20 kept, 1 rejected: nobody is removed until" in ran.stderr
    assert len(sandbox.blocklist()) == 21


def test_national_spellings(command: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """With a region, a national spelling keeps on the list whom it names."""
    sandbox.block("5511912345678")
    file = tmp_path / "wanted.txt"
    file.write_text("(11) 91234-5678\n")

    assert command("sync", file, "--region", "BR", "--yes").code == 0
    assert sandbox.blocklist() == {"5511912345678"}
