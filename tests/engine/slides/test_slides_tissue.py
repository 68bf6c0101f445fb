"""Tissue is found; glass, ink and folds are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unisemalign.geometry import Rect
from unisemalign.slides import SpacedSlide, TissueMask, open_slide, tissue_mask

SIDE = 160
PINK, PURPLE = (214, 150, 196), (110, 80, 150)


def glass() -> NDArray[np.uint8]:
    return np.random.default_rng(0).normal(243, 1.5, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)


def found(tmp_path: Path, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The mask of a picture whose pixels are 8 µm."""
    Image.fromarray(picture).save(tmp_path / "a.png")
    return tissue_mask(SpacedSlide(open_slide(tmp_path / "a.png", spacing_um=8.0), 8.0)).mask


def test_tissue_on_glass(tmp_path: Path) -> None:
    picture = glass()
    picture[40:120, 30:100] = PINK
    picture[60:80, 50:70] = PURPLE
    picture[90:94, 60:64] = 244  # a hole
    picture[10:12, 140:142] = PINK  # a speck
    mask = found(tmp_path, picture)
    assert mask[42:118, 32:98].all()
    assert mask.sum() == pytest.approx(80 * 70, rel=0.08)
    assert not mask[5:20, 130:150].any()


@pytest.mark.parametrize("ink", [(30, 60, 160), (20, 110, 60), (25, 25, 28)])
def test_ink_is_left_out(tmp_path: Path, ink: tuple[int, int, int]) -> None:
    picture = glass()
    picture[40:150, 30:100] = PINK
    picture[100:110, 5:155] = ink
    picture[5:25, 110:150] = ink
    mask = found(tmp_path, picture)
    assert not mask[100:110].any()
    assert not mask[:28].any()
    assert mask[44:92, 34:96].all()


def test_a_fold_is_left_out(tmp_path: Path) -> None:
    picture = glass()
    picture[20:140, 20:140] = PINK
    picture[60:66, 30:130] = (70, 20, 60)
    mask = found(tmp_path, picture)
    assert not mask[62:64, 40:120].any()
    assert mask[30:55, 30:130].all()


@pytest.mark.parametrize("pale", [PINK, (232, 205, 222)])
def test_an_image_of_tissue_alone_is_all_tissue(tmp_path: Path, pale: tuple[int, int, int]) -> None:
    picture = np.empty((SIDE, SIDE, 3), np.uint8)
    picture[:] = pale
    picture[:, : SIDE // 2] = PURPLE
    picture[50:60, 100:112] = 243  # a lumen
    assert found(tmp_path, picture).all()


def test_bare_glass_is_empty(tmp_path: Path) -> None:
    assert not found(tmp_path, glass()).any()
    assert not found(tmp_path, np.full((SIDE, SIDE, 3), 255, np.uint8)).any()


def test_fraction_is_the_exact_share() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:7] = True
    tissue = TissueMask(mask, spacing_um=8.0, working_spacing_um=0.5)
    assert tissue.fraction(Rect(32, 48, 48, 64)) == 1
    assert tissue.fraction(Rect(0, 0, 160, 160)) == pytest.approx(0.12)
    assert tissue.fraction(Rect(24, 48, 16, 64)) == pytest.approx(0.5)
    assert tissue.fraction(Rect(-80, -80, 320, 320)) == pytest.approx(12 * 256 / 320**2)
    assert tissue.fraction(Rect(500, 500, 20, 20)) == 0
    assert tissue.fraction(Rect(40, 60, 1, 1)) == 1
    assert tissue.fraction(Rect(40, 60, 0, 9)) == 0


def test_glass_beside_much_tissue_is_exactly_none() -> None:
    mask = np.zeros((300, 300), bool)
    mask[:, :171] = True
    tissue = TissueMask(mask, spacing_um=7.3, working_spacing_um=0.49)
    edge = 171 * 7.3 / 0.49
    for step in range(40):
        assert tissue.fraction(Rect(61 * step, int(edge) + 1 + step, 333, 217)) == 0
        assert tissue.fraction(Rect(61 * step, int(edge) - 2, 333, 217)) > 0


def test_skipped_pixels_are_those_of_the_mask() -> None:
    skipped = np.zeros((10, 10), bool)
    skipped[2, 3] = True
    tissue = TissueMask(~skipped, 8.0, 0.5, skipped)
    got = tissue.skipped_in(Rect(30, 40, 20, 30))
    assert got is not None
    expected = np.zeros((20, 30), bool)
    expected[2:18, 8:24] = True
    assert np.array_equal(got, expected)
    assert tissue.skipped_in(Rect(48, 0, 100, 160)) is None
    skipped[9, 9] = True
    hanging = tissue.skipped_in(Rect(150, 150, 40, 40))
    assert hanging is not None
    assert hanging.all()  # beyond the mask its last pixel counts
    assert TissueMask(~skipped, 8.0, 0.5).skipped_in(Rect(0, 0, 160, 160)) is None


def test_glass_is_told_pixel_by_pixel_and_a_lumen_is_tissue(tmp_path: Path) -> None:
    picture = glass()
    picture[40:120, 30:100] = PINK
    picture[70:80, 60:70] = 243  # a lumen of 80 µm
    Image.fromarray(picture).save(tmp_path / "a.png")
    slide = SpacedSlide(open_slide(tmp_path / "a.png", spacing_um=8.0), 8.0)
    tissue = tissue_mask(slide).at_spacing(2.0)
    got = tissue.glass_in(Rect(0, 0, 4 * SIDE, 4 * SIDE))
    assert got is not None
    assert got[: 4 * 38].all()
    assert not got[4 * 42 : 4 * 118, 4 * 32 : 4 * 98].any()
    assert tissue.glass_in(Rect(4 * 45, 4 * 40, 200, 200)) is None


@pytest.mark.parametrize("lamp", [1.0, 0.8, 0.66])
def test_glass_under_a_dim_lamp_is_glass_and_brown_stain_no_ink(tmp_path: Path, lamp: float):
    picture = glass().astype(np.float64)
    rng = np.random.default_rng(1)
    picture[40:150, 30:130] = (190, 160, 140)
    brown = rng.random((SIDE, SIDE)) < 0.4
    brown[:60], brown[130:], brown[:, :50], brown[:, 110:] = False, False, False, False
    picture[brown] = (110, 70, 45)
    mask = found(tmp_path, (lamp * picture).astype(np.uint8))
    assert mask[44:146, 34:126].all()
    assert not mask[:34].any()


def test_a_digest_tells_what_lies_under_a_rectangle_alone() -> None:
    mask = np.zeros((10, 10), bool)
    mask[2:5, 3:7] = True
    tissue = TissueMask(mask, 8.0, 0.5)
    here, there = Rect(-40, 40, 100, 90), Rect(100, 0, 60, 160)
    other = TissueMask(mask.copy(), 8.0, 0.5)
    other.mask[3, 6] = False
    assert tissue.digest(here) != other.digest(here)
    assert tissue.digest(there) == other.digest(there)
    skipped = np.zeros_like(mask)
    skipped[2, 4] = True
    assert tissue.digest(here) != TissueMask(mask, 8.0, 0.5, skipped).digest(here)
    assert tissue.digest(there) == TissueMask(mask, 8.0, 0.5, skipped).digest(there)
