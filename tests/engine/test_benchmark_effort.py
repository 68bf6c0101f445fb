"""What a person's regions bring: who is asked where, what is counted, and what a stop leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.engine.test_benchmark import FLAGS, data, invoke, run  # noqa: F401
from unisemalign.active import rank_regions
from unisemalign.benchmark.effort import EffortChoice, measure_effort, regions_to
from unisemalign.benchmark.region_choice import (
    answer,
    asked,
    draw_places,
    first_places,
    next_places,
)
from unisemalign.datasets import read_dataset
from unisemalign.errors import CancelledError, DataError, SettingsError
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, RegionState, Split
from unisemalign.runtime import CancelToken, SilentEvents

SMALL = ["--rounds=1", "--first=2", "--more=2", "--side=32", "--seeds=0"]


@pytest.fixture
def glas(data):  # noqa: F811
    return read_dataset("glas", data, 10)


@pytest.fixture
def answers(glas, tmp_path):
    with glas.open_answers(tmp_path / "answers.unisem", "embedded", "free") as project:
        yield project


@pytest.fixture
def pool(glas, tmp_path):
    with glas.open_pool(tmp_path / "pool.unisem", "embedded", "free") as project:
        yield project


def overlap(places):
    return any(
        a_name == b_name and a.intersect(b).area
        for k, (a_name, a) in enumerate(places)
        for b_name, b in places[k + 1 :]
    )


def test_the_pool_is_unlabelled_and_the_answers_are_the_masks(pool, answers, data):  # noqa: F811
    assert {s.name for s in pool.slides(Split.TRAIN)} == {"train_0", "train_1", "train_2"}
    assert [s.name for s in pool.slides(Split.VAL)] == ["train_3"]
    assert not pool.regions(split=Split.TRAIN)
    truth = np.asarray(Image.open(data / "masks" / "train_1.png").convert("L")) > 0
    whole = Rect(0, 0, *truth.shape)
    assert np.array_equal(answers.labels("train_1").read(whole), truth + 1)


def test_a_person_begins_where_every_class_is_seen(answers):
    for seed in range(5):
        places = first_places(answers, 2, 32, seed)
        seen = {v for name, rect in places for v in np.unique(answers.labels(name).read(rect))}
        assert {1, 2} <= seen
        assert not overlap(places)
        assert places == first_places(answers, 2, 32, seed)


def test_answers_are_acts_of_a_person_and_white_places_are_skipped(pool, answers):
    places = first_places(answers, 2, 32, 0)
    answer(pool, answers, places)
    for name, rect in places:
        assert np.array_equal(pool.labels(name).read(rect), answers.labels(name).read(rect))
        assert (pool.labels(name).read_origin(rect) == Origin.DRAWN).all()
    assert {(r.slide, r.rect) for r in asked(pool)} == set(places)
    name, rect = draw_places(pool, 1, 32, np.random.default_rng(3), taken=places)[0]
    nothing = LabelEdit(rect, np.zeros(rect.shape, np.uint8), Origin.DRAWN)
    answers.accept(name, [nothing], action="accept")
    answer(pool, answers, [(name, rect)])
    assert pool.regions(state=RegionState.SKIPPED)[0].rect == rect
    assert len(asked(pool)) == 3


def test_places_by_chance_keep_off_each_other_and_end_when_nothing_is_left(pool):
    rng = np.random.default_rng(0)
    places = draw_places(pool, 500, 48, rng, taken=[])
    assert 3 < len(places) < 500
    assert not overlap(places)
    shapes = {s.name: s.shape_yx for s in pool.slides()}
    for name, rect in places:
        assert rect.y + rect.h <= shapes[name][0]
        assert rect.x + rect.w <= shapes[name][1]


def test_arms_ask_where_they_say(pool, answers):
    number = pool.new_round(method="m", preset="p").number
    pool.set_round(number, state="done")
    for slide in pool.slides(Split.TRAIN):
        whole = Rect(0, 0, *slide.shape_yx)
        store = pool.predictions(number, slide.name, create=True)
        confidence = np.full(whole.shape, 255, np.uint8)
        disagreement = np.zeros(whole.shape, np.uint8)
        if slide.name == "train_1":
            confidence[:32, :32] = 100
        if slide.name == "train_2":
            confidence[:32, :32] = 120
            disagreement[:32, :32] = 1
        planes = {"confidence": confidence, "disagreement": disagreement}
        store.write(whole, classes=np.ones(whole.shape, np.uint8), **planes)
    rng = np.random.default_rng(0)
    by_doubt = next_places(pool, "doubt", 1, 32, rng, number)
    by_queue = next_places(pool, "queue", 1, 32, rng, number)
    assert by_doubt == [("train_1", Rect(0, 0, 32, 32))]
    assert by_queue == [("train_2", Rect(0, 0, 32, 32))]
    assert [r.slide for r in rank_regions(pool, number, count=1, size_px=32)] == ["train_2"]


@pytest.mark.parametrize(
    ("points", "wanted", "found"),
    [
        ([(2, 50.0), (6, 70.0), (10, 90.0)], 80, 8),
        ([(2, 85.0), (6, 70.0), (10, 90.0)], 80, 8),  # it fell again
        ([(2, 85.0), (6, 86.0)], 80, 2),
        ([(2, 85.0), (6, 79.0)], 80, None),
        ([], 80, None),
    ],
)
def test_regions_to_arrive(points, wanted, found):
    assert regions_to(points, wanted) == found


def test_the_verb_measures_every_arm_and_reads_what_is_there(data, tmp_path):  # noqa: F811
    flags = ["--data", f"glas={data}", "--out", tmp_path / "runs", *SMALL, *FLAGS]
    told = run("effort", *flags)
    rows = {row["arm"]: row for row in told[-1]["rows"]}
    assert set(rows) == {"queue", "forest", "doubt", "random"}
    begun = {json.dumps(row["points"][0]["mdice"]) for arm, row in rows.items() if "for" not in arm}
    assert len(begun) == 1, "all arms begin alike"
    for row in rows.values():
        assert [p["regions"] for p in row["points"]] == [2, 4]
        assert 0 < row["points"][0]["share"] < row["points"][1]["share"] < 100
        assert 0 <= row["points"][1]["mdice"]["mean"] <= 100
        assert row["full"]["mean"] > 0
    page = Path(told[-1]["report"]).read_text(encoding="utf-8")
    assert all(arm in page for arm in rows)
    assert page.count('<polyline class="curve') == 2 * len(rows)
    again = run("effort", *flags)
    assert not [event for event in again if event["event"] == "step"]
    assert again[-1] == told[-1]
    text = invoke("benchmark", "effort", *flags)
    assert "regions to arrive" in text
    longer = run("effort", *flags, "--rounds=2")
    queue = next(row for row in longer[-1]["rows"] if row["arm"] == "queue")
    assert [p["regions"] for p in queue["points"]] == [2, 4, 6]
    assert queue["points"][:2] == rows["queue"]["points"], "a longer study goes on"


def test_a_stopped_study_goes_on_where_it_was(data, tmp_path):  # noqa: F811
    flags = [flag.removeprefix("--set=") for flag in FLAGS]
    choice = EffortChoice(
        data={"glas": data}, seeds=[0], out=tmp_path / "runs", arms=["random"], rounds=1,
        side_px=32, forest=False, overrides=flags,
    )  # fmt: skip
    token = CancelToken()

    class StopsInRoundTwo:
        def emit(self, event):
            if "2 regions" in str(getattr(event, "text", "")):
                token.request()

    with pytest.raises(CancelledError):
        measure_effort(choice, events=StopsInRoundTwo(), cancel=token)
    whole = measure_effort(choice, events=SilentEvents(), cancel=CancelToken())
    assert [p["regions"] for p in whole["rows"][0]["points"]] == [2, 6]


def test_bad_wishes_are_told(data, tmp_path, monkeypatch):  # noqa: F811
    flags = ["--data", f"glas={data}", "--out", tmp_path / "runs", *SMALL]
    told = run("effort", *flags, "--arms", "queue,best", status=1)[-1]
    assert "found 'best'" in str(told)
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(SettingsError, match="scikit-learn"):
        measure_effort(
            EffortChoice(data={"glas": data}, seeds=[0], out=tmp_path / "runs"),
            events=SilentEvents(),
            cancel=CancelToken(),
        )
    for mask in (data / "masks").glob("train_[012].png"):
        mask.unlink()
    with pytest.raises(DataError):
        read_dataset("glas", data, 10)
