"""Blocking and unblocking from the shell: what is done, said, and returned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from blockusers.sandbox import SANDBOX_TOKEN, glitches

if TYPE_CHECKING:
    from blockusers.sandbox import Sandbox

ANN, BEN = "+16505550001", "+447911123456"


def test_blocks_and_unblocks(command: Any, sandbox: Sandbox) -> None:
    """Users are arguments; the exit code is 0 when all are done."""
    assert command("block", ANN, BEN).code == 0
    assert {ANN[1:], BEN[1:]} == sandbox.blocklist()
    assert command("unblock", ANN).code == 0
    assert {BEN[1:]} == sandbox.blocklist()


def test_takes_users_from_arguments_and_a_file(command: Any, sandbox: Sandbox) -> None:
    """Both at once are one job; a dash is stdin."""
    ran = command("block", ANN, "--file", "-", stdin=f"{BEN}\n+1 650 555-0001\n")

    assert {ANN[1:], BEN[1:]} == sandbox.blocklist()
    assert "3 inputs = 1 repeat + 2 users" in ran.stderr
    assert "blocked 2 of 2 users" in ran.stderr


def test_doubts_a_number_of_ten_digits(command: Any) -> None:
    """It may lack its country code; it is blocked all the same, for it may be whole."""
    ran = command("block", "6505550001", "6505550002", ANN)

    assert ran.code == 0
    assert "2 numbers have only 10 digits: is the country code missing?" in ran.stderr


def test_takes_several_files(command: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """Each is read, whatever its format."""
    first, second = tmp_path / "a.csv", tmp_path / "b.jsonl"
    first.write_text(f"name;phone\nAnn;{ANN}\n")
    second.write_text(f'{{"phone": "{BEN}"}}\n')

    assert command("block", "-f", first, "-f", second, "-c", "phone").code == 0
    assert {ANN[1:], BEN[1:]} == sandbox.blocklist()


def test_an_excel_export(command: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """Umlauts of another encoding cost a line that says how to export; the rest is told apart."""
    path = tmp_path / "kunden.csv"
    table = f"Name;Telefon\r\nJürgen;4,91512E+12\r\nAnn;\r\nBen;{BEN}\r\n"
    path.write_bytes(table.encode("cp1252"))
    ran = command("block", "-f", path, "-c", "telefon")
    assert ran.code == 2
    assert f"{path}: line 2 is not UTF-8 (byte 0xfc); in Excel: Save as, CSV UTF-8" in ran.stderr

    path.write_text(table, encoding="utf-8-sig")
    ran = command("block", "-f", path, "-c", "telefon")
    assert ran.code == 1
    assert f"{path}, line 2: 4,91…12 looks like a spreadsheet's decimal number" in ran.stderr
    assert "1 empty cell skipped" in ran.stderr
    assert sandbox.blocklist() == {BEN[1:]}


def test_tells_what_it_takes_for_a_header(command: Any) -> None:
    """In case that it was somebody."""
    ran = command("block", "-f", "-", stdin=f"Phone number\n{ANN}\n")

    assert ran.code == 0
    assert "stdin, line 1: taken for a header: Phone number" in ran.stderr


def test_says_how_many_failed_and_why(command: Any) -> None:
    """Exit code 1, the counts, and a table of faults with what they mean and what to do."""
    ran = command("block", ANN, "+1650555131047", "0049 151 234567")

    assert ran.code == 1
    assert "blocked 1 of 3 users" in ran.stderr
    assert "1 done, 2 failed" in ran.stderr
    assert "131047" in ran.stderr
    assert "block them when they write" in ran.stderr
    assert "argument 3: 0049…67 starts with 00" in ran.stderr
    assert ran.stdout == ""


def test_names_the_lines_that_fail(command: Any, tmp_path: Path) -> None:
    """Both what cannot be read and what is rejected, each with its line; neither can succeed."""
    path = tmp_path / "a.csv"
    path.write_text(f"name,phone\nAnn,{ANN}\nCat\nBen,0049 151 234567\n")

    ran = command("block", "-f", path, "-c", "phone")

    assert f"{path}, line 3: has no column 2" in ran.stderr
    assert f"{path}, line 4: 0049…67 starts with 00" in ran.stderr
    assert "1 line could not be read" in ran.stderr
    assert ran.code == 1


def test_an_unread_line_is_not_success(command: Any, tmp_path: Path) -> None:
    """All users are done, but not all lines were users."""
    path = tmp_path / "a.csv"
    path.write_text(f"name,phone\nAnn,{ANN}\nCat\n")

    assert command("block", "-f", path, "-c", "phone").code == 1


def test_does_not_flood_the_screen(command: Any) -> None:
    """Of many bad lines the first are named, and the rest are counted."""
    ran = command("block", "-f", "-", stdin="".join(f"00{n}\n" for n in range(50)))

    assert "stdin, line 20: " in ran.stderr
    assert "stdin, line 21: " not in ran.stderr
    assert "… and 30 more like these" in ran.stderr


def test_sums_up_many_kinds_of_faults(command: Any) -> None:
    """The table stays short; its last row counts what is not shown."""
    ran = command("block", *(letter * 8 for letter in "abcdefghijklmn"), "bbbbbbbb1")

    assert ran.stderr.count(" input ") == 12
    assert "2 more kinds" in ran.stderr


def test_knows_a_code_only_by_the_servers_words(command: Any, sandbox: Sandbox) -> None:
    """A code that is in no table is shown with what the server says about it."""
    answer = {
        "messaging_product": "whatsapp",
        "block_users": {
            "failed_users": [{"input": ANN, "errors": [{"code": 99, "message": "No such luck"}]}]
        },
    }
    sandbox.glitch(glitches.answer(400, answer))

    assert "No such luck" in command("block", ANN).stderr


def test_nothing_to_do_is_success(command: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """An empty list is a list; it says which one was empty."""
    path = tmp_path / "a.csv"
    path.write_text("# nobody yet\n")
    ran = command("block", "-f", "-", "-f", path)

    assert ran.code == 0
    assert "stdin: no users in it" in ran.stderr
    assert f"{path}: no users in it" in ran.stderr
    assert "nothing to do" in ran.stderr
    assert sandbox.requests == ()


def test_json_on_stdout(command: Any) -> None:
    """The report as one object, in ASCII, with everybody in it; talk stays on stderr."""
    ran = command("block", "--json", ANN, ANN[1:], "+1650555131047", "\u0661\u0662\u0663")
    report = json.loads(ran.stdout)

    assert ran.stdout.isascii()
    assert report["counts"] == {"done": 1, "failed": 2, "unknown": 0, "remaining": 0}
    assert (report["inputs"], report["repeats"], report["requests"]) == (4, 1, 1)
    assert [o["input"] for o in report["outcomes"]] == [ANN, "+1650555131047", "\u0661\u0662\u0663"]
    assert "blocked 1 of 3 users" in ran.stderr


@pytest.mark.parametrize(
    "parts",
    [("+49", "151", "2345678"), ("0151", "2345678"), ("(650)", "555-1234", ANN)],
    ids=" ".join,
)
def test_a_number_without_quotes(command: Any, sandbox: Sandbox, parts: tuple[str, ...]) -> None:
    """Nobody is blocked where a part of a number may be somebody else's."""
    ran = command("block", *parts)

    assert ran.code == 2
    assert f"{parts[0]} " in ran.stderr
    assert 'needs quotes: "+49 151 2345678"' in ran.stderr
    assert not sandbox.requests


