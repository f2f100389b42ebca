"""`blockusers sync`: shows what there is to do, asks, and does it."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from blockusers.sandbox import Sandbox, glitches
from tests.support import numbers

KEPT = [name[1:] for name in numbers(19)]
QUESTION = "Go on?"


@pytest.fixture
def file(tmp_path: Path, sandbox: Sandbox) -> Path:
    """A file that lacks one of the twenty who are blocked, and names somebody new."""
    sandbox.block(*numbers(20))
    path = tmp_path / "wanted.txt"
    path.write_text("\n".join([*numbers(19), "+16505550001"]))
    return path


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


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


def test_several_files(command: Any, sandbox: Sandbox, file: Path) -> None:
    """Together they are the list."""
    other = file.with_name("more.txt")
    other.write_text(numbers(20)[19])

    assert command("sync", file, other, "--yes").code == 0
    assert len(sandbox.blocklist()) == 21


# The question.


def test_nobody_to_ask(command: Any, sandbox: Sandbox, file: Path) -> None:
    """Where no terminal is, it does nothing unless told so."""
    ran = command("sync", file)

    assert ran.code == 2
    assert (
        "cannot ask, for stdin is not a terminal; check with --dry-run, then add --yes"
    ) in ran.stderr
    assert len(sandbox.blocklist()) == 20


def test_nobody_sees_the_question(
    at_terminal: Any, sandbox: Sandbox, file: Path, tmp_path: Path
) -> None:
    """A question that goes to a file is none."""
    log = tmp_path / "log"
    ran = at_terminal("sync", file, log=log)

    assert ran.code == 2
    assert "cannot ask, for stderr is not a terminal" in log.read_text()
    assert len(sandbox.blocklist()) == 20


@pytest.mark.parametrize(
    ("keys", "code", "end"),
    [
        (b"y\r", 0, "1 added, 1 removed, 19 already right"),  # what the key Enter sends
        (b"Yes\n", 0, "1 added, 1 removed, 19 already right"),
        (b"n\n", 1, "nothing was done"),
        (b"no\n", 1, "nothing was done"),
        (b"\n", 1, "nothing was done"),
        (b"\x04", 1, "nothing was done"),
        (press_ctrl_c, 130, "interrupted; nothing was done"),
    ],
    ids=["y", "yes", "n", "no", "enter", "ctrl-d", "ctrl-c"],
)
def test_asks(
    at_terminal: Any, sandbox: Sandbox, file: Path, *, keys: Any, code: int, end: str
) -> None:
    """On a terminal it asks, says what a removal means, and does nothing but for yes."""
    ran = at_terminal("sync", file, keys=[(QUESTION, keys)])

    assert ran.code == code
    assert "1 of 20 blocked users will be unblocked" in ran.stderr
    assert end in ran.stderr
    assert ("16505550001" in sandbox.blocklist()) is (code == 0)


def test_asks_in_a_process_of_its_own(real_terminal: Any, sandbox: Sandbox, file: Path) -> None:
    """The same with a keyboard, where Ctrl-C is a key and a signal."""
    ran = real_terminal("sync", file, keys=[(QUESTION, b"\x03")])

    assert ran.code == 130
    assert sandbox.blocklist() == {user[1:] for user in numbers(20)}
    assert "nothing was done" in ran.stdout
    assert "Traceback" not in ran.stdout


def test_does_what_was_confirmed(at_terminal: Any, sandbox: Sandbox, file: Path) -> None:
    """Who comes onto the list while the question is open is not removed: nobody was asked."""

    def meanwhile() -> None:
        sandbox.unblock(numbers(20)[19])
        sandbox.block("16505550009")

    ran = at_terminal("sync", file, keys=[(QUESTION, meanwhile), (QUESTION, b"y\n")])

    assert ran.code == 0
    assert {"16505550001", "16505550009"} <= sandbox.blocklist()


def test_adding_alone_warns_of_nothing(at_terminal: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """Where nobody is removed, there is nothing to warn of."""
    path = tmp_path / "wanted.txt"
    path.write_text("+16505550001")
    ran = at_terminal("sync", path, keys=[(QUESTION, b"y\n")])

    assert ran.code == 0
    assert "only after" not in ran.stderr
    assert sandbox.blocklist() == {"16505550001"}


def test_the_question_is_the_permission(at_terminal: Any, sandbox: Sandbox, file: Path) -> None:
    """On a terminal whoever confirms permits the removals, unless they set a limit themselves."""
    file.write_text(numbers(1)[0])

    assert at_terminal("sync", file, "--max-removals", "18").code == 3
    assert len(sandbox.blocklist()) == 20

    ran = at_terminal("sync", file, keys=[(QUESTION, b"y\n")])
    assert ran.code == 0
    assert "19 of 20 blocked users will be unblocked" in ran.stderr
    assert len(sandbox.blocklist()) == 1


def test_shows_the_first_of_many_on_a_terminal(
    at_terminal: Any, command: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A long plan does not flood it; a pipe gets all."""
    path = tmp_path / "wanted.txt"
    path.write_text("\n".join(numbers(40)))
    shown = at_terminal("sync", path, "--dry-run", whole=True).stderr
    piped = command("sync", path, "--dry-run").lines

    assert all(line in shown for line in piped[:10])
    assert not any(line in shown for line in piped[10:])
    assert "… and 30 more to add; --json shows all" in shown
    assert "40 to add, 0 to remove" in shown
    assert len(piped) == 40


