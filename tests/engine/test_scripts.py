"""Scripts beside the packages use what the packages have today."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(
    path for folder in ("benchmarks", "demo", "pretraining", "tools")
    for path in (ROOT / folder).glob("*.py")
)  # fmt: skip


def _imported(script: Path) -> list[tuple[str, str]]:
    tree = ast.parse(script.read_text(encoding="utf-8"))
    return [
        (node.module, name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unisemalign")
        for name in node.names
    ]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_script_imports_is_there(script):
    for module, name in _imported(script):
        found = importlib.import_module(module)
        if not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")


def test_scripts_are_found():
    assert len(SCRIPTS) > 15
    assert ("unisemalign.settings", "build_settings") in _imported(ROOT / "benchmarks/organs.py")
