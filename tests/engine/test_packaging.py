"""What is installed: the engine needs no napari and no Qt, and declares all that it imports."""

import ast
import functools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WINDOW = {"napari", "vispy", "app-model", "pyqt5", "pyqt6", "pyside6", "pyqt6-qt6"}
"""What a headless machine does not need."""


distributions = functools.cache(packages_distributions)  # reads every installed package's files


def declared(*extras: str) -> set[str]:
    """Return the names of our dependencies, and of those of ``extras``."""
    about = PYPROJECT["project"]
    lines = list(about["dependencies"])
    for extra in extras:
        lines += about["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def brought(names: set[str]) -> set[str]:
    """Return ``names`` and everything that they bring, as the installed packages say."""
    found: set[str] = set()
    left = sorted(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        try:
            needs = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        left += [
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate({"extra": ""})
        ]
    return found


def imported(folder: Path) -> dict[str, Path]:
    """Return the top names that files under ``folder`` import from elsewhere, and one file each."""
    names: dict[str, Path] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names[node.module.partition(".")[0]] = path
            elif isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0]: path for alias in node.names}
    ours = {"unisemalign", "napari_unisemalign"}
    return {
        name: path for name, path in names.items() if name not in sys.stdlib_module_names | ours
    }


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("engine/unisemalign", ["cluster", "effort", "onnx"]), ("napari_unisemalign", ["napari"])],
)
def test_what_is_imported_is_declared(folder, extras):
    homes = distributions()
    allowed = declared(*extras)
    missing = []
    for name, path in imported(ROOT / folder).items():
        owners = {canonicalize_name(home) for home in homes.get(name, [name])}
        if not owners & allowed:
            missing.append(f"{path.relative_to(ROOT)} imports {name}: {sorted(owners)}")
    assert not missing, "\n".join(missing)


def test_the_project_table_holds_what_the_standard_names():
    named = {"authors", "classifiers", "dependencies", "description", "dynamic", "keywords"}
    named |= {"entry-points", "license", "license-files", "name", "optional-dependencies"}
    named |= {"readme", "requires-python", "scripts", "urls", "version", "maintainers"}
    assert set(PYPROJECT["project"]) <= named


@pytest.mark.parametrize("extras", [[], ["cluster"]])
def test_a_headless_install_brings_no_window(extras):
    found = brought(declared(*extras))
    assert {"torch", "zarr", "typer"} <= found
    assert not found & WINDOW


def test_the_extra_all_brings_the_window():
    assert {"napari", "vispy", "app-model", "pyqt6"} <= brought(declared("napari", "all"))


HEADLESS = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"no {{name}} on a headless machine", name=name)

sys.meta_path.insert(0, Blocked())
import unisemalign
seen = [m.name for m in pkgutil.walk_packages(unisemalign.__path__, "unisemalign.")]
for name in seen:
    if not name.endswith("__main__"):
        importlib.import_module(name)
for name in unisemalign.__all__:
    getattr(unisemalign, name)
import distributed  # a Dask worker
print("IMPORTED", len(seen))
"""


def test_every_room_of_the_engine_imports_without_a_window():
    blocked = {"napari", "vispy", "qtpy", "magicgui", "superqt", "pyqtgraph", "PyQt6", "PySide6"}
    done = subprocess.run(
        [sys.executable, "-c", HEADLESS.format(blocked=blocked)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split("IMPORTED")[1]) > 100


def test_the_next_release_has_its_section_in_the_changelog():
    """Between tags the version is NEXT.devN; what NEXT brings is written down."""
    nearest = PYPROJECT["tool"]["hatch"]["version"]["fallback-version"]
    release = nearest.removesuffix(".dev0")
    assert release != nearest
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(release)}\b", changelog, re.MULTILINE)
