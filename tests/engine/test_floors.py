"""Imports run down the floors of docs/architecture.md, and the viewer's rooms are free of torch."""

import ast
import subprocess
import sys
from pathlib import Path

ENGINE = Path(__file__).parents[2] / "engine" / "unisemalign"
PLUGIN = Path(__file__).parents[2] / "napari_unisemalign"

FLOORS = {
    "geometry": 1,
    "errors": 1,
    "metrics": 1,
    "protocol": 1,
    "terms": 1,
    "runtime": 2,
    "slides": 2,
    "settings": 2,
    "weights": 2,
    "project": 3,
    "exchange": 3,
    "model": 3,
    "methods": 4,
    "inference": 4,
    "guess": 5,
    "training": 5,
    "active": 5,
    "benchmark": 5,
    "datasets": 4,
    "cli": 7,
    "__main__": 7,
}
# Rooms of one floor that may know a neighbour: (who, whom).
NEIGHBOURS = {
    ("metrics", "errors"),
    ("geometry", "errors"),
    ("protocol", "errors"),
    ("protocol", "geometry"),
    ("protocol", "terms"),
    ("slides", "runtime"),
    ("settings", "runtime"),
    ("weights", "runtime"),
    ("exchange", "project"),
    ("benchmark", "active"),
    ("benchmark", "training"),
    ("__main__", "cli"),
}
TORCH_ROOMS = {"model", "methods", "inference", "guess", "training"}


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "unisemalign":
                names = [f"unisemalign.{alias.name}" for alias in node.names]
            else:
                names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "unisemalign" and len(parts) > 1:
                rooms.add(parts[1])
    return rooms


def test_imports_run_down():
    wrong = []
    for path in ENGINE.rglob("*.py"):
        room = path.relative_to(ENGINE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported_rooms(path):
            allowed = other == room or FLOORS[other] < FLOORS[room] or (room, other) in NEIGHBOURS
            if not allowed:
                wrong.append(f"{path.relative_to(ENGINE)} imports {other}")
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_floor():
    rooms = {
        p.name.removesuffix(".py")
        for p in ENGINE.iterdir()
        if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == set(FLOORS)


def test_the_engine_knows_no_viewer_and_the_viewer_no_torch_room():
    for path in ENGINE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for package in ("napari", "qtpy", "magicgui", "PyQt"):
            assert f"import {package}" not in text, path
            assert f"from {package}" not in text, path
    for path in PLUGIN.rglob("*.py"):
        assert not imported_rooms(path) & TORCH_ROOMS, path


def test_importing_what_the_viewer_uses_loads_no_torch():
    code = (
        "import sys; import unisemalign.project, unisemalign.slides, unisemalign.exchange, "
        "unisemalign.active, unisemalign.settings, unisemalign.runtime, unisemalign.weights, "
        "unisemalign.protocol; "
        "bad = {'torch', 'napari', 'qtpy'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
