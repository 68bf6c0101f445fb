"""What a person marks as no tissue is not learned from."""

import numpy as np
import torch

from tests.engine.conftest import QUICK
from unisemalign.geometry import Rect
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.project import Project, TissueChange, TissueStore
from unisemalign.settings import build_settings
from unisemalign.training.batches import Batches
from unisemalign.training.tissue import open_tissue

PLAIN = {"views.scale_min": 1.0, "views.scale_max": 1.0}


def batches_of(study: Project) -> Batches:
    chosen = build_settings(overrides={**QUICK, **PLAIN})
    method = build_method(build_network(["a", "b"], chosen.model), chosen)
    return Batches(open_tissue(study), chosen, method.needs)


def marked(study: Project, name: str, columns: slice) -> None:
    values = np.zeros((12, 16), np.uint8)
    values[:, columns] = TissueChange.NOT_TISSUE
    TissueStore(study.root).correct(name, values, 8.0)


def test_unlabelled_crops_keep_to_what_is_left(study: Project) -> None:
    marked(study, "a", slice(0, 16))
    marked(study, "b", slice(4, 16))
    tissue = open_tissue(study)
    (area,) = tissue.unlabelled
    assert area.slide.slide.path.stem == "b"
    assert area.area_px == 192 * 64
    drawn = [area.draw(32, np.random.default_rng(seed)) for seed in range(20)]
    assert all(rect.x < 64 for rect in drawn)


def test_skipped_pixels_of_a_crop_do_not_count(study: Project) -> None:
    whole = batches_of(study).draw(0)
    assert whole.unlabelled is not None
    assert whole.unlabelled.valid.all()
    marked(study, "a", slice(0, 16))
    marked(study, "b", slice(8, 16))
    batches = batches_of(study)
    (area,) = open_tissue(study).unlabelled
    pixels, inside = batches._resized(area, Rect(10, 100, 64, 64))
    assert (inside[:, :28] == 1).all()
    assert (inside[:, 28:] == 0).all()
    assert np.array_equal(pixels, area.slide.read(Rect(10, 100, 64, 64)))
    valid = torch.stack([batches.draw(step).unlabelled.valid for step in range(6)])
    assert 0 < valid.float().mean() < 1
