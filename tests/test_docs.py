"""The documentation: its code is run as it stands, and it leaves no public name out."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest
import typer

import blockusers
from blockusers import Account
from blockusers import guard as guard_package
from blockusers import sandbox as sandbox_package
from blockusers.cli.app import app
from blockusers.sandbox import Rules, Sandbox

ROOT = Path(__file__).parent.parent
PROGRAM = (sys.executable, "-m", "blockusers")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
FENCE = re.compile(
    r"(?:<!-- (?P<how>run|with client|with guard|pytest) -->\n)?"
    r"^```(?P<language>python|sh)\n(?P<code>.*?)^```$"
    r"(?:\n\n<!-- prints -->\n```text\n(?P<prints>.*?)^```$)?",
    flags=re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A piece of code on a page."""

    where: str
    how: str | None
    """How it is run: alone (`run`), by `pytest`, or `with client` or `with guard`."""
    language: str
    code: str
    prints: str | None
    """What the page says that it prints."""


def found_on(page: str, text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(f"{page}:{line}", *found.group("how", "language", "code", "prints"))


BLOCKS = [block for page, text in TEXTS.items() for block in found_on(page, text)]
PYTHON = [each for each in BLOCKS if each.language == "python"]
SHELL = [each for each in BLOCKS if each.language == "sh"]
COMMANDS = "\n".join(
    code.replace("\\\n", "")
    for text in TEXTS.values()
    for code in re.findall(r"^```(?:sh|console|ini)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
)
"""What the pages show of the command line, each command in one line."""


def test_every_block_is_run() -> None:
    """Every block of Python or shell is marked as to how it is run, and none is overlooked."""
    assert [block.where for block in BLOCKS if block.how is None] == []
    assert len(BLOCKS) == sum(
        len(re.findall("^```(?:python|sh)$", t, re.MULTILINE)) for t in TEXTS.values()
    )
    assert len(re.findall("<!-- prints -->", "".join(TEXTS.values()))) == sum(
        block.prints is not None for block in BLOCKS
    )


Ran = subprocess.CompletedProcess[str]


def run(*command: object, **options: Any) -> Ran:
    env = {**os.environ, **options.pop("env", {}), "PYTHONPATH": str(ROOT)}
    options = {"stderr": subprocess.PIPE, **options}
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, env=env, check=False, **options
    )


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[object, Future[Any]]]:
    """All that is run as processes, at the same time."""
    with ThreadPoolExecutor() as threads:
        yield {
            "show": threads.submit(run, *PROGRAM, "guard", "--sandbox", "--seconds", "1"),
            "python": threads.submit(
                run,
                *(sys.executable, "-W", "error", ROOT / "tests" / "documented.py"),
                input=json.dumps([(block.how, block.code) for block in PYTHON]),
            ),
            **{
                block: threads.submit(run_shell, block, tmp_path_factory.mktemp("shell"))
                for block in SHELL
            },
        }


@pytest.fixture(scope="module")
def played(started: dict[object, Future[Any]]) -> dict[Block, dict[str, str]]:
    """What each block of Python printed, or how it failed; all of them in one process."""
    ran = started["python"].result()
    assert ran.returncode == 0, ran.stderr
    assert "Exception ignored" not in ran.stderr  # such as a session that nobody closed
    return dict(zip(PYTHON, json.loads(ran.stdout), strict=True))


@pytest.mark.parametrize("block", PYTHON, ids=[block.where for block in PYTHON])
def test_python(block: Block, played: dict[Block, dict[str, str]]) -> None:
    """Each block runs as it stands, without a warning, and prints what the page says."""
    if error := played[block]["error"]:
        pytest.fail(error)
    assert block.prints in {None, played[block]["printed"]}


def test_first_example(played: dict[Block, dict[str, str]]) -> None:
    """The README's example blocks who can be blocked, and says why somebody cannot."""
    first, second, *listed = played[PYTHON[0]]["printed"].splitlines()

    assert PYTHON[0].where.startswith("README.md:")
    assert first == "2 done, 1 failed"
    assert second.startswith("0151 2345678 starts with 0")
    assert listed == ["blocked: 16505551234", "blocked: 16505551235"]


@pytest.mark.parametrize("block", SHELL, ids=[block.where for block in SHELL])
def test_shell(block: Block, started: dict[object, Future[Any]]) -> None:
    """Each block for the shell prints what the page says, or else reaches a sandbox."""
    ran, requests = started[block].result()

    if block.prints is not None:
        assert timeless(ran.stdout) == timeless(block.prints)
    else:
        assert ran.returncode == 0, ran.stdout
        assert requests == 1