def test_tells_how_to_learn_who_failed(command: Any, tmp_path: Path) -> None:
    """The table counts; the output file names them."""
    hint = "--output FILE writes down who failed"

    assert hint in command("block", ANN, "+1650555131047").stderr
    assert hint not in command("block", ANN).stderr
    output = tmp_path / "out.csv"
    assert hint not in command("block", ANN, "+1650555131047", "--output", output).stderr


def test_quiet_tells_only_the_end(command: Any) -> None:
    """No line at all if all are done, else the sum."""
    assert command("block", "--quiet", ANN).stderr == ""
    ran = command("block", "--quiet", ANN, "anna", "--sandbox")

    assert ran.stderr.startswith("blocked 1 of 2 users")


def test_shows_a_bar_on_a_terminal(command: Any) -> None:
    """With control codes there, and nowhere else."""
    on_terminal = command("block", ANN, "+1650555131047", FORCE_COLOR="1", TERM="xterm").stderr

    assert "2 of 2" in on_terminal
    assert "1 failed" in on_terminal
    assert "\x1b[" in on_terminal
    assert "\x1b" not in command("block", ANN).stderr


def test_hides_numbers_and_tokens(command: Any) -> None:
    """Whatever happens, the screen shows no whole number and no token."""
    users = [ANN, BEN, "+1650555131047", "0049 151 23456789", "+1650555131031"]
    ran = command("block", *users, "--debug")

    assert ran.code == 3
    for secret in (SANDBOX_TOKEN, *users, *(user[1:] for user in users)):
        assert secret not in ran.stderr


