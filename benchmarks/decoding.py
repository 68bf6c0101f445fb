"""How fast slides of each format are decoded, and opened.

Writes one drawn slide in every format, reads it in windows of 512 px, side by side and overlapping
by a quarter, and prints megapixels of windows a second of processor time (other work on the machine
does not count), and milliseconds to open.

    python benchmarks/decoding.py [--size N] [FILE…]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import tifffile
import zarr

from unisemalign.geometry import Rect
from unisemalign.slides import OpenSlideSlide, Slide, open_slide
from unisemalign.slides.synthetic import draw_slide

WINDOW_PX = 512
OPENINGS = 5
SECONDS = 2.0


def write_formats(folder: Path, size_px: int) -> Iterator[tuple[str, Callable[[], Slide]]]:
    drawn = draw_slide(folder / "drawn.tif", size_px=size_px)
    with tifffile.TiffFile(drawn) as file:
        pixels = file.pages[0].asarray()
    for name, options in {
        "JPEG": {"compression": "jpeg", "compressionargs": {"level": 90}},
        "deflate": {"compression": "zlib"},
        "LZW": {"compression": "lzw"},
        "zstd": {"compression": "zstd"},
        "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"level": 40}},
        "LZW strips": {"compression": "lzw", "rowsperstrip": 16},
        "plain strips": {"rowsperstrip": size_px},
    }.items():
        path = folder / f"{name}.tif"
        tiles = {} if "rowsperstrip" in options else {"tile": (256, 256)}
        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **tiles, **options)
        yield f"TIFF, {name}", lambda path=path: open_slide(path)
        if name == "JPEG":
            yield "TIFF, JPEG, by OpenSlide", lambda path=path: OpenSlideSlide(path)
    group = zarr.create_group(folder / "drawn.zarr")
    group.create_array("0", data=pixels, chunks=(512, 512, 3))
    multiscale = {"axes": [{"name": name} for name in "yxc"], "datasets": [{"path": "0"}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [multiscale]}
    yield "OME-Zarr, zstd", lambda: open_slide(folder / "drawn.zarr")


def windows(shape_yx: tuple[int, int], stride_px: int) -> Iterator[Rect]:
    corners = (range(0, max(1, side - WINDOW_PX + 1), stride_px) for side in shape_yx)
    for y, x in itertools.product(*corners):
        yield Rect(y, x, WINDOW_PX, WINDOW_PX)


def megapixels_a_second(opened: Callable[[], Slide], stride_px: int) -> float:
    slide = opened()
    started, read_px = time.process_time(), 0
    for window in windows(slide.shape_yx, stride_px):
        slide.read_level(0, window)
        read_px += window.area
        if time.process_time() - started > SECONDS:
            break
    spent = time.process_time() - started
    slide.close()
    return read_px / 1e6 / spent


def milliseconds_to_open(opened: Callable[[], Slide]) -> float:
    started = time.process_time()
    for _ in range(OPENINGS):
        opened().close()
    return (time.process_time() - started) / OPENINGS * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="slides of your own, read as well")
    parser.add_argument("--size", type=int, default=4096, help="side of the drawn slide, in px")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        own = [(path.name, lambda path=path: open_slide(path)) for path in asked.files]
        print(f"{'':32s}{'side by side':>14s}{'overlapping':>14s}  Mpx/s{'open':>10s}")
        for name, opened in itertools.chain(write_formats(Path(folder), asked.size), own):
            beside, over = (megapixels_a_second(opened, stride) for stride in (512, 384))
            opening_ms = milliseconds_to_open(opened)
            print(f"{name:32s}{beside:14.1f}{over:14.1f}{opening_ms:14.1f} ms", flush=True)


if __name__ == "__main__":
    main()
