"""A drawn slide as a pyramidal TIFF, tile by tile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unisemalign.errors import SlideError
from unisemalign.geometry import Rect
from unisemalign.runtime import write_atomically
from unisemalign.slides.synthetic.painting import image

_TILE_PX = 512
_LOSSLESS_UP_TO_PX = 1024
_QUALITY = 90


def draw_slide(
    path: str | os.PathLike[str],
    *,
    size_px: int = 2048,
    seed: int = 0,
    spacing_um: float = 0.5,
    stain_seed: int | None = None,
) -> Path:
    """Write a square slide as a tiled pyramid that states its pixel size, and return its path.

    Memory does not grow with the slide: coarser levels wait on disk, beside ``path``, while it is
    written. Up to 1024² pixels are stored without loss (deflate), more as JPEG.

    Raises
    ------
    SlideError
        If ``size_px`` or ``spacing_um`` is not positive, or something lies at ``path`` already.
    ProjectError
        If the disk is full.
    """
    path = Path(path)
    if size_px < 1 or spacing_um <= 0:
        raise SlideError(
            f"A drawn slide needs a side and a pixel size above 0, found {size_px} px of "
            f"{spacing_um} µm. Try 2048 px of 0.5 µm."
        )

    if os.path.lexists(path):
        raise SlideError(
            f"A drawn slide needs a free name, found something at '{path}' already. Choose another "
            f"name, or delete that one first."
        )

    def paint(rect: Rect) -> NDArray[np.uint8]:
        return image(rect, size_px=size_px, seed=seed, spacing_um=spacing_um, stain_seed=stain_seed)

    with (
        write_atomically(path) as part,
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as waiting,
    ):
        _write_pyramid(part, Path(waiting), size_px, spacing_um, paint)
    return path


def _write_pyramid(
    part: Path, waiting: Path, size_px: int, spacing_um: float, paint: Callable[[Rect], Any]
) -> None:
    big = size_px * size_px * 3 > 2**31
    # Plain pages marked as reduced images: OpenSlide's generic TIFF and tifffile both take those.
    with tifffile.TiffWriter(part, bigtiff=big) as file:
        read, side, level = paint, size_px, 0
        while True:
            smaller = _Halved(waiting / f"{level}.raw", side)
            tiles = smaller.passing(_tiles(side, read))
            _write_level(file, tiles, side, spacing_um * 2**level, level, size_px)
            if side <= _TILE_PX:
                break
            read, side, level = smaller.read, side // 2, level + 1


def _write_level(
    file: Any, tiles: Iterator[Any], side: int, spacing_um: float, level: int, size_px: int
) -> None:
    lossless = size_px <= _LOSSLESS_UP_TO_PX
    file.write(
        tiles,
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(_TILE_PX, _TILE_PX),
        photometric="rgb",
        compression="zlib" if lossless else "jpeg",
        compressionargs=None if lossless else {"level": _QUALITY},
        predictor=lossless,
        subfiletype=1 if level else 0,
        resolution=(1e4 / spacing_um, 1e4 / spacing_um),
        resolutionunit="CENTIMETER",
        metadata=None,
        maxworkers=1,
    )


def _tiles(
    side: int, read: Callable[[Rect], NDArray[np.uint8]]
) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
    """Yield every tile in file order, cut at the slide's edge; two are drawn ahead."""
    rects = [
        Rect(y, x, min(_TILE_PX, side - y), min(_TILE_PX, side - x))
        for y in range(0, side, _TILE_PX)
        for x in range(0, side, _TILE_PX)
    ]
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(rects), 2 * workers):
            batch = rects[start : start + 2 * workers]
            yield from zip(batch, pool.map(read, batch), strict=True)


class _Halved:
    """The next coarser level, collected in a file while the finer one passes by."""

    def __init__(self, path: Path, side: int) -> None:
        half = max(1, side // 2)
        self._pixels = np.memmap(path, np.uint8, "w+", shape=(half, half, 3))

    def passing(self, tiles: Iterator[tuple[Rect, NDArray[np.uint8]]]) -> Iterator[Any]:
        """Hand the tiles on, padded to full size, and keep their averages of 2 × 2."""
        for rect, pixels in tiles:
            self._keep(rect, pixels)
            missing = (0, _TILE_PX - rect.h), (0, _TILE_PX - rect.w), (0, 0)
            yield np.pad(pixels, missing, mode="edge")

    def _keep(self, rect: Rect, pixels: NDArray[np.uint8]) -> None:
        h, w = rect.h // 2, rect.w // 2
        quads = pixels[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).astype(np.uint16)
        mean = ((quads.sum((1, 3), dtype=np.uint16) + 2) // 4).astype(np.uint8)
        y, x = rect.y // 2, rect.x // 2
        self._pixels[y : y + h, x : x + w] = mean

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)`` of what was kept."""
        return np.asarray(self._pixels[rect.slices])
