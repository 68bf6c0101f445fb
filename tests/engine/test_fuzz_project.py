"""A project folder is outside input: damaged in many ways, every verb ends in a sentence.

More inputs: ``UNISEMALIGN_FUZZ=1000 pytest tests/engine/test_fuzz_project.py``.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unisemalign.active import rank_regions
from unisemalign.errors import UnisemalignError
from unisemalign.exchange import export_labels
from unisemalign.geometry import Rect
from unisemalign.inference.storing import FinishedBands
from unisemalign.project import FirstGuess, GuessNote, Origin, Project, RegionState
from unisemalign.project.tissue import TissueStore
from unisemalign.protocol import FinishedNote
from unisemalign.runtime import SilentEvents
from unisemalign.settings import build_settings, read_settings, write_settings

COUNT = int(os.environ.get("UNISEMALIGN_FUZZ", "60"))
WHOLE = Rect(0, 0, 600, 700)
NESTED = "[" * 5000 + "]" * 5000
WORDS: list[Any] = [
    *(None, True, -1, 0, 2**31, 2**63, 10**30, -0.5, 1e308, "", "x", "..", "../../x", "pickle"),
    *([], {}, [[]], [1, 2], {"a": 1}, "é\x1b[31m\n", "9" * 50, [0] * 2000, float("nan")),
    *(float("inf"), "12", [1e9, 1e9], [0, 0], [-1, 5]),
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A small project that has something of everything."""
    folder = tmp_path_factory.mktemp("sound")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (*WHOLE.shape, 3), np.uint8)).save(folder / "a.png")
    with Project.create(folder / "s.unisem", classes=["background", "gland"]) as project:
        project.add_slide(folder / "a.png", spacing_um=0.5)
        rect = Rect(10, 10, 300, 550)
        values = rng.integers(0, 3, rect.shape, np.uint8)
        project.write_labels("a", rect, values, Origin.DRAWN, action="draw")
        project.undo()
        project.redo()
        project.add_region("a", rect, state=RegionState.ACCEPTED)
        made = project.new_round(method="supervised", preset="recommended")
        write_settings(build_settings(), made.folder / "run.toml")
        (made.folder / "best.safetensors").write_bytes(b"")
        store = project.predictions(1, "a", create=True)
        seen = rng.integers(1, 3, WHOLE.shape, np.uint8)
        store.write(WHOLE, classes=seen, confidence=seen, disagreement=seen)
        store.write_finished(
            FinishedNote(model="m", finished=(Rect(0, 0, 512, 700),), masks=("m",))
        )
        TissueStore(project.root).correct("a", np.ones((20, 20), np.uint8), 8.0)
        FirstGuess(project).write_note(GuessNote(made_by="words", model="m"))
    return project.root


def verbs(root: Path, out: Path) -> list[str]:
    """Do everything with the project; return what ended in anything but well or a sentence."""
    stumbled = []

    def attempt(name: str, verb: Callable[[], object]) -> object:
        try:
            return verb()
        except UnisemalignError:
            pass  # it ends in a sentence
        except Exception as error:  # noqa: BLE001  what the test looks for
            stumbled.append(f"{name}: {type(error).__name__}: {str(error)[:150]}")
        return None

    attempt("settings", lambda: read_settings(root / "rounds" / "1" / "run.toml"))
    project = attempt("open", lambda: Project.open(root))
    if not isinstance(project, Project):
        return stumbled
    with project:
        attempt("slides", project.slides)
        attempt("regions", project.regions)
        attempt("rounds", project.rounds)
        attempt("journal", project.journal)
        attempt("labels", lambda: project.labels("a").read(WHOLE))
        attempt("origins", lambda: project.labels("a").read_origin(WHOLE))
        attempt("plan", lambda: FinishedBands(project.predictions(1, "a"), "m", lambda _: "m"))
        attempt("prediction", lambda: project.predictions(1, "a").read(WHOLE))
        attempt("queue", lambda: rank_regions(project, 1, count=2, events=SilentEvents()))
        attempt("tissue", lambda: project.tissue("a"))
        attempt("guess", lambda: FirstGuess(project).note())
        attempt("export", lambda: export_labels(project, out, "png"))
        attempt("undo", project.undo)
        values = np.ones((30, 30), np.uint8)
        rect = Rect(5, 5, 30, 30)
        attempt("draw", lambda: project.write_labels("a", rect, values, Origin.DRAWN, action="x"))
    return stumbled


