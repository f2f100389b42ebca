"""How Sphinx builds the documentation: `nox -s docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

from sphinx.pycode import ModuleAnalyzer

import blockusers
from blockusers import guard, sandbox

sys.path.insert(0, str(Path(__file__).parent))
import generated

project = "blockusers"
author = "The blockusers developers"
copyright = "The blockusers developers"  # noqa: A001  # Sphinx calls it so
version = release = blockusers.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"blockusers {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {
    name: f"~blockusers.{name}" for name in ("Event", "OnSettled", "TokenSource", "User", "Users")
}
add_module_names = False
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"

# Inventories of other projects would need the network, so only our own names are links.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!blockusers\.).*"),
    (r"py:class", r".*\.(Provider|Store|Rank)"),
]

PUBLIC: Final = {
    name: f"{package.__name__}.{name}"
    for package in (blockusers, sandbox, guard)
    for name in package.__all__
}
"""Where each public name is documented."""


def fill_in(_app: object, _page: str, source: list[str]) -> None:
    """Put the tables that come from the code where a page has a mark for them."""
    source[0] = re.sub(
        r"<!-- generated: (\w+) -->", lambda found: getattr(generated, found[1])(), source[0]
    )


def mark_code(
    _app: object, what: str, name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Show what stands in single backticks as code, and a public name as a link."""
    text = _alias_docs(name) if what in {"data", "type"} else "\n".join(lines)
    if text.startswith("Alias for field number"):  # what Python says of a field of a named tuple
        text = ""
    if what in {"attribute", "data", "property"}:
        text = f"..\n\n{text}"  # an empty comment: napoleon takes a first line "x: y" for a type
    lines[:] = re.sub(r"(?<![`:])`([^`]+)`(?!`)", _as_role, text).splitlines()


def tidy_signature(
    _app: object, _what: str, _name: str, _value: object, _options: object, arguments: Any, to: Any
) -> tuple[str | None, str | None]:
    """Show our type aliases by name, and defaults that have no short form as dots."""
    return _tidy(arguments), _tidy(to)


def _tidy(signature: str | None) -> str | None:
    if signature is None:
        return None
    text = re.sub(r"TypeAliasForwardRef\('([^']+)'\)", r"\1", signature)
    return re.sub(r"<(function|built-in)[^>]*>( object>)?", "...", text)


def _as_role(found: re.Match[str]) -> str:
    code = " ".join(found[1].split())
    target = PUBLIC.get(code.removeprefix("blockusers."))
    return f":py:obj:`~{target}`" if target else f"``{code}``"


def _alias_docs(name: str) -> str:
    """Return the words below a type alias: autodoc looks only into the module it is told."""
    *_, name = name.split(".")
    for module in [each for each in sys.modules if each.startswith("blockusers.")]:
        if docs := ModuleAnalyzer.for_module(module).find_attr_docs().get(("", name)):
            return "\n".join(docs)
    return ""


def find_public(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Link the name that a class has inside the package to its public one."""
    name = node.get("reftarget", "").rpartition(".")[2]
    target = PUBLIC.get(name)
    if target is None or node["reftarget"] == target:
        return None
    domain = env.get_domain("py")
    page = node.get("refdoc")
    return domain.resolve_xref(env, page, app.builder, "obj", target, node, content)


def setup(app: Any) -> None:
    """Connect the functions above."""
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon's
    app.connect("autodoc-process-signature", tidy_signature)
    app.connect("missing-reference", find_public)