def test_says_how_far_the_list_is_read(at_terminal: Any, file: Path) -> None:
    """A long list takes a while; so on a terminal the pages are counted."""
    ran = at_terminal("sync", file, "--dry-run")

    assert "reading the blocklist: 2 pages so far" in ran.stderr


# How many may be removed.


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
    assert "at most 2 may be; nothing was changed" in ran.stderr
    assert "pass --max-removals 19" in ran.stderr
    assert len(sandbox.blocklist()) == 20


# Ending early.


def test_ends_early(command: Any, sandbox: Sandbox, file: Path) -> None:
    """When it ends early it says who is removed and added by then, and how to go on."""
    sandbox.glitch(glitches.answer(401, {"error": {"code": 190}}), method="POST")
    ran = command("sync", file, "--yes")

    assert ran.code == 3
    assert "0 added, 1 removed, 19 already right, 1 remaining" in ran.stderr
    assert "To go on, fix it first, then sync again." in ran.stderr
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


@pytest.mark.parametrize(
    ("method", "end"),
    [
        ("POST", "0 added, 1 removed, 19 already right, 1 unknown"),
        ("DELETE", "0 added, 0 removed, 19 already right, 1 unknown, 1 remaining"),
    ],
)
def test_interrupted(command: Any, sandbox: Sandbox, file: Path, method: str, end: str) -> None:
    """Ctrl-C in between does not hide how many were removed."""
    sandbox.glitch(glitches.hang_before(), method=method)

    def interrupt() -> None:
        while not any(request.method == method for request in sandbox.requests):
            time.sleep(0.001)
        press_ctrl_c()

    person = threading.Thread(target=interrupt)
    person.start()
    ran = command("sync", file, "--yes")
    person.join()

    assert ran.code == 130
    assert end in ran.stderr
    assert "interrupted" in ran.stderr
    assert "sync again" in ran.stderr


def test_the_list_cannot_be_read(command: Any, sandbox: Sandbox, file: Path) -> None:
    """Nothing was done, and the error says why; in JSON it is an object."""
    ran = command("sync", file, "--yes", "--json", WHATSAPP_ACCESS_TOKEN="another")

    assert ran.code == 3
    assert "the access token is invalid or expired" in ran.stderr
    assert json.loads(ran.stdout)["error"]["code"] == 190


# What is in the file.


def test_what_cannot_be_read(command: Any, sandbox: Sandbox, file: Path) -> None:
    """A file that names nobody, or has lines that cannot be read, changes nothing."""
    file.write_text("anna")
    nobody = command("sync", file, "--yes")
    broken = file.with_suffix(".jsonl")
    broken.write_text('{"phone": "+16505550001"}\n{"phone":')
    mangled = command("sync", broken, "--column", "phone", "--yes")

    assert (nobody.code, mangled.code) == (2, 2)
    assert "names nobody" in nobody.stderr
    assert "fix these lines first" in mangled.stderr
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


