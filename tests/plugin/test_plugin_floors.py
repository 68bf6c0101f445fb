"""The plugin's imports run down: widgets → actions → canvas → session → engine."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_unisemalign

PLUGIN = Path(napari_unisemalign.__file__).parent
FLOORS = ("engine", "session", "canvas", "actions", "widgets")
"""From the ground up; a floor imports itself and those before it."""
WITHOUT_QT = ("session", "canvas")
"""Floors that a script without a window can use."""


def _modules() -> list[Path]:
    return sorted(path for path in PLUGIN.rglob("*.py") if path.parent != PLUGIN)


def _imported(path: Path) -> list[str]:
    """Return the dotted names of every module that ``path`` imports, wherever in the file."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def _wrong_imports(floor: str, names: list[str]) -> list[str]:
    wrong = []
    for name in names:
        package, _, rest = name.partition(".")
        if package == PLUGIN.name:
            other = rest.partition(".")[0]
            if other not in FLOORS or FLOORS.index(other) > FLOORS.index(floor):
                wrong.append(name)
        elif package in {"qtpy", "superqt", "PyQt6", "PySide6"} and floor in WITHOUT_QT:
            wrong.append(name)
    return wrong


def test_every_module_stands_on_a_floor() -> None:
    assert {path.relative_to(PLUGIN).parts[0] for path in _modules()} == set(FLOORS)
    assert [path.name for path in PLUGIN.glob("*.py")] == ["__init__.py"]


def test_imports_run_down() -> None:
    wrong = [
        f"{path.relative_to(PLUGIN)} imports {name}"
        for path in _modules()
        for name in _wrong_imports(path.relative_to(PLUGIN).parts[0], _imported(path))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("floor", "name"),
    [
        ("engine", "napari_unisemalign.session.session"),
        ("actions", "napari_unisemalign.widgets.dock"),
        ("widgets", "napari_unisemalign.layers"),
        ("canvas", "qtpy.QtCore"),
    ],
)
def test_an_import_that_runs_up_is_found(floor: str, name: str) -> None:
    assert _wrong_imports(floor, [name]) == [name]


def test_every_module_can_be_imported_first() -> None:
    """A circle of imports shows only when its last module is the first to be imported."""
    names = [
        ".".join((PLUGIN.name, *path.relative_to(PLUGIN).with_suffix("").parts))
        for path in _modules()
        if path.name != "__init__.py"
    ]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for each in [each for each in sys.modules if each.startswith('napari_unisemalign')]:\n"
        "        del sys.modules[each]\n"
        "    importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
