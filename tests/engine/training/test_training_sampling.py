"""Which regions and slides crops come from. Source: methods.md A6."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from unisemalign.geometry import Rect
from unisemalign.methods import Needs
from unisemalign.settings import build_settings
from unisemalign.training.batches import Batches

LABELLED, UNLABELLED, BATCH = 3, 11, 4


class Area:
    """Stands for a slide; tells who was drawn, and how."""

    def __init__(self, name, told, side):
        self.name, self.told = name, told
        self.rect = Rect(0, 0, side, side)
        self.area_px = float(side * side)

    def draw(self, side, rng, *, tissue_alone=True):
        self.told.append((self.name, tissue_alone))
        return Rect(0, 0, side, side)


@pytest.fixture
def drawn(monkeypatch):
    """Returns the names drawn in some steps: labelled, then unlabelled and donors."""

    def draw(sampling, steps):
        told, labelled = [], []

        def resized(self, area, rect):
            if area.name < 100:
                labelled.append(area.name)
            return np.zeros((32, 32, 3), np.uint8), np.ones((32, 32), np.uint8)

        monkeypatch.setattr(Batches, "_resized", resized)
        overrides = {"views.crop_px": 32, "training.sampling": sampling}
        chosen = build_settings("paper", overrides=overrides)
        sides = [32, 32, 320]
        tissue = SimpleNamespace(
            labelled=[Area(k, told, sides[k % 3]) for k in range(LABELLED)],
            unlabelled=[Area(100 + k, told, sides[k % 3]) for k in range(UNLABELLED)],
        )
        needs = Needs(unlabelled=True, drawn_donor=True, strong_views=1)
        batches = Batches(tissue, chosen, needs)
        for step in steps:
            batches.draw(step)
        weak = [one for k in range(len(steps)) for one in told[8 * k : 8 * k + 4]]
        donors = [one for k in range(len(steps)) for one in told[8 * k + 4 : 8 * k + 8]]
        return labelled, weak, donors

    return draw


def test_as_published_each_slide_comes_once_an_epoch_glass_or_not(drawn):
    """⌊11 ÷ 4⌋ = 2 steps an epoch; the three that are left over wait for the next one."""
    orders = []
    for epoch in range(12):
        labelled, weak, donors = drawn("image", [2 * epoch, 2 * epoch + 1])
        names = [name for name, _ in weak]
        assert len(set(names)) == len({name for name, _ in donors}) == 2 * BATCH
        assert not any(alone for _, alone in weak + donors)
        assert names != [name for name, _ in donors]
        orders.append(tuple(names))
        # Three regions fill a list as long as the unlabelled one: three or four times each.
        assert max(Counter(labelled).values()) <= 4
    assert len(set(orders)) == 12
    assert set(sum(orders, ())) == set(range(100, 100 + UNLABELLED))


def test_else_large_regions_and_slides_come_oftener(drawn):
    labelled, weak, _ = drawn("area", range(30))
    assert Counter(labelled)[2] > 100
    large = sum(name % 100 % 3 == 2 for name, _ in weak)
    assert large > 100
    assert all(alone for _, alone in weak)