@pytest.mark.parametrize("width", ["60", "200"])
def test_fits_a_narrow_terminal(command: Any, width: str) -> None:
    """On a terminal nothing is wider than that; in a pipe a line is a line."""
    users = ["0049 151 234567", "+1650555131047"]
    ran = command("block", *users, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm", COLUMNS=width)

    assert all(len(line) <= 60 for line in ran.stderr.splitlines() if "─" in line) or width == "200"
    assert (
        "argument 1: 0049…67 starts with 00, which is dialled, not sent; write + instead of 00"
        in (command("block", *users, COLUMNS=width).stderr.splitlines())
    )


# Ending early.


def test_ends_early_and_says_how_to_go_on(command: Any) -> None:
    """What ends a job is one line, and who is left can be handed in again."""
    ran = command("block", "+1650555131031", BEN)

    assert ran.code == 3
    assert "2 remaining" in ran.stderr
    assert "ended early: the business account is restricted or locked: see Business" in ran.stderr
    assert "fix it first, then run the same line again" in ran.stderr
    assert "With --output FILE" in ran.stderr


def test_an_early_end_is_in_the_output_too(command: Any, tmp_path: Path) -> None:
    """Each user stands there at least once, the last line of each is what counts."""
    path = tmp_path / "out.jsonl"
    ran = command("block", "+1650555131031", BEN, "-o", path, "--json")

    assert [json.loads(x)["status"] for x in path.read_text().splitlines()] == ["remaining"] * 2
    assert f"what is done in {path} is skipped" in ran.stderr
    error = json.loads(ran.stdout)["error"]
    assert (error["type"], error["code"]) == ("AccountRestricted", 131031)


def test_a_full_blocklist(command: Any, sandbox: Sandbox) -> None:
    """It says once what to do, and that this comes first."""
    sandbox.glitch(glitches.answer(400, {"error": {"code": 139101}}))
    ran = command("block", ANN, BEN)

    assert ran.code == 3
    assert (
        "ended early: the blocklist is full (64,000): 2 were not blocked; unblock somebody, then"
        " run the same line again\n"
    ) in ran.stderr
    assert "To go on" not in ran.stderr


def test_what_passes_by_itself_needs_no_fix(command: Any, sandbox: Sandbox) -> None:
    """The same line again is all that it takes."""
    sandbox.glitch(glitches.answer(429, {"error": {"code": 4}}, headers={"Retry-After": "9999"}))
    ran = command("block", ANN)

    assert ran.code == 3
    assert "To go on, run the same line again" in ran.stderr


def test_parameters_are_explained_by_meta(command: Any, sandbox: Sandbox) -> None:
    """Where our table has no advice."""
    row = {"input": ANN, "errors": [{"code": 100, "message": "Invalid", "error_data": "too odd"}]}
    sandbox.glitch(glitches.answer(400, {"block_users": {"failed_users": [row]}}))

    assert "wrong: too odd" in " ".join(command("block", ANN).stderr.split())


# Wrong usage.


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("block",), "name the users"),
        (("unblock", ANN, "--column", "phone"), "--column belongs to --file"),
        (("block", "--file", "nowhere.txt"), "nowhere.txt: no such file"),
    ],
)
def test_wrong_usage(command: Any, args: tuple[str, ...], message: str) -> None:
    """Exit code 2, and a message that says what to change."""
    ran = command(*args)

    assert ran.code == 2
    assert message in " ".join(ran.stderr.replace("│", " ").split())


def test_bytes_that_are_no_text_are_no_user(command: Any, tmp_path: Path) -> None:
    """A shell can hand over any bytes; they are rejected like any other nonsense."""
    path = tmp_path / "out.jsonl"

    assert command("block", "\udcff\udcfe", ANN, "-o", path).code == 1
    assert len(path.read_text().splitlines()) == 2


def test_rate_limits_are_told(command: Any) -> None:
    """Requests that were refused for the rate limit and sent again are counted."""
    ran = command("block", "+1650555130429")

    assert ran.code == 0
    assert "3 requests, 2 of them refused for the rate limit" in ran.stderr
