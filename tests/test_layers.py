"""The layers: a module imports only from those below it, and the public names are all there."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_origin

import pytest

import blockusers
from blockusers import guard, sandbox

PACKAGE = Path(blockusers.__file__).parent
ROOMS = (
    "_tools",
    "values",
    "pace",
    "protocol",
    "observe",
    "jobs",
    "lists",
    "client",
    "guard",
    "otel",
    "redis",
    "cli",
    "__main__",
)
"""From the ground up; what stands in a room imports from its own and from those before it."""
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
SANDBOX = sorted(path.stem for path in (PACKAGE / "sandbox").glob("*.py"))


def imports(body: list[ast.stmt]) -> Iterator[str]:
    """Yield the full name of whatever of blockusers is imported anywhere in *body*."""
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, "imports are absolute"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path, *, of_functions: bool = True) -> set[str]:
    """Return the names below `blockusers` that a module imports.

    Without *of_functions*, what it imports only inside functions and for type checkers is left out.
    """
    body = ast.parse(path.read_text(encoding="utf-8")).body
    if not of_functions:
        lazy = (ast.FunctionDef, ast.AsyncFunctionDef)
        body = [
            node
            for node in body
            if not isinstance(node, lazy)
            and not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ]
    names = (name.partition(".") for name in imports(body))
    return {rest for root, _, rest in names if root == "blockusers" and rest}


def room(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_module_has_its_room() -> None:
    """No module stands outside the rooms, but for the root and the sandbox, which is apart."""
    assert {room(module) for module in MODULES} == {*ROOMS, "__init__", "sandbox"}


@pytest.mark.parametrize("module", [name for name in MODULES if room(name) in ROOMS])
def test_imports_go_downwards(module: str) -> None:
    """A module imports only from its own room and from those below."""
    found = {room(name) for name in ours(MODULES[module])}
    allowed = {*ROOMS[: ROOMS.index(room(module)) + 1], "__version__"}

    assert found <= (allowed | {"sandbox"} if room(module) == "cli" else allowed)


def test_no_circles() -> None:
    """No module imports itself, over however many others."""
    imported = {module: ours(path, of_functions=False) for module, path in MODULES.items()}
    graph = {
        module: {
            name for name in MODULES if any(f"{each}.".startswith(f"{name}.") for each in found)
        }
        for module, found in imported.items()
    }
    TopologicalSorter(graph).prepare()


def test_the_root_imports_no_side_building() -> None:
    """To import blockusers is not to import its sandbox or its command line."""
    assert not {room(name) for name in ours(PACKAGE / "__init__.py")} & {"sandbox", "cli"}


@pytest.mark.parametrize("module", SANDBOX)
def test_the_sandbox_stands_alone(module: str) -> None:
    """The sandbox shares nothing with the client, so that a misreading of one shows in the other.

    Its pytest plugin hands out an account, once it is asked for one.
    """
    found = ours(PACKAGE / "sandbox" / f"{module}.py", of_functions=module != "pytest_plugin")

    assert {name.split(".")[0] for name in found} <= {"sandbox", "_tools"}


def test_the_order_is_read_from_imports() -> None:
    """The reader of imports sees those inside functions, and can leave them out."""
    plugin = PACKAGE / "sandbox" / "pytest_plugin.py"

    assert "Account" in ours(plugin)
    assert ours(plugin, of_functions=False) == set()


# --------------------------------------------------------------------------- public names


def test_the_names_are_sorted() -> None:
    """The list of public names is in order, each in it once."""
    assert blockusers.__all__ == sorted(set(blockusers.__all__))


PUBLIC = [(module, name) for module in (blockusers, sandbox, guard) for name in module.__all__]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=[name for _, name in PUBLIC])
def test_every_public_name_is_there(module: object, name: str) -> None:
    """Each public name can be got, and says what it is for."""
    value = getattr(module, name)

    assert inspect.getdoc(value) or get_origin(value)  # an alias has its words beside it
    if inspect.isclass(value):
        assert value.__doc__ is not None
        assert value.__module__.startswith("blockusers.")


@pytest.mark.parametrize("module", [blockusers, sandbox, guard], ids=lambda module: module.__name__)
def test_no_other_name_is_there(module: object) -> None:
    """A name that does not exist is an AttributeError, as of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Blocker'"):
        _ = module.Blocker  # type: ignore[attr-defined]


def test_names_can_be_listed() -> None:
    """Public names are listed before they are loaded, for those who explore by hand."""
    assert set(blockusers.__all__) <= set(dir(blockusers))