def damage(root: Path, draw: random.Random) -> str:
    """Damage one file; return what was done to it."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and ".locks" not in p.parts)
    path = draw.choice(files)
    place = str(path.relative_to(root))
    if path.suffix == ".sqlite" and draw.random() < 0.8:
        return f"{place}: {spoil_row(path, draw)}"
    if path.suffix in {".json", ".toml"} and draw.random() < 0.8:
        return f"{place}: {spoil_value(path, draw)}"
    content = bytearray(path.read_bytes())
    how = draw.choice(["cut", "empty", "flip", "noise", "grow", "gone"])
    if how == "cut":
        content = content[: draw.randrange(len(content) + 1)]
    elif how == "empty":
        content = bytearray()
    elif how == "flip":
        for _ in range(draw.randint(1, 20)):
            content[draw.randrange(len(content)) if content else 0 :][:1] = b"\xa5"
            if content:
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif how == "noise":
        content = bytearray(draw.randbytes(len(content) or 10))
    elif how == "grow":
        content += draw.randbytes(1000)
    path.unlink() if how == "gone" else path.write_bytes(content)
    return f"{place}: {how}"


def spoil_row(path: Path, draw: random.Random) -> str:
    with closing(sqlite3.connect(path, isolation_level=None)) as tables:
        names = [
            row[0]
            for row in tables.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
        ]
        table = draw.choice(sorted(names))
        column = draw.choice([row[1] for row in tables.execute(f"PRAGMA table_info({table})")])
        value = draw.choice(
            [*(w for w in WORDS if not isinstance(w, list | dict)), b"\x00\xff", b""]
        )
        if isinstance(value, int) and abs(value) >= 2**63:
            value = float(value)
        try:
            tables.execute(f"UPDATE {table} SET {column} = ?", (value,))  # noqa: S608
        except sqlite3.Error as error:
            return f"{table}.{column} keeps its value: {error}"
        return f"{table}.{column} = {value!r}"


def spoil_value(path: Path, draw: random.Random) -> str:
    text = path.read_text(encoding="utf-8")
    how = draw.choice(["nested", "number", "utf-16", "text"]) if draw.random() < 0.2 else "value"
    if how == "nested":
        path.write_text(NESTED if path.suffix == ".json" else f"classes = {NESTED}")
    elif how == "number":
        path.write_text("9" * 6000 if path.suffix == ".json" else f"format = {'9' * 6000}")
    elif how == "utf-16":
        path.write_bytes(text.encode("utf-16"))
    elif how == "text":
        path.write_text("\x00 = ] {")
    elif path.suffix == ".toml":
        lines = text.splitlines()
        place = draw.choice([n for n, line in enumerate(lines) if "=" in line])
        word = draw.choice(
            ["-1", "0", "nan", "inf", "'x'", "[]", "true", "1e308", "9223372036854775807"]
        )
        lines[place] = lines[place].partition("=")[0] + "= " + word
        path.write_text("\n".join(lines), encoding="utf-8")
        return lines[place]
    else:
        tree = json.loads(text)
        places = list(_places(tree))
        holder, key = draw.choice(places)
        holder[key] = draw.choice(WORDS)
        path.write_text(json.dumps(tree), encoding="utf-8")
        return f"{key} = {str(holder[key])[:40]}"
    return how


def _places(tree: Any) -> Any:
    for key in tree if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list) and tree[key]:
            yield from _places(tree[key])


@pytest.mark.parametrize("seed", range(COUNT // 20))
def test_a_damaged_project_ends_in_sentences(sound, tmp_path, seed):
    found: Counter[str] = Counter()
    for number in range(20):
        draw = random.Random(1000 * seed + number)
        root = tmp_path / f"{number}" / "s.unisem"
        root.parent.mkdir()
        shutil.copytree(sound, root)
        shutil.copy(sound.parent / "a.png", root.parent / "a.png")
        what = damage(root, draw)
        for sentence in verbs(root, tmp_path / f"{number}" / "out"):
            found[f"{what} -> {sentence}"] += 1
        shutil.rmtree(root.parent)
    assert not found, "\n".join(found)
