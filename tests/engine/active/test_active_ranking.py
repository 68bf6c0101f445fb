"""The queue: where the doubt is, and nowhere else."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unisemalign.active import RankingWeights, cells, rank_regions
from unisemalign.active.likeness import mean_colors
from unisemalign.active.reasons import explain
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, Project, RegionState, Split
from unisemalign.project.predictions import PredictionStore

SHAPE = (1100, 1300)
WHOLE = Rect(0, 0, *SHAPE)


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "p", classes=["glass", "gland", "stroma"]) as made:
        for name in ("a", "b"):
            _add(made, tmp_path, name, SHAPE)
        made.new_round(method="m", preset="p")
        yield made


def _add(project: Project, folder: Path, name: str, shape_yx: tuple[int, int]) -> None:
    Image.new("RGB", shape_yx[::-1]).save(folder / f"{name}.png")
    project.add_slide(folder / f"{name}.png", spacing_um=0.5)


def _predict(
    project: Project,
    name: str,
    doubts: list[tuple[Rect, int]],
    rect: Rect = WHOLE,
    number: int = 1,
) -> None:
    """Predict gland with full confidence, but less under ``doubts``."""
    confidence = np.full(SHAPE, 255, np.uint8)
    for where, value in doubts:
        confidence[where.slices] = value
    store = project.predictions(number, name, create=True)
    store.write(
        rect,
        classes=np.full(rect.shape, 2, np.uint8),
        confidence=confidence[rect.slices],
        disagreement=np.zeros(rect.shape, np.uint8),
    )


def _overlaps(a: Rect, b: Rect) -> bool:
    return a.intersect(b).area > 0


def test_the_doubtful_place_comes_first(project):
    _predict(project, "a", [(Rect(512, 640, 256, 256), 60), (Rect(0, 0, 256, 256), 160)])
    queue = rank_regions(project, 1, count=2)
    assert [each.rect for each in queue] == [Rect(512, 640, 256, 256), Rect(0, 0, 256, 256)]
    assert queue == project.regions(state=RegionState.PREDICTED)
    assert queue[0].reason == "all gland: model unsure on 100 %"
    assert queue[0].score == pytest.approx(0.5 * (1 - 60 / 255), abs=0.01)
    assert (queue[0].round, queue[0].split) == (1, Split.TRAIN)


def test_each_place_is_ranked_by_the_newest_round_that_has_been_there(project):
    _predict(project, "a", [(Rect(0, 0, 256, 256), 60), (Rect(512, 640, 256, 256), 90)])
    project.new_round(method="m", preset="p")
    _predict(project, "a", [(Rect(0, 0, 128, 128), 100)], Rect(0, 0, 256, 512), number=2)
    first, *rest = rank_regions(project, count=6)
    assert (first.rect, first.round) == (Rect(512, 640, 256, 256), 1)  # round 2 was not there
    newer = [each for each in rest if Rect(0, 0, 256, 512).intersect(each.rect) == each.rect]
    assert {each.round for each in newer} == {2}
    assert newer[0].score < first.score  # though round 1 doubted that place most
    assert {each.round for each in rank_regions(project, 1, count=6)} == {1}


def test_dissent_and_borders_count(project):
    _predict(project, "a", [])
    store = project.predictions(1, "a")
    rect = Rect(256, 256, 256, 256)
    classes = np.full(rect.shape, 2, np.uint8)
    classes[:, ::2] = 3
    store.write(
        rect,
        classes=classes,
        confidence=np.full(rect.shape, 255, np.uint8),
        disagreement=np.full(rect.shape, 3, np.uint8),
    )
    first = rank_regions(project, 1, count=1)[0]
    assert first.rect == rect
    assert (
        first.reason
        == "gland or stroma? prototypes disagree on 100 %; class vectors disagree on 100 %"
    )


def test_what_is_decided_is_left_alone(project):
    doubtful = Rect(256, 256, 512, 768)
    _predict(project, "a", [(doubtful, 10)])
    kept = [
        project.add_region("a", Rect(256, 256, 200, 200), state=RegionState.ACCEPTED).rect,
        project.add_region("a", Rect(256, 700, 100, 100), state=RegionState.SKIPPED).rect,
        project.add_region("a", Rect(600, 256, 50, 50), state=RegionState.REVIEW).rect,
    ]
    held_out = Rect(600, 900, 100, 124)
    kept.append(
        project.add_region("a", held_out, state=RegionState.UNLABELLED, split=Split.TEST).rect
    )
    labelled = Rect(500, 500, 1, 1)
    project.write_labels("a", labelled, np.ones((1, 1), np.uint8), Origin.DRAWN, action="draw")
    queue = rank_regions(project, 1, count=50)
    assert queue
    for region in queue:
        assert not any(_overlaps(region.rect, each) for each in [*kept, labelled])
    for a, b in itertools.combinations(queue, 2):
        assert not _overlaps(a.rect, b.rect)


def test_held_out_slides_are_not_offered(project):
    _predict(project, "a", [(WHOLE, 10)])
    project.set_slide_split("a", Split.VAL)
    with pytest.raises(ProjectError, match="found no training slide"):
        rank_regions(project, 1)


def test_mostly_unpredicted_tiles_are_not_offered(project):
    _predict(project, "a", [(WHOLE, 0)], Rect(0, 0, 300, 1300))
    queue = rank_regions(project, 1, count=50)
    assert queue
    for region in queue:
        assert region.rect.intersect(Rect(0, 0, 300, 1300)).area >= 0.5 * region.rect.area


def test_the_queue_spreads_over_slides(project):
    _predict(project, "a", [(WHOLE, 100)])
    _predict(project, "b", [(WHOLE, 120)])
    queue = rank_regions(project, 1, count=6)
    assert {each.slide for each in queue} == {"a", "b"}
    assert 2 <= sum(each.slide == "a" for each in queue) <= 4
    assert [each.score for each in queue] == sorted((each.score for each in queue), reverse=True)
    assert rank_regions(project, 1, count=6)[0].rect == queue[0].rect


@pytest.mark.parametrize("shape_yx", [(100, 90), (256, 256), (100, 600), (300, 40)])
def test_small_slides(project, tmp_path, shape_yx):
    _add(project, tmp_path, "small", shape_yx)
    store = project.predictions(1, "small", create=True)
    rect = Rect(0, 0, *shape_yx)
    store.write(
        rect,
        classes=np.full(shape_yx, 1, np.uint8),
        confidence=np.zeros(shape_yx, np.uint8),
        disagreement=np.zeros(shape_yx, np.uint8),
    )
    queue = rank_regions(project, 1)
    for region in queue:
        assert region.rect.shape == (min(256, shape_yx[0]), min(256, shape_yx[1]))
        assert rect.contains(region.rect)
    assert len(queue) == max(1, shape_yx[1] // 256)
    assert queue[0].score == pytest.approx(0.5)


def test_bad_wishes_are_told(project):
    with pytest.raises(ProjectError, match="no round 9"):
        rank_regions(project, 9)
    with pytest.raises(DataError, match="1 region or more"):
        rank_regions(project, 1, count=0)
    with pytest.raises(DataError, match="found 10 of 4"):
        rank_regions(project, 1, size_px=4)
    with pytest.raises(ProjectError, match="Segment one first"):
        rank_regions(project, 1)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 1500), st.integers(1, 1500)),
    size_px=st.integers(16, 400),
    band_px=st.sampled_from([1, 10_000, 4_000_000]),
)
def test_cells_cover_the_slide_and_tiles_lie_inside(tmp_path_factory, shape, size_px, band_px):
    folder = tmp_path_factory.mktemp("cells")
    store = PredictionStore.create(folder / "a.zarr", shape, 0.5)
    values = np.random.default_rng(0).integers(1, 4, shape, np.uint8)
    store.write(
        Rect(0, 0, *shape), classes=values, confidence=values, disagreement=np.zeros_like(values)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_BAND_PX", band_px)
        sums = cells.sum_cells(store, size_px // 2, 3)
    tiles = cells.tile_sums(sums.predicted)
    assert np.array_equal(sums.predicted, sums.pixels)
    assert sums.doubt.sum() == pytest.approx(
        sums.predicted.sum() * (1 - values.mean() / 255), rel=0.02
    )
    last = cells.tile_rect(tiles.shape[0] - 1, tiles.shape[1] - 1, size_px // 2, size_px, shape)
    # Two halves of an odd side are one pixel short of it.
    assert shape[0] - last.y1 <= size_px % 2
    assert shape[1] - last.x1 <= size_px % 2


@pytest.mark.parametrize(
    ("confidence", "disagreement", "sentence"),
    [
        (255, 0, "gland or stroma: nothing in doubt"),
        (100, 0, "gland or stroma? model unsure on 100 %"),
        (100, 1, "gland or stroma? model unsure on 100 %; prototypes disagree on 100 %"),
        (255, 2, "gland or stroma? words disagree on 100 %"),
    ],
)
def test_reasons(confidence, disagreement, sentence):
    classes = np.full((10, 10), 2, np.uint8)
    classes[7:] = 3
    told = explain(
        classes,
        np.full((10, 10), confidence, np.uint8),
        np.full((10, 10), disagreement, np.uint8),
        ["glass", "gland", "stroma"],
    )
    assert told == sentence


def test_a_reason_of_nothing_predicted():
    nothing = np.zeros((4, 4), np.uint8)
    words = np.full((4, 4), 2, np.uint8)
    sure, ones = np.full((4, 4), 255, np.uint8), np.ones((4, 4), np.uint8)
    assert explain(ones, sure, words, ["a", "b"]).endswith(": words disagree on 100 %")
    free = explain(ones, sure, words, ["a", "b"], reads_words=False)
    assert free.endswith(": class vectors disagree on 100 %")
    assert explain(nothing, nothing, nothing, ["a", "b"]) == "nothing predicted yet"


def test_slides_that_were_looked_at_come_later(project):
    _predict(project, "a", [(WHOLE, 100)])
    _predict(project, "b", [(WHOLE, 110)])
    assert rank_regions(project, 1, count=1)[0].slide == "a"
    project.add_region("a", Rect(800, 1000, 64, 64), state=RegionState.SKIPPED)
    assert rank_regions(project, 1, count=1)[0].slide == "b"
    once = RankingWeights(same_slide=1)
    assert rank_regions(project, 1, count=1, weights=once)[0].slide == "a"


def test_ten_of_one_kind_are_not_shown_in_a_row(project):
    stroma = Rect(0, 0, 256, 256)
    _predict(project, "a", [(WHOLE, 100), (stroma, 150)])
    store = project.predictions(1, "a")
    plane = np.full(stroma.shape, 3, np.uint8)
    store.write(
        stroma, classes=plane, confidence=plane * np.uint8(50), disagreement=plane * np.uint8(0)
    )
    kinds = [each.reason.split(":")[0] for each in rank_regions(project, 1, count=2)]
    assert kinds[0] == "all gland"
    assert "stroma" in kinds[1]
    alone = RankingWeights(variety=0, same_slide=1)
    kinds = [each.reason.split(":")[0] for each in rank_regions(project, 1, count=2, weights=alone)]
    assert kinds == ["all gland", "all gland"]


def test_what_the_last_round_changed_counts(project):
    _predict(project, "a", [])
    project.new_round(method="m", preset="p")
    _predict(project, "a", [], number=2)
    changed = Rect(512, 640, 256, 256)
    plane = np.full(changed.shape, 3, np.uint8)
    project.predictions(2, "a").write(
        changed, classes=plane, confidence=plane * np.uint8(85), disagreement=plane * np.uint8(0)
    )
    [first] = rank_regions(project, 2, count=1, weights=RankingWeights(borders=0))
    assert first.rect == changed
    assert first.score == pytest.approx(0.15, abs=0.01)
    [first] = rank_regions(project, 1, count=1, weights=RankingWeights(borders=0))
    assert first.score == 0


def test_tissue_of_one_colour_is_not_asked_for_again_and_again(tmp_path):
    pixels = np.full((*SHAPE, 3), (200, 160, 200), np.uint8)
    pixels[:, 650:] = (120, 70, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p", classes=["glass", "gland", "stroma"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        project.new_round(method="m", preset="p")
        _predict(project, "a", [(WHOLE, 110), (Rect(0, 0, 1100, 640), 100)])
        pink = [each.rect.x < 500 for each in rank_regions(project, 1, count=4)]
        assert sum(pink) == 2
        project.add_region("a", Rect(0, 0, 256, 256), state=RegionState.SKIPPED)
        [first] = rank_regions(project, 1, count=1)
        assert first.rect.x >= 640  # the pink half was looked at
        alone = RankingWeights(variety=0, same_slide=1)
        assert all(each.rect.x < 500 for each in rank_regions(project, 1, count=4, weights=alone))


def test_a_slide_that_cannot_be_read_is_ranked_without_its_colours(project, tmp_path):
    _predict(project, "a", [(Rect(512, 640, 256, 256), 60)])
    (tmp_path / "a.png").unlink()
    assert rank_regions(project, 1, count=1)[0].rect == Rect(512, 640, 256, 256)


def test_colours_are_means_of_the_place(tmp_path):
    pixels = np.full((300, 400, 3), 250, np.uint8)
    pixels[:, :200] = (100, 50, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p", classes=["x"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        rects = [Rect(0, 0, 64, 64), Rect(200, 300, 100, 100), Rect(40, 168, 64, 64)]
        dark, light, half = mean_colors(project, "a", rects, 64)
    assert np.allclose(dark, (100, 50, 20), atol=1)
    assert np.allclose(light, 250, atol=1)
    assert np.allclose(half, (175, 150, 135), atol=20)
