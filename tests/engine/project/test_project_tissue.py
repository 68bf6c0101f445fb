"""The tissue of a slide: found once, kept, and put right by a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import Project, TissueChange, TissueStore
from unisemalign.project import tissue as tissue_room
from unisemalign.runtime import files
from unisemalign.slides import tissue_mask

SHAPE = 75, 100
"""Of the mask: 600 × 800 px of 1 µm, at 8 µm."""


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Project]:
    """A project with one slide: pink on the left, glass on the right."""
    pixels = np.full((600, 800, 3), 244, np.uint8)
    pixels[:, :400] = (214, 150, 196)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p.unisem", classes=["x", "y"], spacing_um=1.0) as made:
        made.add_slide(tmp_path / "a.png", spacing_um=1.0)
        yield made


@pytest.fixture
def values() -> np.ndarray:
    """Tissue in the top right corner, none in the top left one."""
    values = np.zeros(SHAPE, np.uint8)
    values[:20, :30] = TissueChange.NOT_TISSUE
    values[:20, 80:] = TissueChange.TISSUE
    return values


def test_without_a_correction_the_tissue_is_as_found(study: Project) -> None:
    mask = study.tissue("a")
    assert mask.mask.shape == SHAPE
    assert mask.mask.mean() == pytest.approx(0.5, abs=0.02)
    assert mask.skipped is None
    assert np.array_equal(mask.mask, tissue_mask(study.open_slide("a")).mask)
    assert TissueStore(study.root).stamp("a") is None


def test_a_correction_lies_on_top_and_outlives_the_session(study: Project, values) -> None:
    found = study.tissue("a").mask
    TissueStore(study.root).correct("a", values, 8.0)
    study.close()
    with Project.open(study.root) as again:
        mask = again.tissue("a")
        assert not mask.mask[:20, :30].any()
        assert mask.mask[:20, 80:].all()
        assert np.array_equal(mask.mask[20:], found[20:])
        assert np.array_equal(mask.skipped, values == TissueChange.NOT_TISSUE)
        assert mask.fraction(Rect(0, 0, 160, 240)) == 0
        assert mask.fraction(Rect(0, 640, 160, 160)) == 1
        TissueStore(again.root).correct("a", np.zeros_like(values), 8.0)
        assert np.array_equal(again.tissue("a").mask, found)
    assert not list(study.root.glob("tissue/*"))


def test_a_correction_changes_its_stamp(study: Project, values) -> None:
    store = TissueStore(study.root)
    store.correct("a", values, 8.0)
    first = store.stamp("a")
    store.correct("a", values[::-1].copy(), 8.0)
    assert None is not first != store.stamp("a")


def test_a_correction_made_at_another_spacing_is_resampled(study: Project, values) -> None:
    store = TissueStore(study.root)
    store.correct("a", values, 8.0)
    expected = study.tissue("a")
    fine = np.repeat(np.repeat(values, 2, axis=0), 2, axis=1)
    store.correct("a", fine, 4.0)
    got = study.tissue("a")
    assert np.array_equal(got.mask, expected.mask)
    assert np.array_equal(got.skipped, expected.skipped)
    store.correct("a", values[:74:2, ::2].copy(), 16.0)  # one row short: the edge
    assert not study.tissue("a").mask[:18, :28].any()


def test_a_correction_of_another_slide_is_told(study: Project, values) -> None:
    TissueStore(study.root).correct("a", values[:, :50].copy(), 8.0)
    with pytest.raises(ProjectError, match="600 × 400 µm, found one of 600 × 800 µm"):
        study.tissue("a")


def test_a_damaged_correction_is_told_not_dropped(study: Project, values) -> None:
    TissueStore(study.root).correct("a", values, 8.0)
    path = study.root / "tissue" / "a.npz"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ProjectError, match="is damaged"):
        study.tissue("a")
    whole = {"spacing_um": np.array(8.0), "shape": np.array(SHAPE)}
    plane = np.ones(938, np.uint8)
    for wrong in (
        {"tissue": np.array([{}], object), "skipped": plane},
        {"tissue": plane[:-1], "skipped": plane},
        {"tissue": plane, "skipped": plane},  # both at once
        {"tissue": plane},
    ):
        np.savez(path, **whole, **wrong)
        with pytest.raises(ProjectError, match="is damaged"):
            study.tissue("a")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (np.full(SHAPE, 3, np.uint8), "found 3"),
        (np.zeros(SHAPE, int), "found int64"),
        (np.zeros((1, *SHAPE), np.uint8), "shape"),
    ],
)
def test_what_is_no_correction_is_refused(study: Project, wrong, told: str) -> None:
    with pytest.raises(DataError, match=told):
        TissueStore(study.root).correct("a", wrong, 8.0)
    assert not (study.root / "tissue").exists()


def test_a_correction_is_not_written_where_the_project_was(study: Project, values) -> None:
    study.root.rename(study.root.with_name("moved"))
    with pytest.raises(FileNotFoundError):
        TissueStore(study.root).correct("a", values, 8.0)
    assert not study.root.exists()


def test_what_was_found_is_kept_until_the_file_changes(study: Project, monkeypatch) -> None:
    found = study.tissue("a").mask
    asked = []

    def finding(slide):
        asked.append(slide)
        return tissue_mask(slide)

    monkeypatch.setattr(tissue_room, "tissue_mask", finding)
    assert np.array_equal(study.tissue("a").mask, found)
    assert not asked
    os.utime(study.slide("a").path, ns=(1, 1))
    study.tissue("a")
    assert len(asked) == 1
    study.tissue("a")
    assert len(asked) == 1
    monkeypatch.setattr(tissue_room, "FOUND_VERSION", tissue_room.FOUND_VERSION + 1)
    study.tissue("a")
    assert len(asked) == 2
    (study.root / "cache" / "tissue" / "a.npz").write_bytes(b"torn")
    assert np.array_equal(study.tissue("a").mask, found)
    assert len(asked) == 3


def test_without_room_for_the_cache_tissue_is_found_again(study: Project) -> None:
    (study.root / "cache").write_bytes(b"in the way")
    assert study.tissue("a").mask.any()


def test_a_slide_that_leaves_takes_its_tissue_along(study: Project, values) -> None:
    study.tissue("a")
    TissueStore(study.root).correct("a", values, 8.0)
    study.remove_slide("a")
    assert not list(study.root.rglob("*.npz"))


def test_a_correction_that_would_fill_the_memory_is_refused(study, monkeypatch):
    store = TissueStore(study.root)
    store.correct("a", np.ones((50, 50), np.uint8), 8.0)
    monkeypatch.setattr(files.check_archive, "__defaults__", (100,))
    with pytest.raises(ProjectError, match="tissue correction .* is damaged"):
        study.tissue("a")


@pytest.mark.parametrize("spacing_um", [0.0, -1.0, float("nan"), float("inf")])
def test_a_correction_without_a_pixel_size_is_refused(study, spacing_um):
    TissueStore(study.root).correct("a", np.ones((50, 50), np.uint8), spacing_um)
    with pytest.raises(ProjectError, match="tissue correction .* is damaged"):
        study.tissue("a")
