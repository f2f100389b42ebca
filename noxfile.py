"""The checks: `nox` runs them all, `nox -s NAME` one, `nox -l` lists them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "typing", "tests", "lowest", "neighbours", "wheel", "docs"]

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PROJECT)
OLDEST = PYTHONS[0]
ALL_EXTRAS = ".[cli,otel,phone,redis]"


def group(name: str) -> tuple[str, ...]:
    """Return the requirements of a dependency group."""
    return nox.project.dependency_groups(PROJECT, name)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package and of the examples of its use."""
    session.install(ALL_EXTRAS, *group("typing"))
    session.run("mypy")
    session.run("pyright")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests and check that they reach every branch."""
    # Editable, so that the measured files are those that are looked at.
    session.install("-e", ALL_EXTRAS, *group("tests"), *group("examples"))
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    if not session.posargs:
        session.run("coverage", "combine", "--quiet")
        # Without redis-server the tests of what needs Redis are skipped; CI has it.
        unseen = [] if shutil.which("redis-server") else ["--omit=*/redis*.py,*/redis/*"]
        session.run("coverage", "report", *unseen)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that the package allows, and on uvloop."""
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    requirements = [*project["dependencies"], *(text for extra in extras for text in extra)]
    oldest = [text.replace(">=", "==") for text in requirements]
    # In one go, for what the tests need may depend on what we need.
    session.install("-e", ALL_EXTRAS, *group("tests"), "uvloop", *oldest)
    # The examples' frameworks want newer ones.
    arguments = ["--ignore=tests/test_examples.py", *session.posargs]
    session.run("python", "-m", "pytest", *arguments, env={"TEST_LOOP": "uvloop"})


@nox.session
def neighbours(session: nox.Session) -> None:
    """Install the package beside the newest bot frameworks that bring an aiohttp of their own."""
    session.install(".", "aiogram", "discord.py")
    session.run("python", "-m", "pip", "check")
    session.run("python", "-c", "import aiogram, discord; from blockusers import Client")


@nox.session(python=OLDEST, default=False)
def uvloop(session: nox.Session) -> None:
    """Run the tests on uvloop."""
    session.install("-e", ALL_EXTRAS, *group("tests"), *group("examples"), "uvloop")
    session.run("python", "-m", "pytest", *session.posargs, env={"TEST_LOOP": "uvloop"})


@nox.session(python=OLDEST, default=False)
def explore(session: nox.Session) -> None:
    """Run the property tests with many examples that are new each time."""
    session.install("-e", ALL_EXTRAS, *group("tests"))
    arguments = ["-m", "hypothesis", "--ignore=tests/test_examples.py", *session.posargs]
    session.run("python", "-m", "pytest", *arguments, env={"TEST_PROFILE": "explore"})


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, install it alone into a clean environment, and run the demo there."""
    folder = session.create_tmp()
    session.run("python", "-m", "pip", "wheel", ".", "--no-deps", "--quiet", "--wheel-dir", folder)
    (built,) = Path(folder).absolute().glob("blockusers-*.whl")
    session.install(f"{built}[cli]")
    with session.chdir(folder):
        session.run("blockusers", "demo")
        session.run("python", "-m", "blockusers", "--version")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning, such as of a link that leads nowhere, is an error."""
    session.install("-e", ALL_EXTRAS, *group("docs"))
    target = ("docs", "docs/_build/html")
    session.run("sphinx-build", "-W", "--keep-going", "-n", "-q", "-E", *target)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Run the benchmarks: `nox -s bench -- NAME …`, or all of them."""
    session.install("-e", ".[cli]", *group("bench"))
    session.run("python", "-m", "benchmarks", *session.posargs or ["all"])
