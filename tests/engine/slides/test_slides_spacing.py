"""Reading at one working spacing: shape, registration, seams."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from slide_files import halved, write_png, write_tiff

from unisemalign.errors import SpacingError
from unisemalign.geometry import Rect
from unisemalign.slides import SpacedSlide, open_slide
from unisemalign.slides.levels import level_downsamples
from unisemalign.slides.spacing import sizes_from_resolution, sizes_um


def smooth(h: int, w: int) -> NDArray[np.uint8]:
    """A picture without detail finer than a few pixels: any sound resampling keeps it."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(h, w, 3)), (9, 9, 0))
    return np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(
    spacing_um=st.floats(0.2, 3.0),
    y=st.floats(0, 1),
    x=st.floats(0, 1),
    h=st.integers(1, 60),
    w=st.integers(1, 60),
)
def test_a_part_is_the_crop_of_the_whole(
    spacing_um: float, y: float, x: float, h: int, w: int
) -> None:
    with TemporaryDirectory() as folder:
        noise = np.random.default_rng(2).integers(0, 256, (260, 310, 3), np.uint8)
        path = write_tiff(Path(folder) / "a.tif", halved(noise, 2), 0.5)
        slide = SpacedSlide(open_slide(path), spacing_um)
        whole = slide.read(Rect(0, 0, *slide.shape_yx)).astype(int)
        rows, columns = slide.shape_yx
        rect = Rect(int(y * (rows - 1)), int(x * (columns - 1)), h, w)
        inside = rect.intersect(Rect(0, 0, *slide.shape_yx))
        read = slide.read(rect).astype(int)
        slide.slide.close()
    # Rows and columns are rounded one after the other, and the kernel overshoots: 1 may become 2.
    assert np.abs(read[inside.relative_to(rect).slices] - whole[inside.slices]).max() <= 2
    assert (read[inside.h :] == 255).all()
    assert (read[:, inside.w :] == 255).all()


@pytest.mark.parametrize("spacing_um", [0.25, 0.4, 0.5, 0.7, 1.0, 1.3, 2.0])
def test_pixels_stay_where_they_are(tmp_path: Path, spacing_um: float) -> None:
    pixels = smooth(400, 300)
    slide = SpacedSlide(open_slide(write_png(tmp_path / "a.png", [pixels], 0.5)), spacing_um)
    factor = spacing_um / slide.slide.spacing_um
    assert slide.downsample == pytest.approx(factor)
    assert slide.shape_yx == (round(400 / factor), round(300 / factor))
    read = slide.read(Rect(0, 0, *slide.shape_yx)).astype(float)
    rows, columns = ((np.arange(side) + 0.5) * factor - 0.5 for side in slide.shape_yx)
    where = np.meshgrid(rows, columns, indexing="ij")
    for channel in range(3):
        wanted = ndimage.map_coordinates(pixels[..., channel].astype(float), where, mode="nearest")
        inner = np.abs(read[..., channel] - wanted)[8:-8, 8:-8]
        assert inner.max() < 6


def test_same_spacing_is_the_file_itself(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 70, 3), np.uint8)
    slide = open_slide(write_png(tmp_path / "a.png", [pixels], None), spacing_um=0.5)
    assert np.array_equal(SpacedSlide(slide, 0.5).read(Rect(0, 0, 64, 70)), pixels)


def test_white_does_not_bleed_into_the_rim(tmp_path: Path) -> None:
    dark = np.full((100, 100, 3), 40, np.uint8)
    slide = SpacedSlide(open_slide(write_png(tmp_path / "a.png", [dark]), spacing_um=0.5), 0.65)
    assert (slide.read(Rect(0, 0, *slide.shape_yx)) == 40).all()


def test_a_large_read_is_made_of_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 410, 3), np.uint8)
    slide = SpacedSlide(open_slide(write_png(tmp_path / "a.png", [pixels], 0.5)), 1.1)
    rect = Rect(-3, 5, 200, 190)
    at_once = slide.read(rect).astype(int)
    monkeypatch.setattr("unisemalign.slides.spaced.SOURCE_LIMIT_PX", 2000)
    assert np.abs(slide.read(rect) - at_once).max() <= 1


@pytest.mark.parametrize("shape", [(1, 200), (200, 1), (1, 1)])
def test_one_pixel_high_slides_work(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), 90, np.uint8)
    slide = SpacedSlide(open_slide(write_tiff(tmp_path / "a.tif", [pixels])), 2.0)
    assert min(slide.shape_yx) == 1
    assert (slide.read(Rect(0, 0, *slide.shape_yx)) == 90).all()


def test_a_pixel_size_is_wanted(tmp_path: Path) -> None:
    path = write_png(tmp_path / "biopsy.png", [np.zeros((4, 4, 3), np.uint8)], None)
    with pytest.raises(SpacingError, match=r"'biopsy\.png'.*Pass --spacing-um 0\.5\.$"):
        SpacedSlide(open_slide(path), 0.5)
    for impossible in (0, -1, 1e-3, 1e3, float("nan")):
        with pytest.raises(SpacingError, match="0.01 to 100 µm"):
            open_slide(path, spacing_um=impossible)
    with pytest.raises(SpacingError, match="above 0"):
        SpacedSlide(open_slide(path, spacing_um=1), -1)


@pytest.mark.parametrize("dpi", [72, 96, 300, 600])
def test_screen_and_print_resolutions_are_no_pixel_size(tmp_path: Path, dpi: int) -> None:
    assert sizes_from_resolution(dpi, dpi, "inch") is None
    path = write_png(tmp_path / "a.png", [np.zeros((4, 4, 3), np.uint8)], 25400 / dpi)
    assert open_slide(path).spacing_um is None


def test_units() -> None:
    assert sizes_um(500, 0.0005, "nm", "mm") == pytest.approx((0.5, 0.5))
    assert sizes_um(0.5, 0.25, "µm", "μm") == (0.5, 0.25)
    assert sizes_um(0.5, 0.5, "\\u00B5m", " Microns") == (0.5, 0.5)
    assert sizes_um(0.5, 0.5, "pixel", "µm") is None
    assert sizes_um(None, 0.5, "µm", "µm") is None
    assert sizes_um(0, 0, "µm", "µm") is None
    assert sizes_um(float("inf"), 1, "µm", "µm") is None
    assert sizes_from_resolution(20000, 20000, "cm") == pytest.approx((0.5, 0.5))
    assert sizes_from_resolution(0, 0, "cm") is None


def test_levels_that_lost_an_odd_row_are_whole_steps() -> None:
    assert level_downsamples([(3567, 4443), (1783, 2221)]) == (1.0, 2.0)
    assert level_downsamples([(5000, 10000), (312, 625)]) == (1.0, 16.0)
    assert level_downsamples([(900, 900), (600, 600)]) == (1.0, 1.5)


def test_a_level_that_lost_its_odd_row_has_no_white_rim(tmp_path: Path) -> None:
    dark = np.full((87, 73, 3), 40, np.uint8)
    slide = SpacedSlide(open_slide(write_tiff(tmp_path / "a.tif", halved(dark, 2), 0.5)), 1.0)
    h, w = slide.shape_yx
    assert (h, w) == (44, 36)
    assert (slide.read(Rect(0, 0, h, w)) == 40).all()
    assert (slide.read(Rect(h - 1, 0, 1, w)) == 40).all()
