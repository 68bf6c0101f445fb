"""Segmenting a whole slide: rate, memory, reader wait and first labels, on a drawn slide.

Draws a tiled JPEG pyramid of `--size` pixels a side at 0.5 µm into a temporary folder: one block of
drawn tissue of 2048 px, repeated over `--tissue` of the area (spread evenly), glass elsewhere. Each
measurement runs in a process of its own, one after another:

- `mpx_per_second`: labelled megapixels a second, end to end, readers and storage included; beside
  it how the seconds were spent: waiting for readers, for storage, and the rest on the device;
- `decode_mpx_per_second`: the same megapixels, when the same readers only decode;
  `decodes_per_tile`: how often each of the file's tiles that lie under a window was decoded;
- `literal_mpx_per_second`: benchmarks/literal.py on windows of 256 px at stride 170, one at a time
  (`--literal-windows`; 0 leaves it out);
- `peak_mb`: the most the segmenting process held above what it held with the model loaded and one
  batch labelled, readers not included;
- `first_labels_cold_s`, `first_labels_warm_s`: from asking the engine process for a view of 1024²
  to its first labels on disk, the first time including the start (embedded encoder, more than five
  blocks of tissue), and `all_labels_warm_s` to its last.

Weights are random or two steps old: rates do not depend on what was learned. With a CPU, keep
`--tissue` low for large slides: the embedded encoder labels some 0.2 Mpx a second on two cores.

    python benchmarks/slide.py [--size 40000] [--tissue 0.3] [--encoder embedded|uni]
        [--device auto|cpu|cuda] [--set PLACE=VALUE…] [--literal-windows 2] [--no-views] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import torch
from literal import Literal
from numpy.typing import NDArray
from view import REPEATS, VIEW_PX, measure_views

from unisemalign import Project, Rect, build_settings
from unisemalign.inference import Plan, Predictor, SegmentJob, open_for_segmenting
from unisemalign.inference.storing import PredictionSlot
from unisemalign.model import build_network
from unisemalign.project import chunks
from unisemalign.runtime.device import choose_device
from unisemalign.settings import Settings
from unisemalign.slides import synthetic, tissue_mask
from unisemalign.slides.prefetch import Prefetch, choose_readers
from unisemalign.slides.tiles import tiles_touching

BLOCK_PX, TILE_PX, QUALITY = 2048, 512, 85
GLASS = 242
LITERAL_WINDOW_PX, LITERAL_STRIDE_PX = 256, 170
DECODE_LIMIT_S = 30


# --- the slide ---------------------------------------------------------------------------------


class DrawnSlide:
    """Blocks of one drawing among glass, as encoded tiles of any level."""

    def __init__(self, size_px: int, tissue: float) -> None:
        self.size_px = size_px
        side = -(-size_px // BLOCK_PX)
        # Evenly spread: as many of the first n blocks as the share says.
        count = np.floor(np.arange(side * side + 1) * tissue)
        self.has_tissue = (np.diff(count) > 0).reshape(side, side)
        block = Rect(0, 0, BLOCK_PX, BLOCK_PX)
        self._levels = [synthetic.image(block, size_px=BLOCK_PX, seed=0)]
        while self._levels[-1].shape[0] > 1:
            h, w = (side // 2 for side in self._levels[-1].shape[:2])
            quads = self._levels[-1].reshape(h, 2, w, 2, 3).astype(np.uint16)
            self._levels.append(((quads.sum((1, 3)) + 2) // 4).astype(np.uint8))

    def write(self, path: Path) -> None:
        """Write the pyramid."""
        big = self.size_px**2 > 10**9
        with tifffile.TiffWriter(path, bigtiff=big) as file:
            side, level = self.size_px, 0
            while True:
                per_cm = 1e4 / (0.5 * 2**level)
                file.write(
                    self._tiles(level, side),
                    shape=(side, side, 3),
                    dtype=np.uint8,
                    tile=(TILE_PX, TILE_PX),
                    photometric="ycbcr",
                    subsampling=(2, 2),
                    compression="jpeg",
                    subfiletype=1 if level else 0,
                    resolution=(per_cm, per_cm),
                    resolutionunit="CENTIMETER",
                    metadata=None,
                )
                if side <= TILE_PX or level + 1 == len(self._levels):
                    return
                side, level = side // 2, level + 1

    def view_corners(self) -> list[tuple[int, int]]:
        """Return where a view of tissue begins in each block, elsewhere in every one."""
        room = BLOCK_PX - VIEW_PX + 1
        return [
            (int(y) * BLOCK_PX + 211 * k % room, int(x) * BLOCK_PX + 373 * k % room)
            for k, (y, x) in enumerate(np.argwhere(self.has_tissue))
        ]

    def _tiles(self, level: int, side: int) -> Iterator[bytes]:
        across = -(-side // TILE_PX)
        block = BLOCK_PX >> level
        for ty in range(across):
            for tx in range(across):
                if block >= TILE_PX:  # a tile lies in one block
                    per = block // TILE_PX
                    inside = bool(self.has_tissue[ty // per, tx // per])
                    yield self._part(level, ty % per if inside else -1, tx % per if inside else -1)
                else:
                    yield _encoded(self._mosaic(level, ty, tx))

    @lru_cache(maxsize=64)  # noqa: B019  one slide a process
    def _part(self, level: int, y: int, x: int) -> bytes:
        if y < 0:
            return _encoded(np.full((TILE_PX, TILE_PX, 3), GLASS, np.uint8))
        rows, columns = slice(y * TILE_PX, (y + 1) * TILE_PX), slice(x * TILE_PX, (x + 1) * TILE_PX)
        return _encoded(self._levels[level][rows, columns])

    def _mosaic(self, level: int, ty: int, tx: int) -> NDArray[np.uint8]:
        pixels = np.full((TILE_PX, TILE_PX, 3), GLASS, np.uint8)
        block = BLOCK_PX >> level
        many = TILE_PX // block
        here = self.has_tissue[ty * many : (ty + 1) * many, tx * many : (tx + 1) * many]
        for y, x in np.argwhere(here):
            pixels[y * block : (y + 1) * block, x * block : (x + 1) * block] = self._levels[level]
        return pixels


def _encoded(pixels: NDArray[np.uint8]) -> bytes:
    data: bytes = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(pixels),
        level=QUALITY,
        colorspace="RGB",
        outcolorspace="YCBCR",
        subsampling="420",
    )
    return data


# --- one measurement in this process -----------------------------------------------------------


def make_predictor(encoder: str, overrides: list[str]) -> Predictor:
    """Return a predictor with random weights."""
    settings: Settings = build_settings(overrides=overrides)
    model = settings.model.model_copy(update={"encoder": encoder})
    device = choose_device(settings.device)
    torch.manual_seed(0)
    words = list(synthetic.CLASSES)
    network = build_network(words, model, encoder_weights=False, text_weights=False)
    return Predictor(network.to(device), settings, device, identity="benchmark")


def segment_here(folder: Path, encoder: str, overrides: list[str]) -> dict[str, Any]:
    """Segment the slide; return rate, seconds, memory and bytes."""
    predictor = make_predictor(encoder, overrides)
    with Project.open(folder / "slide.unisem") as project:
        opened = open_for_segmenting(project, "drawn", predictor)
        window = predictor.settings.inference.window_px
        predictor(np.zeros((predictor.batch_windows, window, window, 3), np.uint8))
        area = opened.area_to_read(Rect(0, 0, *opened.slide.shape_yx))
        readers = choose_readers(predictor.settings.inference.readers, opened.slide, area)
        before = _memory_mb("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
        written = _count_written()
        number = project.new_round(method="benchmark", preset="random").number
        result = SegmentJob(
            opened, predictor, PredictionSlot.of_round(project, number, "drawn")
        ).run()
        store = project.predictions(number, "drawn")
        labelled = sum(int((store.read(rect) > 0).sum()) for rect in store.predicted_rects())
        stored = sum(path.stat().st_size for path in (folder / "slide.unisem").rglob("*.zarr/**/*"))
    seconds = result.seconds
    return {
        "readers": readers,
        "labelled_mpx": round(labelled / 1e6, 1),
        "windows": result.windows,
        "seconds": seconds,
        "mpx_per_second": round(labelled / 1e6 / seconds, 3),
        "wait_share": round(result.wait_s / seconds, 4),
        "store_share": round(result.store_s / seconds, 4),
        "device_share": round(result.device_s / seconds, 4),
        "model_mb": round(before),
        "peak_mb": round(_memory_mb("VmHWM") - before),
        "bytes_written": sum(written),
        "bytes_stored": stored,
    }


def decode_here(folder: Path, overrides: list[str]) -> dict[str, Any]:
    """Decode what segmenting decodes, with as many readers, and do nothing with it."""
    predictor = make_predictor("embedded", overrides)
    inference = predictor.settings.inference
    with Project.open(folder / "slide.unisem") as project:
        opened = open_for_segmenting(project, "drawn", predictor)
        whole = Rect(0, 0, *opened.slide.shape_yx)
        readers = choose_readers(inference.readers, opened.slide, opened.area_to_read(whole))
        plan = Plan(opened.slide.shape_yx, inference)
        tissue = tissue_mask(opened.slide)

        def wanted() -> Iterator[tuple[list[Rect], list[Rect], Rect]]:
            for run in plan.runs():
                for row in run.rows:
                    kept = [w for w in row if tissue.fraction(w.intersect(whole)) > 0]
                    yield kept, [w.intersect(whole) for w in kept], run.extent

        labelled, rows = 0, []
        with Prefetch(opened.slide, readers) as source:
            source.read(Rect(0, 0, 1, 1))  # the readers have started
            started = time.perf_counter()
            for windows in source.fetched(wanted()):
                for window in windows:
                    source.read(window.intersect(whole))
                rows.append(windows)
                # A window stands for the tissue of its step.
                labelled += len(windows) * inference.stride_px**2
                if time.perf_counter() - started > DECODE_LIMIT_S:
                    break
            seconds = time.perf_counter() - started
        tiles = {
            tile
            for window in chain.from_iterable(rows)
            for tile in tiles_touching(
                opened.slide.source(window.intersect(whole)), opened.slide.tile_yx
            )
        }
    return {
        "decode_mpx_per_second": round(labelled / 1e6 / seconds, 2),
        "decodes_per_tile": round(source.decoded / len(tiles), 3),
    }


def literal_here(count: int, overrides: list[str]) -> dict[str, Any]:
    """Time windows of the plain version, one at a time."""
    device = choose_device(build_settings(overrides=overrides).device)
    torch.manual_seed(0)
    network = Literal().eval().to(device)
    window = torch.randn(1, 3, LITERAL_WINDOW_PX, LITERAL_WINDOW_PX, device=device)
    seconds = []
    with torch.inference_mode():
        for _ in range(count + 1):
            started = time.perf_counter()
            network(window)[0].softmax(1).cpu()
            seconds.append(time.perf_counter() - started)
    each = sorted(seconds[1:])[count // 2]
    return {"literal_mpx_per_second": round(LITERAL_STRIDE_PX**2 / 1e6 / each, 4)}


def _memory_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"This system does not tell {name}: the benchmark needs Linux.")


def _count_written() -> list[int]:
    """Return a list to which every chunk's bytes are added as it is written, again and again."""
    sizes: list[int] = []
    write_whole = chunks.write_whole

    def counted(path: Path, content: bytes, durable: bool) -> None:
        sizes.append(len(content))
        write_whole(path, content, durable)

    chunks.write_whole = counted
    return sizes


