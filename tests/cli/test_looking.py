"""Listing who is blocked, and checking how users are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from blockusers.sandbox import Sandbox

ANN, BEN = "+16505550001", "US.13491208655302741918"


def test_lists_one_user_per_line(command: Any, sandbox: Sandbox) -> None:
    """Ids on stdout, whole, the count on stderr."""
    sandbox.block(ANN, BEN)
    ran = command("list")

    assert ran.code == 0
    assert ran.lines == [ANN[1:], BEN]
    assert ran.stderr == "2 users blocked\n"


def test_says_how_far_it_is(at_terminal: Any, command: Any, sandbox: Sandbox) -> None:
    """On a terminal, unless the list itself goes there; nowhere else."""
    sandbox.block(ANN)
    for args in (("list",), ("check", "--listed", ANN)):
        ran = at_terminal(*args)
        assert "reading the blocklist: " in ran.stderr
        assert ANN[1:] in ran.stdout
        assert "reading" not in ran.stdout + command(*args).stderr
    assert "reading" not in at_terminal("list", whole=True).stderr


def test_lists_json_lines(command: Any, sandbox: Sandbox) -> None:
    """All that is known about each user."""
    sandbox.block(ANN, BEN)
    nobody = {"wa_id": None, "user_id": None, "parent_user_id": None}

    assert list(map(json.loads, command("list", "--json").lines)) == [
        {**nobody, "wa_id": ANN[1:]},
        {**nobody, "user_id": BEN},
    ]


def test_lists_quietly(command: Any, bare: Any) -> None:
    """An empty list is no output; an embedded sandbox has one."""
    ran = command("list", "--quiet")

    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")
    assert "0 users blocked" in bare("list", "--sandbox").stderr


def test_a_list_that_ends_early_is_no_success(command: Any) -> None:
    """It could be taken for the whole list."""
    ran = command("list", WHATSAPP_ACCESS_TOKEN="another")

    assert ran.code == 3
    assert ran.stderr.startswith("blockusers: the access token is invalid or expired: create one")
    assert "Traceback" not in ran.stderr


def test_what_is_listed_can_be_unblocked(command: Any, sandbox: Sandbox) -> None:
    """The one command's data is the other's input."""
    sandbox.block(ANN, BEN)

    assert command("unblock", "--file", "-", stdin=command("list").stdout).code == 0
    assert sandbox.blocklist() == frozenset()


def test_checks_how_users_are_read(bare: Any) -> None:
    """Each on a line: what it is read as, or why it is rejected; the sum is told."""
    ran = bare("check", "+1 (650) 555-0001", BEN, "0049 151 234567")

    assert ran.code == 1
    why = "starts with 00, which is dialled, not sent; write + instead of 00"
    assert ran.lines == [
        "+1 (650) 555-0001: phone number +16505550001",
        f"{BEN}: BSUID {BEN}",
        f"0049 151 234567: rejected: {why}",
    ]
    assert ran.stderr == "3 inputs: 1 phone number, 1 BSUID, 1 rejected\n"


def test_checks_files_too(bare: Any, tmp_path: Path) -> None:
    """All fine is exit code 0, and a line that cannot be read is not."""
    path = tmp_path / "a.jsonl"
    path.write_text('16505550001\n{"a"\n""\n')
    ran = bare("check", "--file", path)

    assert ran.code == 1
    assert ran.lines == [f"{path}, line 1: 16505550001: phone number 16505550001"]
    assert f"{path}, line 2: broken JSON" in ran.stderr
    assert "1 empty cell skipped, 1 line could not be read" in ran.stderr
    assert bare("check", ANN).code == 0


def test_doubts_ten_bare_digits(bare: Any) -> None:
    """They look whole, and may lack the country code."""
    assert "; only 10 digits: is the country code missing?" in bare("check", "6505550001").stdout
    assert "country code" not in bare("check", "+6505550001").stdout


def test_checks_who_is_blocked(command: Any, sandbox: Sandbox) -> None:
    """With --listed the blocklist is looked up, too."""
    sandbox.block(ANN)
    ran = command("check", "--listed", "+1 650 555 0001", BEN, "0151 234567")

    assert ran.code == 1
    assert ran.lines[:2] == [
        f"+1 650 555 0001: phone number {ANN}, blocked",
        f"{BEN}: BSUID {BEN}, not blocked",
    ]
    assert "rejected" in ran.lines[2]
    assert "1 rejected, 1 blocked" in ran.stderr
    assert command("check", ANN).lines == [f"{ANN}: phone number {ANN}"]


def test_checks_national_spellings(command: Any, sandbox: Sandbox) -> None:
    """With a region they are read, and found on the list."""
    sandbox.block("5511912345678")
    ran = command("check", "--listed", "--region", "BR", "(11) 91234-5678", "91234-5678")

    assert ran.code == 1
    assert ran.lines[0] == "(11) 91234-5678: phone number +5511912345678, blocked"
    assert ran.lines[1].startswith("91234-5678: rejected: is no possible number, neither in BR")


def test_no_such_region(command: Any) -> None:
    """The usage error says what a region looks like."""
    ran = command("check", "--region", "Brazil", ANN)

    assert ran.code == 2
    assert "must be the two letters of a country" in ran.stderr


def test_checks_in_json_lines(command: Any, sandbox: Sandbox) -> None:
    """Each input with where it stands, how it is read, and whether it is blocked."""
    sandbox.block(ANN)
    ran = command("check", "--json", "--listed", "-f", "-", stdin=f"{ANN}\n6505550001\n00\n")

    assert [json.loads(line) for line in ran.lines] == [
        {
            "where": "stdin, line 1",
            "input": ANN,
            "user": ANN,
            "blocked": True,
            "kind": "phone number",
            "note": None,
        },
        {
            "where": "stdin, line 2",
            "input": "6505550001",
            "user": "6505550001",
            "blocked": False,
            "kind": "phone number",
            "note": "only 10 digits: is the country code missing?",
        },
        {
            "where": "stdin, line 3",
            "input": "00",
            "user": None,
            "blocked": None,
            "kind": "rejected",
            "note": "starts with 00, which is dialled, not sent; write + instead of 00",
        },
    ]


def test_checks_quietly(bare: Any) -> None:
    """The data is there, the talk is not."""
    ran = bare("check", "--quiet", ANN, "00")

    assert len(ran.lines) == 2
    assert ran.stderr == ""


def test_checks_nothing_raw(bare: Any) -> None:
    """What would do something to a terminal is shown as what it is, and on one line."""
    ran = bare("check", "\x1b]0;owned\x07", "a\nb", "\u202a+1 650 555 0001")

    assert len(ran.lines) == 3
    assert "\x1b" not in ran.stdout
    assert ran.lines[0].startswith("\\x1b]0;owned\\x07: rejected")
    assert ran.lines[2] == "\\u202a+1 650 555 0001: phone number +16505550001"
