"""Every backend keeps the contract of `Slide` and agrees with the array it was written from."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from slide_files import WRITERS, halved, write_aperio

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.slides import open_slide, pyramid_levels

EVERY_FORMAT = pytest.mark.parametrize("name", WRITERS)


def cropped(pixels: NDArray[np.uint8], rect: Rect) -> NDArray[np.uint8]:
    """What a read must return: the crop, white outside."""
    out = np.full((rect.h, rect.w, 3), 255, np.uint8)
    inside = rect.intersect(Rect(0, 0, *pixels.shape[:2]))
    if inside.area:
        out[inside.relative_to(rect).slices] = pixels[inside.slices]
    return out


@EVERY_FORMAT
def test_contract(name: str, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    write, file, backend = WRITERS[name]
    levels = halved(pixels, 3)
    slide = open_slide(write(tmp_path / file, levels))

    assert type(slide).__name__ == backend
    assert slide.path == tmp_path / file
    assert slide.shape_yx == slide.level_shapes[0] == (150, 101)
    assert slide.spacing_um == pytest.approx(0.5, rel=1e-3)
    assert slide.level_downsamples == (1.0, 2.0, 4.0)[: len(slide.level_shapes)]
    assert len(slide.level_tiles) == len(slide.level_shapes)
    strips = {"planar OME-TIFF": (150, 101), "TIFF with separate planes": (7, 101)}
    assert slide.level_tiles[0] == strips.get(name, (1, 1) if name == "PNG" else (32, 32))
    for level, shape in enumerate(slide.level_shapes):
        assert shape == levels[level].shape[:2]
        whole = slide.read_level(level, Rect(0, 0, *shape))
        assert whole.dtype == np.uint8
        assert np.array_equal(whole, levels[level])
    assert slide.read_level(0, Rect(5, 5, 0, 3)).shape == (0, 3, 3)
    assert (slide.read_level(0, Rect(-40, 500, 20, 20)) == 255).all()
    with pytest.raises(SlideError, match="level 9 was asked for"):
        slide.read_level(9, Rect(0, 0, 1, 1))
    with pytest.raises(TypeError, match="Send the path"):
        pickle.dumps(slide)
    slide.close()
    slide.close()


@EVERY_FORMAT
def test_spacing_unknown_and_given(name: str, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    write, file, _ = WRITERS[name]
    path = write(tmp_path / file, [pixels], None)
    assert open_slide(path).spacing_um is None
    assert open_slide(path, spacing_um=0.3).spacing_um == 0.3
    path = write(tmp_path / f"b{file}", [pixels], 0.25)
    assert open_slide(path).spacing_um == pytest.approx(0.25, rel=1e-3)
    assert open_slide(path, spacing_um=0.3).spacing_um == 0.3


@EVERY_FORMAT
def test_many_threads_read_the_same_slide(
    name: str, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    write, file, _ = WRITERS[name]
    slide = open_slide(write(tmp_path / file, [pixels]))
    rects = [Rect(i % 90, i % 61, 40, 30) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        reads = list(pool.map(lambda rect: slide.read_level(0, rect), rects))
    for rect, read in zip(rects, reads, strict=True):
        assert np.array_equal(read, cropped(pixels, rect))


@settings(max_examples=12, deadline=None)
@given(
    h=st.integers(1, 90),
    w=st.integers(1, 90),
    count=st.integers(1, 3),
    corner=st.tuples(st.integers(-20, 90), st.integers(-20, 90)),
    size=st.tuples(st.integers(0, 70), st.integers(0, 70)),
    seed=st.integers(0, 9),
)
def test_backends_agree_with_the_array(
    h: int, w: int, count: int, corner: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    levels = halved(np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8), count)
    for write, file, _ in WRITERS.values():
        with TemporaryDirectory() as folder:
            slide = open_slide(write(Path(folder) / file, levels))
            for level in range(len(slide.level_shapes)):
                rect = Rect(*corner, *size)
                assert np.array_equal(slide.read_level(level, rect), cropped(levels[level], rect))
            slide.close()


def test_uneven_vendor_levels_read_alike_from_everywhere(tmp_path: Path) -> None:
    """OpenSlide shifts by a fraction of a pixel that depends on the corner asked for."""
    pixels = np.random.default_rng(0).integers(0, 256, (1301, 1103, 3), np.uint8)
    slide = open_slide(write_aperio(tmp_path / "a.svs", halved(pixels, 2)))
    whole = slide.read_level(1, Rect(0, 0, 650, 551))
    for y, x in ((0, 0), (101, 57), (500, 400)):
        part = slide.read_level(1, Rect(y, x, 100, 90))
        assert np.array_equal(part, whole[y : y + 100, x : x + 90])


@EVERY_FORMAT
def test_pyramid_levels_index_as_arrays(
    name: str, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    write, file, _ = WRITERS[name]
    slide = open_slide(write(tmp_path / file, halved(pixels, 2)))
    lazy = pyramid_levels(slide)
    assert [level.shape[:2] for level in lazy] == list(slide.level_shapes)
    level = lazy[0]
    assert (level.ndim, level.dtype, len(level), level.size) == (3, np.uint8, 150, pixels.size)
    assert np.array_equal(np.asarray(level), pixels)
    for key in (
        5,
        np.int64(-1),
        (3, 4),
        (3, 4, 1),
        (slice(10, 40), slice(None, None, 3)),
        (slice(40, 10, -7), slice(-9, None), slice(0, 2)),
        (..., 0),
        (slice(50, 20), 0),
    ):
        assert np.array_equal(level[key], pixels[key]), key
    with pytest.raises(IndexError):
        level[150]
