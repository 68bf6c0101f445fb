"""A class is merged into another: every label of it on every slide, taken back slide by slide."""

import numpy as np
import pytest
from PIL import Image

from unisemalign.errors import DataError
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, RegionState, merge_classes

WHOLE = Rect(0, 0, 600, 40)


@pytest.fixture
def project(tmp_path):
    rng = np.random.default_rng(0)
    with Project.create(tmp_path / "s.unisem", classes=["x", "y", "z"]) as made:
        for name in ("a", "b", "empty"):
            path = tmp_path / f"{name}.png"
            Image.fromarray(rng.integers(0, 255, (600, 40, 3), np.uint8)).save(path)
            made.add_slide(path, spacing_um=0.5)
            if name != "empty":
                values = rng.integers(0, 4, WHOLE.shape, np.uint8)
                origin = np.where(values > 0, Origin.IMPORTED, Origin.NONE).astype(np.uint8)
                edit = LabelEdit(WHOLE, values, origin, regions=(WHOLE,))
                made.accept(name, [edit], action="accept")
        yield made


def test_every_label_of_a_class_becomes_another(project):
    before = {name: project.labels(name).read(WHOLE) for name in ("a", "b")}
    origin = project.labels("a").read_origin(WHOLE)
    assert merge_classes(project, 3, 1) == 2
    for name, values in before.items():
        expected = np.where(values == 3, 1, values)
        assert np.array_equal(project.labels(name).read(WHOLE), expected)
    assert np.array_equal(project.labels("a").read_origin(WHOLE), origin)
    assert [each.state for each in project.regions()] == [RegionState.ACCEPTED] * 2
    assert merge_classes(project, 3, 1) == 0  # nothing is left of it
    for _ in range(2):
        assert project.undo().action == "merge classes"
    for name, values in before.items():
        assert np.array_equal(project.labels(name).read(WHOLE), values)


@pytest.mark.parametrize(
    ("value", "into", "words"), [(2, 2, "twice"), (0, 1, "found 0"), (1, 4, "found 4")]
)
def test_what_cannot_be_merged_is_a_sentence(project, value, into, words):
    with pytest.raises(DataError, match=words):
        merge_classes(project, value, into)