def test_empty_cells_are_nobody(command: Any, file: Path) -> None:
    """They are skipped, and counted; the header needs no word about itself."""
    table = file.with_suffix(".csv")
    table.write_text("name,phone\nAnn,\n" + "".join(f"x,{n}\n" for n in numbers(20)))
    ran = command("sync", table, "--column", "phone")

    assert ran.code == 0
    assert "1 empty cell skipped" in ran.stderr


def test_national_spellings(command: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """With a region, a national spelling keeps on the list whom it names."""
    sandbox.block("5511912345678")
    file = tmp_path / "wanted.txt"
    file.write_text("(11) 91234-5678\n")

    assert command("sync", file, "--region", "BR", "--yes").code == 0
    assert sandbox.blocklist() == {"5511912345678"}


# What is kept and printed.


def test_numbers_of_the_list_are_whole(command: Any, sandbox: Sandbox, tmp_path: Path) -> None:
    """They mean the same in every region, and so do the rows about them."""
    sandbox.block("6505551234")
    file, output = tmp_path / "wanted.txt", tmp_path / "out.csv"
    file.write_text("(11) 91234-5678\n")
    settings = ("--region", "BR", "--yes", "--max-removals", 1, "-o", output)

    assert command("sync", file, *settings).code == 0
    with output.open(newline="") as opened:
        assert [row["user"] for row in csv.DictReader(opened)] == ["6505551234", "5511912345678"]


def test_keeps_outcomes_in_a_file(command: Any, file: Path) -> None:
    """Who was added, removed and rejected, each with its operation; a dry run writes nothing."""
    output = file.with_name("out.csv")
    assert command("sync", file, "--dry-run", "-o", output).code == 0
    assert output.read_bytes() == b""
    assert command("sync", file, "--yes", "-o", output).code == 0
    file.write_text(file.read_text() + "\n0151 1234567")
    assert command("sync", file, "--yes", "-o", output).code == 1

    with output.open(newline="") as opened:
        rows = [(r["operation"], r["input"], r["status"]) for r in csv.DictReader(opened)]
    assert rows == [
        ("unblock", numbers(20)[19][1:], "done"),
        ("block", "+16505550001", "done"),
        ("block", "0151 1234567", "failed"),
    ]


def test_json(command: Any, file: Path) -> None:
    """One object: the plan, what was done, and what was not."""
    plan = json.loads(command("sync", file, "--dry-run", "--json").stdout)
    done = json.loads(command("sync", file, "--yes", "--json").stdout)

    assert plan["to_add"] == done["to_add"] == ["+16505550001"]
    assert plan["to_remove"] == [numbers(20)[19][1:]]
    assert (plan["dry_run"], plan["added"], plan["kept"]) == (True, None, 19)
    assert [one["status"] for one in done["added"] + done["removed"]] == ["done", "done"]
    assert done["error"] is None


def test_quiet(command: Any, file: Path) -> None:
    """Nothing on stderr, unless something went wrong."""
    ran = command("sync", file, "--yes", "--quiet")
    assert (ran.code, ran.stderr) == (0, "")

    file.write_text("\n".join([*numbers(20), "+1650555131047"]))
    ran = command("sync", file, "--yes", "--quiet", "--max-removals", 1)
    assert ran.code == 1
    assert "131047" in ran.stderr

    file.write_text("\n".join([*numbers(20), "0151 1234567"]))
    ran = command("sync", file, "--yes", "--quiet")
    assert ran.code == 1
    assert "rejected: 0151" in ran.stderr


@pytest.mark.parametrize("option", ["--yes", "--json"])
def test_nobody_reads_the_plan(to_nobody: Any, sandbox: Sandbox, file: Path, option: str) -> None:
    """`| head` leaving early does not keep it from its work."""
    assert to_nobody("sync", file, "--yes", option) == 0
    assert "16505550001" in sandbox.blocklist()
