"""Real slides open, say their size, and read the same by every way in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unisemalign.geometry import Rect
from unisemalign.slides import OpenSlideSlide, SpacedSlide, TiffSlide, open_slide, tissue_mask

REAL = {
    "cmu-1-small-region.svs": ("TiffSlide", (2967, 2220), 0.499, 1),
    "tcga-two-levels-no-mpp.svs": ("TiffSlide", (3567, 4443), None, 2),
    "os-1-detail.ome.tif": ("TiffSlide", (1101, 1101), 0.2271, 1),
    "he-example.ome.tif": ("TiffSlide", (1484, 1380), 0.5001, 1),
    "yb10kx5k-zstd.tiff": ("TiffSlide", (5000, 10000), None, 5),
}


@pytest.mark.parametrize("name", REAL)
def test_real_slides(name: str, real_slides: Path) -> None:
    backend, shape, spacing_um, levels = REAL[name]
    slide = open_slide(real_slides / name)
    assert type(slide).__name__ == backend
    assert slide.shape_yx == shape
    assert slide.spacing_um == (
        spacing_um if spacing_um is None else pytest.approx(spacing_um, 1e-3)
    )
    assert slide.level_downsamples == tuple(2.0**i for i in range(levels))
    last = levels - 1
    whole = slide.read_level(last, Rect(0, 0, *slide.level_shapes[last]))
    y, x = (side // 2 for side in slide.level_shapes[last])
    part = slide.read_level(last, Rect(y, x, 90, 80))
    assert np.array_equal(part, whole[y : y + 90, x : x + 80])


@pytest.mark.parametrize(
    "name", ["cmu-1-small-region.svs", "tcga-two-levels-no-mpp.svs", "yb10kx5k-zstd.tiff"]
)
def test_openslide_and_tifffile_read_the_same_pixels(name: str, real_slides: Path) -> None:
    by_openslide = OpenSlideSlide(real_slides / name)
    by_tifffile = TiffSlide(real_slides / name)
    assert by_openslide.level_shapes == by_tifffile.level_shapes
    assert by_openslide.level_downsamples == by_tifffile.level_downsamples
    for level, (h, w) in enumerate(by_tifffile.level_shapes):
        for rect in (Rect(0, 0, 700, 500), Rect(h // 2, w // 2, 600, 600), Rect(h - 90, 3, 99, 99)):
            one = by_openslide.read_level(level, rect).astype(int)
            other = by_tifffile.read_level(level, rect)
            if by_openslide._file.level_downsamples[level].is_integer():
                assert np.array_equal(one, other)
            else:  # OpenSlide starts up to half a pixel off there, and mixes two neighbours
                assert np.abs(one - other).mean() < 5
    by_openslide.close()
    by_tifffile.close()


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("cmu-1-small-region.svs", 0.3, 0.5),
        ("os-1-detail.ome.tif", 0.99, 1.0),
        ("he-example.ome.tif", 0.65, 0.85),
    ],
)
def test_tissue_of_real_slides(name: str, least: float, most: float, real_slides: Path) -> None:
    mask = tissue_mask(SpacedSlide(open_slide(real_slides / name), 0.5)).mask
    assert least <= mask.mean() <= most
