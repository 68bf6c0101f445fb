"""Segmenting again after the tissue was corrected."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.conftest import QUICK
from unisemalign.geometry import Rect
from unisemalign.inference import Predictor, predict_split, segment_slide
from unisemalign.model import build_network
from unisemalign.project import (
    LabelEdit,
    Origin,
    PredictionStore,
    Project,
    Split,
    TissueChange,
    TissueStore,
)
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings

SHAPE = 1500, 400
MASK = 94, 25
"""The slide at 8 µm."""


@pytest.fixture
def study(tmp_path):
    """A project with a slide of three bands, all tissue, and a round."""
    rng = np.random.default_rng(3)
    pixels = np.array([200, 130, 180]) + rng.normal(0, 20, (*SHAPE, 3))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p.unisem", classes=["x", "y"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        project.new_round(method="unisemalign", preset="recommended")
        yield project


@pytest.fixture(scope="module")
def predictor():
    return predictor_with()


def predictor_with(**more):
    settings = build_settings(overrides={**QUICK, **more})
    torch.manual_seed(0)
    network = build_network(["x", "y"], settings.model)
    return Predictor(network, settings, torch.device("cpu"), "a model")


class Written:
    """Notes which rectangles were stored."""

    def __init__(self):
        self.rects = []

    def emit(self, event):
        if event.event == "written":
            self.rects.append(event.rect)


def segmented(study, predictor, events=None, **where):
    return segment_slide(
        study, "a", predictor, 1, events=events or SilentEvents(), cancel=CancelToken(), **where
    )


def stored(study):
    """Every file of the prediction, and its note."""
    folder = study.root / "predictions" / "1"
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def correct(study, rows, columns, change):
    values = np.zeros(MASK, np.uint8)
    values[rows, columns] = change
    TissueStore(study.root).correct("a", values, 8.0)


def test_only_what_a_correction_changes_is_done_again_and_ends_as_if_fresh(study, predictor):
    segmented(study, predictor)
    as_found = stored(study)
    correct(study, slice(66, 94), slice(0, 25), TissueChange.NOT_TISSUE)
    seen = Written()
    assert segmented(study, predictor, seen).fresh
    # The corrected part begins at row 1056: the band above 1024 is within a window's reach.
    assert seen.rects == [Rect(512, 0, 512, 400), Rect(1024, 0, 476, 400)]
    store = study.predictions(1, "a")
    assert (store.read(Rect(0, 0, 1056, 400)) > 0).all()
    assert not store.read(Rect(1056, 0, 444, 400)).any()
    assert not segmented(study, predictor).fresh
    again = stored(study)
    study.remove_prediction(1, "a")
    segmented(study, predictor)
    assert again == stored(study)
    assert again != as_found
    correct(study, slice(0), slice(0), TissueChange.AS_FOUND)
    segmented(study, predictor)
    assert stored(study) == as_found


def test_a_part_of_a_window_is_skipped_too(study, predictor):
    segmented(study, predictor)
    correct(study, slice(40, 44), slice(10, 14), TissueChange.NOT_TISSUE)
    segmented(study, predictor)
    there = np.zeros(SHAPE, bool)
    there[640:704, 160:224] = True
    store = study.predictions(1, "a")
    for what in ("class", "confidence"):
        assert np.array_equal(store.read(Rect(0, 0, *SHAPE), what) == 0, there)


def test_neither_map_nor_scores_know_glass(tmp_path, predictor):
    rng = np.random.default_rng(3)
    pixels = np.array([200, 130, 180]) + rng.normal(0, 20, (400, 400, 3))
    pixels[:, 208:] = 244
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p.unisem", classes=["x", "y"], spacing_um=1) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=1, split=Split.VAL)
        project.new_round(method="unisemalign", preset="recommended")
        truth = np.full((400, 400), 1, np.uint8)
        whole = Rect(0, 0, 400, 400)
        project.accept(
            "a", [LabelEdit(whole, truth, Origin.DRAWN, regions=(whole,))], action="draw"
        )
        segmented(project, predictor)
        classes = project.predictions(1, "a").read(Rect(0, 0, 400, 400))
        # The edge is smoothed over a pixel of the mask, 8 of the slide's.
        assert classes[:, :200].all()
        assert not classes[:, 216:].any()
        (region,) = predict_split(project, predictor, Split.VAL)
        assert np.array_equal(region.predicted == 255, classes == 0)
        assert np.array_equal(region.truth == 255, classes == 0)
        glass_too = predictor_with(**{"inference.skip_glass": False})
        (region,) = predict_split(project, glass_too, Split.VAL)
        assert (region.truth == 0).all()
        assert (region.predicted < 2).all()


def test_a_view_follows_the_correction(study, predictor):
    segmented(study, predictor)
    correct(study, slice(0, 94), slice(0, 25), TissueChange.NOT_TISSUE)
    view = Rect(600, 100, 200, 200)
    segmented(study, predictor, rect=view)
    store = study.predictions(1, "a")
    assert not store.read(view).any()
    assert store.read(Rect(0, 0, 512, 400)).all()
    segmented(study, predictor)
    assert not store.predicted_rects()


def test_a_stop_while_redoing_leaves_nothing_stale(study, predictor, monkeypatch):
    segmented(study, predictor)
    as_found = stored(study)
    correct(study, slice(0, 94), slice(0, 12), TissueChange.NOT_TISSUE)
    plain = PredictionStore.write_finished

    def killed(self, told):
        if told.finished:  # one band is stored, and not noted yet
            raise KeyboardInterrupt
        plain(self, told)

    with monkeypatch.context() as patch:
        patch.setattr(PredictionStore, "write_finished", killed)
        with pytest.raises(KeyboardInterrupt):
            segmented(study, predictor)
    assert stored(study) != as_found
    correct(study, slice(0), slice(0), TissueChange.AS_FOUND)
    assert segmented(study, predictor).fresh
    assert stored(study) == as_found