# --- all of them -------------------------------------------------------------------------------


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Draw the slide, run every measurement, return the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        drawn = DrawnSlide(given.size, given.tissue)
        drawn.write(folder / "drawn.tif")
        report: dict[str, Any] = {
            "size_px": given.size,
            "tissue": given.tissue,
            "encoder": given.encoder,
            "device": str(choose_device(given.device)),
            "draw_s": round(time.perf_counter() - started, 1),
        }
        classes = list(synthetic.CLASSES)
        with Project.create(folder / "slide.unisem", classes=classes) as project:
            project.add_slide(folder / "drawn.tif")
        for kind in ("segment", "decode", *(["literal"] if given.literal_windows else [])):
            report |= _apart(kind, folder, given)
        corners = drawn.view_corners()
        if given.views and given.encoder == "embedded" and len(corners) > REPEATS:
            report |= measure_views(folder / "drawn.tif", given.size, corners)
    return report


def _apart(kind: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Return what ``kind`` measures in a process of its own."""
    command = [sys.executable, __file__, "--only", kind, "--folder", str(folder), "--json"]
    for option in ("encoder", "device", "literal_windows"):
        command += [f"--{option.replace('_', '-')}", str(getattr(given, option))]
    for text in given.set or []:
        command += ["--set", text]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--size", type=int, default=40_000, help="side of the slide in pixels")
    parser.add_argument("--tissue", type=float, default=0.3, help="share of it that is tissue")
    parser.add_argument("--encoder", choices=("embedded", "uni"), default="embedded")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", metavar="PLACE=VALUE")
    parser.add_argument("--literal-windows", type=int, default=2)
    parser.add_argument("--no-views", dest="views", action="store_false", help="no first labels")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    overrides = [f"device={given.device}", *(given.set or [])]
    match given.only:
        case "segment":
            report = segment_here(given.folder, given.encoder, overrides)
        case "decode":
            report = decode_here(given.folder, overrides)
        case "literal":
            report = literal_here(given.literal_windows, overrides)
        case _:
            report = measure(given)
    if given.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
