"""An afternoon: three rounds, two slides, a kill in the middle of painting, a second reader."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from standins import FAKE_ENGINE, SIZE_PX

from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState
from unisemalign.slides.synthetic import CLASSES, draw_slide

STROKES = 8
KEPT_S = 1.0
"""A stroke is on disk within this time."""
PLAYED = Path(__file__).with_name("afternoon.py")


@pytest.fixture
def study(tmp_path: Path, drawn_path: Path) -> Path:
    other = draw_slide(tmp_path / "b.tif", size_px=SIZE_PX, seed=1)
    with Project.create(tmp_path / "study.unisem", classes=list(CLASSES)) as project:
        project.add_slide(drawn_path)
        project.add_slide(other)
        return project.root


def _play(study: Path, ledger: Path, part: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PLAYED), str(study), str(ledger), part, *FAKE_ENGINE],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "FAKE_STEP_S": "0.002"},
    )


def _lines(player: subprocess.Popen[str]):
    for line in player.stdout:
        if line.startswith("{"):
            yield json.loads(line)


@pytest.mark.timeout(400)
def test_the_project_holds_what_the_person_did(study: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir()
    acts = []
    with _play(study, ledger, "morning") as player:
        for act in _lines(player):
            acts.append(act)
            if sum(each["act"] == "stroke" for each in acts) == STROKES:
                os.kill(player.pid, signal.SIGKILL)
                break
        acts += list(_lines(player))  # what it said until it was killed
    strokes = [each for each in acts if each["act"] == "stroke"]
    assert len(strokes) >= STROKES
    begun = next(each["region"] for each in acts if each["act"] == "begin")
    drafts = list((study / "drafts").glob(f"region-{begun}*.npz"))
    assert drafts, "what was painted before the kill is gone"
    with np.load(drafts[0]) as draft:
        values = draft["values"]
    last: dict[tuple[int, int], int] = {}
    for each in strokes:
        if each["at"] < strokes[-1]["at"] - KEPT_S:
            y, x, value = each["pixel"]
            last[y, x] = value
    assert len(last) >= 3
    # A later stroke may have gone over it: then another class is there, but never none.
    assert all(values[place] for place in last)

    with _play(study, ledger, "evening") as player:
        evening = list(_lines(player))
    assert player.returncode == 0
    assert evening[-1]["act"] == "end"
    assert evening[0] == {"act": "restored", "region": begun, "restored": True}
    acts += evening
    _compare(study, ledger, acts)


def _compare(study: Path, ledger: Path, acts: list[dict]) -> None:
    """Compare the project with what was seen and noted outside of it."""
    labels: dict[str, np.ndarray] = {}
    agreed: list[float] = []
    sent: dict[int, np.ndarray] = {}
    with Project.open(study) as project:
        for record in project.slides():
            labels[record.name] = np.zeros(record.shape_yx, np.uint8)
        for act in acts:
            if "n" not in act:
                continue
            with np.load(ledger / f"{act['n']}.npz") as kept:
                seen = kept["values"]
            labels[act["slide"]][Rect(*act["rect"]).slices] = seen
            if act["act"] == "send":
                sent[act["region"]] = seen
            if act["act"] == "agree":
                first = sent[act["region"]]
                either = (first > 0) | (seen > 0)
                agreed.append(float((first == seen)[either].mean()))
        for name, expected in labels.items():
            store = project.labels(name)
            held = store.read(Rect(0, 0, *expected.shape))
            assert np.array_equal(held, expected), f"labels of {name}"
            origins = store.read_origin(Rect(0, 0, *expected.shape))
            assert ((origins != Origin.NONE) == (held > 0)).all()
        done = {each["region"] for each in acts if each["act"] in {"accept", "send"}}
        accepted = {each.id for each in project.regions(state=RegionState.ACCEPTED)}
        assert accepted == done
        skipped = {each["region"] for each in acts if each["act"] == "skip"}
        assert {each.id for each in project.regions(state=RegionState.SKIPPED)} == skipped
        rounds = [each for each in acts if each["act"] == "train"]
        assert [each["state"] for each in rounds] == ["done"] * 3
        assert [each.number for each in project.rounds()] == [each["round"] for each in rounds]
        readings = [each.agreement for each in project.second_readings()]
        assert readings == pytest.approx(agreed)
        assert readings[0] == 1.0
        assert 0 < readings[1] < 1
        assert set(project.edit_persons().values()) == {"A. First", "B. Second"}
