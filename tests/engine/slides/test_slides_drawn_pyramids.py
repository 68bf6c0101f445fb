"""Pyramids of any size, tiling, codec and depth: every backend agrees with the plain array."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from drawn_pyramids import SPACING_UM, Pyramid, pyramids, write_every_way
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from unisemalign.geometry import Rect, best_level
from unisemalign.slides import SpacedSlide, open_slide
from unisemalign.slides.levels import sound_levels


def cut(pixels: NDArray[np.uint8], rect: Rect) -> NDArray[np.uint8]:
    """The crop, white outside."""
    out = np.full((rect.h, rect.w, 3), 255, np.uint8)
    inside = rect.intersect(Rect(0, 0, *pixels.shape[:2]))
    if inside.area:
        out[inside.relative_to(rect).slices] = pixels[inside.slices]
    return out


def resized(
    pixels: NDArray[np.uint8], shape_yx: tuple[int, int], factor: float
) -> NDArray[np.int_]:
    """The whole level at working spacing, by Pillow in one go; past the rim the rim is repeated."""
    h, w = shape_yx
    rim = 2 * int(np.ceil(max(factor, 1))) + 4
    padded = np.pad(pixels, ((rim, rim), (rim, rim), (0, 0)), mode="edge")
    columns = (rim, 0, rim + w * factor, padded.shape[0])
    wide = Image.fromarray(padded).resize((w, padded.shape[0]), Image.Resampling.BICUBIC, columns)
    rows = (0, rim, w, rim + h * factor)
    return np.asarray(wide.resize((w, h), Image.Resampling.BICUBIC, rows)).astype(int)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    drawn=pyramids(),
    corner=st.tuples(st.floats(-0.2, 1.1), st.floats(-0.2, 1.1)),
    size=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    spacing_um=st.floats(0.3, 5.0),
)
def test_every_backend_agrees_with_the_array(
    drawn: Pyramid, corner: tuple[float, float], size: tuple[int, int], spacing_um: float
) -> None:
    kept, _ = sound_levels([level.shape[:2] for level in drawn.levels])
    assert len(kept) == len(drawn.levels)
    with TemporaryDirectory() as folder:
        for way, slide in write_every_way(drawn, Path(folder)):
            assert slide.spacing_um is None if way == "PNG" else slide.spacing_um
            if way != "PNG":
                assert len(slide.level_shapes) == len(drawn.levels), way
            assert not [r for r in slide.remarks if "level" in r or "cut off" in r], way
            for level, shape in enumerate(slide.level_shapes):
                meant = drawn.meant(level)
                assert shape == meant.shape[:2], way
                y, x = (int(part * side) for part, side in zip(corner, shape, strict=True))
                # Between two of its pixels OpenSlide mixes them: only even levels are exact.
                even = "OpenSlide" not in way or slide._file.level_downsamples[level].is_integer()
                for rect in (Rect(y, x, *size), Rect(0, 0, *shape)):
                    read = slide.read_level(level, rect).astype(int)
                    if even:
                        off = np.abs(read - cut(meant, rect))
                        assert off.max(initial=0) <= drawn.off, (way, level, rect)
            if "OpenSlide" not in way:
                check_spaced(slide, drawn, spacing_um, way)
            slide.close()


def check_spaced(slide, drawn: Pyramid, spacing_um: float, way: str) -> None:
    if slide.spacing_um is None:
        slide.spacing_um = SPACING_UM
    spaced = SpacedSlide(slide, spacing_um)
    level = best_level(slide.level_downsamples, spaced.downsample)
    factor = spaced.downsample / slide.level_downsamples[level]
    read = spaced.read(Rect(0, 0, *spaced.shape_yx)).astype(int)
    if drawn.off == 0:
        meant = resized(drawn.meant(level), spaced.shape_yx, factor)
        assert np.abs(read - meant).max() <= 2, (way, level, factor)


def test_names_of_any_script_open(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    folder = tmp_path / "Ärzte – 医生 🔬"
    folder.mkdir()
    path = folder / "Präparat №1 (ß).png"
    Image.fromarray(pixels).save(path)
    slide = open_slide(path)
    assert slide.path == path
    assert np.array_equal(slide.read_level(0, Rect(0, 0, 20, 30)), pixels)
