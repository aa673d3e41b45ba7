"""How the source is built: imports run one way, and nothing but the axes asks which axis it has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("autocompress", "search", "evaluators", "compression", "studies", "spaces")
BELOW = {
    "errors",
    "files",
    "lines",
    "cache",
    "cgroups",
    "cores",
    "quieting",
    "parent",
    "remarks",
    "temporary",
    "terminal",
    "memory",
}
"""Files of `autocompress/` that every room may import."""

ALLOWED = {
    "face": {"face", "search", "evaluators", "compression", "studies", "spaces", "below"},
    "search": {"search", "evaluators", "compression", "studies", "spaces", "below"},
    "evaluators": {"evaluators", "compression", "studies", "spaces", "below"},
    "compression": {"compression", "spaces", "below"},
    "studies": {"studies", "compression", "spaces", "below"},
    "spaces": {"spaces", "below"},
    "below": {"below"},
}
"""Room -> the rooms that it may import."""


def module_of(path: Path) -> str:
    """The dotted name, without `autocompress.`: "spaces.axes.bits", "errors"."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    parts = parts[1:] if parts[0] == "autocompress" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


USERS_OWN = ROOT / "studies" / "my_task.py"
"""What a user writes, and so imports what users import."""

FILES = {module_of(p): p for room in ROOMS for p in sorted((ROOT / room).rglob("*.py")) if p != USERS_OWN}


def room_of(module: str) -> str:
    first = module.partition(".")[0]
    if first in BELOW:
        return "below"
    return first if first in ROOMS else "face"


def imports_of(module: str, everywhere: bool) -> Iterator[tuple[str, int]]:
    """The modules of this project that a module imports, with the lines.

    everywhere: also in functions and under TYPE_CHECKING; else only what runs when it is imported.
    """
    path = FILES[module]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(tree) if everywhere else at_import(tree.body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found = [n.removeprefix("autocompress").lstrip(".") for n in names if n.split(".")[0] == "autocompress"]
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0 and (node.module or "").split(".")[0] != "autocompress":
                continue
            if node.level:
                kept = package[: len(package) - node.level + 1]
                start = ".".join([*kept, *filter(None, [node.module])])
            else:
                start = (node.module or "").removeprefix("autocompress").lstrip(".")
            found = [f"{start}.{a.name}".lstrip(".") for a in node.names]
            found = [name if name in FILES else start for name in found]
        else:
            continue
        yield from ((name, node.lineno) for name in dict.fromkeys(found) if name in FILES)


def at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that run when a module is imported."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_import(node.orelse)
            continue
        yield node
        for inner in ("body", "orelse", "finalbody"):
            yield from at_import(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def test_every_file_is_seen() -> None:
    assert {"api", "cli.search", "errors", "spaces.axes.bits", "search.loop", "evaluators", "compression.recover"} <= {
        *FILES
    }
    assert dict(imports_of("spaces.axes.bits", everywhere=True)).keys() >= {"spaces.context", "spaces.axes.base"}
    assert "errors" in dict(imports_of("spaces.space", everywhere=False))


def test_imports_run_one_way() -> None:
    wrong = [
        f"{FILES[module].relative_to(ROOT)}:{line} imports {name}"
        for module in FILES
        for name, line in imports_of(module, everywhere=True)
        if room_of(name) not in ALLOWED[room_of(module)]
    ]
    assert not wrong, "\n".join(wrong)


def test_what_all_rooms_share_imports_errors_alone() -> None:
    # a cache is made of files; cores and memory are shared out by the same groups
    allowed = {"files": {"errors", "terminal"}, "cache": {"errors", "files"}}
    allowed |= {"cores": {"cgroups"}, "memory": {"cgroups"}}
    for module in BELOW:
        assert {name for name, _ in imports_of(module, everywhere=True)} <= allowed.get(module, set()), module


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = {module: {name for name, _ in imports_of(module, everywhere=False)} - {module} for module in FILES}
    done: set[str] = set()
    trail: list[str] = []

    def visit(module: str) -> None:
        if module in trail:
            raise AssertionError(" -> ".join([*trail[trail.index(module) :], module]))
        if module not in done:
            trail.append(module)
            for name in sorted(graph[module]):
                visit(name)
            trail.pop()
            done.add(module)

    for module in sorted(graph):
        visit(module)


@pytest.mark.parametrize(
    ("pattern", "rooms"),
    [
        (r"isinstance\([^()]*\b\w+Axis\b", ROOMS),
        # elsewhere it asks what an operating system or another library has
        (r"\bhasattr\(", ("autocompress", "search", "spaces")),
    ],
)
def test_nothing_but_axes_asks_which_axis_it_has(pattern: str, rooms: tuple[str, ...]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES.values()
        if path.relative_to(ROOT).parts[0] in rooms and (ROOT / "spaces" / "axes") not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(pattern, line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("library", "room"), [("optuna", "search"), ("ray", "search"), ("sqlalchemy", "search")])
def test_the_library_of_a_search_is_imported_there_alone(library: str, room: str) -> None:
    pattern = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    users = {room_of(module) for module, path in FILES.items() if pattern.search(path.read_text(encoding="utf-8"))}
    assert users <= {room}