def run_shell(block: Block, folder: Path) -> tuple[Ran, int]:
    """Run a block with a sandbox; return what came of it, and how many requests that got."""
    with Sandbox(Rules(window=None)) as sandbox:
        settings = {f"WHATSAPP_{name.upper()}": str(v) for name, v in sandbox.credentials.items()}
        settings["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        as_on_a_screen = {"stderr": subprocess.STDOUT, "cwd": folder, "env": settings}
        ran = run("sh", "-uc", block.code, **as_on_a_screen)
        return ran, len(sandbox.requests)


def test_the_show_of_a_guard(started: dict[object, Future[Any]]) -> None:
    """`blockusers guard --sandbox` looks as it does on the page, but for its figures."""
    ran = started["show"].result()
    shown = re.findall("```none\n(A sandbox.*?)```", TEXTS["docs/start/guard.md"], re.DOTALL)
    printed, _, _ = ran.stderr.partition("\nNext,")

    # What is printed about one person can come before or after what is printed about another.
    assert [sorted(re.sub("[0-9,.]+", "…", text).splitlines()) for text in shown] == [
        sorted(re.sub("[0-9,.]+", "…", printed).splitlines())
    ]


def timeless(text: str) -> str:
    """Return *text* without the seconds that something took."""
    return re.sub(r"[0-9.]+ s\b", "… s", text)


# --------------------------------------------------------------------------- reference


PUBLIC = [
    *(f"blockusers.{name}" for name in blockusers.__all__),
    *(f"blockusers.sandbox.{name}" for name in sandbox_package.__all__),
    *(f"blockusers.guard.{name}" for name in guard_package.__all__),
]


def test_every_public_name_is_in_the_reference_once() -> None:
    """Each public name is documented, in one place."""
    text = "\n".join(text for page, text in TEXTS.items() if page.startswith("docs/reference/"))
    documented = re.findall(r"^\.\. auto\w+:: (blockusers[\w.]+?)(?:\(\))?$", text, re.MULTILINE)

    assert sorted(documented) == sorted([*PUBLIC, "blockusers.otel.OpenTelemetry"])


def test_every_setting_is_named() -> None:
    """The page of settings names each environment variable that the package reads."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "blockusers").rglob("*.py"))
    read = {f"WHATSAPP_{field.name.upper()}" for field in attrs.fields(Account)} & {
        *re.findall(r"WHATSAPP_\w+", Account.from_env.__doc__ or ""),
    }
    read |= set(re.findall(r'envvar="(\w+)"', sources))
    read |= set(re.findall(r'"((?:WHATSAPP|BLOCKUSERS)_[A-Z_]+)"', sources))

    assert {*re.findall(r"`([A-Z]+_[A-Z_]+)`", TEXTS["docs/reference/settings.md"])} >= read


def test_every_option_exists() -> None:
    """The commands that the pages show know the options that they are shown with."""
    program = typer.main.get_command(app)
    lines = re.findall(r"\bblockusers ((?:deny )?[a-z]+)( .*)?$", COMMANDS, re.MULTILINE)
    unknown = [
        (command, option)
        for command, rest in lines
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)
        if option not in options_of(program, command.split())
    ]

    assert lines
    assert unknown == []


def options_of(command: Any, names: Sequence[str]) -> set[str]:
    """Return the options of a command, such as `deny add`."""
    for name in names:
        command = command.commands[name]
    return {"--help", *(name for each in command.params for name in each.opts)}


# --------------------------------------------------------------------------- links


def test_where_is_what() -> None:
    """The README names every folder of the package."""
    folders = {path.parent.name for path in (ROOT / "blockusers").glob("*/__init__.py")} - {
        "_tools"
    }
    named = set(re.findall(r"\]\(blockusers/(\w+)\)", TEXTS["README.md"]))

    assert named == folders


def test_links() -> None:
    """A link to another file leads somewhere, also where the Markdown is read on its own."""
    links = [
        (page, link)
        for page, text in TEXTS.items()
        for link in re.findall(r"\]\(((?!https?:|#)[^)\s]+)\)", text)
    ]
    broken = [
        (page, link)
        for page, link in links
        if not (ROOT / page).parent.joinpath(link.partition("#")[0]).exists()
    ]

    assert links
    assert broken == []
