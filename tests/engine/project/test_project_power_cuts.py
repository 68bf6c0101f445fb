"""Power cuts: what an act promised when it returned is there afterwards, and nothing is torn."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engine.project.power_cuts import PowerCuts
from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import FirstGuess, GuessNote, Origin, Project, RegionState, chunks
from unisemalign.project.predictions import PredictionStore
from unisemalign.project.tissue import TissueStore
from unisemalign.protocol import FinishedNote
from unisemalign.runtime.files import write_json
from unisemalign.settings import build_settings, read_settings, write_settings

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the cuts are read off /proc/self/fd, which Linux alone has"
)

CUTS = 40
WHOLE = Rect(0, 0, 700, 900)
TILE = Rect(0, 0, 512, 900)
Act = Callable[[Project], object]


def _draw(rect: Rect, value: int) -> Act:
    values = np.full(rect.shape, value, np.uint8)
    return lambda p: p.write_labels("a", rect, values, Origin.DRAWN, action="draw")


def _predict(rect: Rect, value: int) -> Act:
    def act(project: Project) -> None:
        store = project.predictions(1, "a", create=True)
        seen = np.full(rect.shape, value, np.uint8)
        store.write(rect, classes=seen, confidence=seen, disagreement=seen)
        note = store.read_finished() or FinishedNote()
        store.write_finished(FinishedNote(finished=(*note.finished, rect)))

    return act


def _train(project: Project) -> None:
    made = project.new_round(method="m", preset="recommended")
    write_settings(build_settings(), made.folder / "run.toml")
    write_json(made.folder / "scores.json", {"best": 1})
    project.set_round(made.number, state="done")


def _correct(value: int) -> Act:
    return lambda p: TissueStore(p.root).correct("a", np.full((20, 30), value, np.uint8), 8.0)


ACTS: list[Act] = [
    lambda p: p.add_slide(p.root.parent / "slides" / "a.png", spacing_um=0.5),
    _draw(Rect(100, 100, 550, 700), 1),
    _draw(Rect(0, 0, 300, 600), 2),
    Project.undo,
    Project.redo,
    lambda p: p.add_region("a", Rect(0, 0, 64, 64), state=RegionState.ACCEPTED),
    _draw(WHOLE, 0),  # every chunk leaves the disk
    Project.undo,
    _correct(1),
    _train,
    _predict(TILE, 1),
    _draw(Rect(400, 0, 300, 900), 1),
    _predict(Rect(512, 0, 188, 900), 2),
    _correct(2),
    _correct(0),  # forgets it
    lambda p: FirstGuess(p).write_note(GuessNote(made_by="words", model="m")),
    lambda p: p.remove_prediction(1, "a"),
    lambda p: FirstGuess(p).forget(),
    Project.undo,
    _draw(Rect(0, 880, 700, 20), 2),
]


def observed(root: Path) -> dict[str, Any]:
    """Return everything the acts promise, as a project opened anew has it."""
    seen: dict[str, Any] = {"finished": []}
    with Project.open(root) as project:
        names = [each.name for each in project.slides()]
        seen["slides"] = names
        for name in names:
            store = project.labels(name)
            seen["labels"] = store.read(WHOLE).tobytes()
            seen["origin"] = store.read_origin(WHOLE).tobytes()
        seen["journal"] = [(each.id, each.state) for each in project.journal()]
        seen["regions"] = project.regions()
        seen["guess"] = FirstGuess(project).note() is None
        seen["tissue"] = correction(project.root)
        for each in project.rounds():
            # What is under way keeps none of its files' promises yet.
            if each.state == "done":
                seen["run"] = read_settings(each.folder / "run.toml").preset
                seen["scores"] = (each.folder / "scores.json").is_file()
            if project.has_prediction(each.number, "a"):
                seen["finished"] = finished(project.predictions(each.number, "a"))
    return seen


def finished(store: PredictionStore) -> list[Any]:
    """Return what is noted as finished, with its classes at every level."""
    bands = (store.read_finished() or FinishedNote()).finished
    return [
        (band, level, array[band.scaled(1 / 2**level).slices].tobytes())
        for band in bands
        for level, array in enumerate(store.levels("class"))
    ]


def correction(root: Path) -> int | None:
    path = root / "tissue" / "a.npz"
    if not path.exists():
        return None
    with np.load(path) as kept:
        return int(kept["tissue"].any()) + 2 * int(kept["skipped"].any())


def run(disk: Path, on_act: Callable[[Path], None]) -> None:
    """Do every act, and tell after each."""
    root = disk / "new folder" / "study.unisem"
    with Project.create(root, classes=["background", "gland"]) as project:
        on_act(root)
        (root.parent / "slides").symlink_to(disk / "slides")
        for act in ACTS:
            act(project)
            on_act(root)


def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> list[str]:
    """Cut the power ``CUTS`` times; return what was lost or torn, in words."""
    states: list[dict[str, Any]] = []
    run(_disk(tmp_path / "told"), lambda root: states.append(observed(root)))
    dry = _disk(tmp_path / "dry")
    counted = PowerCuts(dry, set(), tmp_path / "none")
    with counted.watching(monkeypatch, lambda _: None):
        run(dry, lambda _: None)
    disk = _disk(tmp_path / "wet")
    # Two runs differ by a few moments: a cut close to the end might never come.
    at = set(random.Random(seed).sample(range(counted.moments * 9 // 10), CUTS))
    cuts = PowerCuts(disk, at, tmp_path / "left", seed)
    done: dict[int, int] = {}
    acknowledged: list[Path] = []
    with cuts.watching(monkeypatch, lambda number: done.update({number: len(acknowledged)})):
        run(disk, acknowledged.append)
    found = []
    for number, count in done.items():
        try:
            left = observed(tmp_path / "left" / str(number) / "new folder" / "study.unisem")
        except ProjectError as error:
            if count:  # a project that nobody was told of yet may be absent
                found.append(f"cut {number}, after {count} acts: {error}")
            continue
        if left not in states[max(count - 1, 0) : count + 1]:
            found.append(f"cut {number}, after {count} acts: {_differences(left, states[count])}")
    assert len(done) == CUTS
    return found


def _differences(left: dict[str, Any], wanted: dict[str, Any]) -> str:
    keys = [key for key in {*left, *wanted} if left.get(key) != wanted.get(key)]
    return "differs in " + ", ".join(sorted(keys))


def _disk(folder: Path) -> Path:
    (folder / "slides").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (*WHOLE.shape, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "slides" / "a.png", compress_level=0)
    return folder


def test_forty_power_cuts_lose_and_tear_nothing(tmp_path, monkeypatch):
    assert faults(tmp_path, monkeypatch, seed=1) == []


@pytest.mark.parametrize("forgotten", ["flush_folder", "flush_handle"])
def test_the_cuts_find_what_was_not_flushed(tmp_path, monkeypatch, forgotten):
    monkeypatch.setattr(chunks, forgotten, lambda _: None)
    assert faults(tmp_path, monkeypatch, seed=1) != []
