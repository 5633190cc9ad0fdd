"""The folders of the program are read from left to right: no import runs back or in a circle; names are there once."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = (
    *("pages", "vision", "models", "labelstudio", "corrections", "evaluation", "dataset", "synthetic", "training"),
    *("server", "framework", "commands", "cli", "__main__"),
)


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(file): file for file in sorted((ROOT / "backend").rglob("*.py"))}


@cache
def imports(module: str) -> set[str]:
    """The program's modules that a module imports, wherever it does, for types alone included."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {
                inner if (inner := f"{node.module}.{alias.name}") in MODULES else node.module for alias in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & set(MODULES)) - {module, "backend"}


def place(module: str) -> int:
    """Where a module's room is; 0 for the files beside the rooms, such as settings and errors."""
    room = module.split(".")[1]
    return ORDER.index(room) + 1 if room in ORDER else 0


@pytest.mark.parametrize("module", [module for module in MODULES if module != "backend"])
def test_a_module_imports_from_its_own_room_or_earlier_ones(module: str) -> None:
    later = {other for other in imports(module) if place(other) > place(module)}
    assert not later, f"{module} imports from a room that comes after its own"


def test_every_folder_is_a_room() -> None:
    folders = {module.split(".")[1] for module, file in MODULES.items() if file.parent != ROOT / "backend"}
    assert folders <= set(ORDER)


def test_there_is_no_circle() -> None:
    TopologicalSorter({module: imports(module) for module in MODULES}).prepare()


def test_no_two_files_have_one_name() -> None:
    names = Counter(file.name for file in MODULES.values() if file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


@pytest.mark.parametrize("folder", ["backend", "benchmarks", "tests"])
def test_no_file_is_longer_than_can_hold_one_idea(folder: str) -> None:
    lengths = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / folder).rglob("*.py")}
    assert {str(file): length for file, length in lengths.items() if length > 400} == {}
