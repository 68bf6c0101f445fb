"""Show what a first minute on four real slides brings: a first guess, and a short round.

    python docs/first_minute.py --slides SHARED/slides [--steps 100] [--only cmu]
        [--encoder organs]

On each slide two regions are labelled in part, as a person would with a polygon (``LABELS``: by
eye); a round of ``--steps`` is trained from them, and the slide segmented. The pictures,
``OUT/first-minute-NAME.jpg``, hold the slide with what was labelled, the clusters of the
first guess, and the map.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.draw import polygon
from skimage.segmentation import find_boundaries

from napari_unisemalign.session.colors import cluster_color
from unisemalign.geometry import Rect
from unisemalign.guess import guess_by_clusters
from unisemalign.inference import load_predictor, segment_slide
from unisemalign.project import FirstGuess, LabelEdit, Origin, PredictionStore, Project
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings
from unisemalign.training import train_round

PANEL_PX = 560
QUALITY = 82
Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Region:
    """A square: its corner and side in pixels of the file, and polygons of classes in it.

    Corners of polygons are ``(x, y)`` in fifths of the side.
    """

    y: int
    x: int
    side: int
    polygons: tuple[tuple[int, Corners], ...]


@dataclass(frozen=True)
class Case:
    """A slide, its classes, and what a person labels of it."""

    file: str
    classes: tuple[str, ...]
    regions: tuple[Region, Region]


LABELS = {
    "cmu": Case(
        "cmu-1-small-region.svs",
        ("epithelium", "dermis", "keratin"),
        (
            Region(1800, 1000, 512, (
                (2, ((0, 0), (0.7, 0), (0.95, 2), (0.9, 4), (1, 5), (0, 5))),
                (1, ((1.1, 0.3), (2, 0.5), (2.4, 1.4), (1.8, 2.6), (1.8, 3.6), (2.3, 3.9),
                     (3.2, 3.8), (3, 4.6), (1.4, 4.8), (1.1, 3))),
                (2, ((4.5, 0.5), (5, 0.3), (5, 5), (3.6, 5), (4.1, 2.5))),
                (3, ((2.6, 2.3), (3.1, 2), (3, 2.7), (2.4, 3.2), (2.2, 3))),
            )),
            Region(1000, 1000, 512, (
                (1, ((2.1, 0.2), (4, 0.2), (3, 1.6), (2.4, 2.8), (2, 4.8), (1.5, 4.8),
                     (1.9, 2.8), (2, 1.5))),
                (2, ((0, 1), (0.9, 1.2), (1.3, 2.4), (1.2, 3.2), (0.9, 4.8), (0, 4.8))),
                (3, ((3.7, 1.5), (4.9, 0.8), (4.9, 2), (4.2, 3), (3.6, 2.4))),
            )),
        ),
    ),
    "he-example": Case(
        "he-example.ome.tif",
        ("acini", "lymphocytes", "stroma"),
        (
            Region(430, 150, 512, (
                (1, ((1.2, 1.2), (4.6, 1.6), (4, 4.8), (1.5, 4.8), (1.6, 3.4), (1.2, 2.6))),
                (2, ((0.05, 1.8), (0.7, 1.6), (1, 2.8), (1, 3.4), (0.9, 4.8), (0.05, 4.8))),
            )),
            Region(700, 760, 512, (
                (2, ((1.7, 0.2), (4.9, 0.2), (4.9, 1.8), (3.2, 1.9), (1.8, 1.3))),
                (3, ((1, 1.2), (1.3, 1.2), (1.7, 2.6), (1.5, 4.9), (1.2, 4.9), (1.1, 2.6))),
                (1, ((0.05, 1.5), (0.9, 1.6), (1, 4.8), (0.05, 4.8))),
                (1, ((2, 2.3), (2.8, 2.4), (2.8, 4.6), (1.9, 4.6))),
            )),
        ),
    ),
    "os-1": Case(
        "os-1-detail.ome.tif",
        ("tumour", "stroma"),
        (
            Region(100, 60, 480, (
                (1, ((0.05, 1.2), (0.95, 1.1), (1, 2.9), (0.1, 3))),
                (2, ((2.4, 1.3), (3.5, 1.1), (3.6, 1.7), (3, 2.6), (2.2, 4.6), (1.8, 4.6),
                     (2.4, 3), (2, 2.2))),
                (1, ((3.3, 2.9), (4.6, 2.8), (4.2, 4.1), (3.2, 4.1))),
            )),
            Region(560, 500, 480, (
                (1, ((0.6, 0.1), (1.7, 0.4), (2.6, 1.6), (1.6, 1.9), (1, 0.9))),
                (2, ((1.3, 0.05), (2.1, 0.05), (3.2, 1), (3.9, 2.6), (3.6, 2.6), (2.6, 1.2))),
                (1, ((4.2, 0.2), (4.9, 0.3), (4.9, 1.4), (4.3, 1.2))),
                (1, ((1.7, 3), (2.6, 3.1), (2.6, 4.1), (1.8, 4))),
                (2, ((0.8, 3.9), (1.2, 3.9), (2, 4.9), (1.5, 4.9))),
            )),
        ),
    ),
    "tcga": Case(
        "tcga-two-levels-no-mpp.svs",
        ("tumour", "stroma"),
        (
            Region(1700, 1800, 768, (
                (1, ((0.1, 3.4), (0.9, 3), (1.6, 3.4), (1.9, 4.8), (0.1, 4.8))),
                (1, ((3.6, 3), (4.9, 2.6), (4.9, 4.9), (3.4, 4.9))),
                (2, ((1.2, 1), (2, 0.2), (3, 0.4), (3.4, 1.4), (2, 1.8))),
            )),
            Region(600, 2300, 768, (
                (1, ((0.1, 0.1), (1.4, 0.5), (1.5, 3.4), (0.1, 3.4))),
                (2, ((1.6, 0.4), (2.3, 0.5), (2.3, 4.8), (1.7, 4.8))),
            )),
        ),
    ),
}  # fmt: skip


def label(project: Project, name: str, region: Region) -> Rect:
    """Accept the region's polygons; return its rectangle in working pixels."""
    slide = project.open_slide(name)
    scale = 1 / slide.downsample
    rect = Rect(*(round(v * scale) for v in (region.y, region.x, region.side, region.side)))
    rect = rect.intersect(Rect(0, 0, *slide.shape_yx))
    values = np.zeros(rect.shape, np.uint8)
    for value, corners in region.polygons:
        columns, rows = np.array(corners).T * region.side * scale / 5
        values[polygon(rows, columns, rect.shape)] = value
    project.accept(name, [LabelEdit(rect, values, Origin.DRAWN, regions=(rect,))], action="accept")
    return rect


def painted(
    pixels: NDArray[np.uint8], classes: NDArray[np.uint8], colors: list[str]
) -> NDArray[np.uint8]:
    """Return the tissue under half-transparent classes; 0 leaves it bare."""
    palette = np.array([[0, 0, 0], *(_rgb(color) for color in colors)], np.float32)
    mixed = 0.45 * pixels + 0.55 * palette[classes]
    return np.where((classes > 0)[..., None], mixed, pixels).astype(np.uint8)


def outlined(
    pixels: NDArray[np.uint8], labels: NDArray[np.uint8], colors: list[str]
) -> NDArray[np.uint8]:
    """Return the tissue with the outlines of what was labelled, in its classes' colours."""
    shown = pixels.copy()
    width = max(2, pixels.shape[0] // 250)
    for value, color in enumerate(colors, start=1):
        edge = find_boundaries(labels == value, mode="inner")
        for _ in range(width):
            edge |= find_boundaries(edge, mode="outer")
        shown[edge] = _rgb(color)
    return shown


def whole(store: PredictionStore) -> NDArray[np.uint8]:
    """Return a map's classes."""
    return store.read(Rect(0, 0, *store.shape_yx), "class")


def panel(title: str, pixels: NDArray[np.uint8], names: list[tuple[str, str]]) -> Image.Image:
    """Return a picture below its title, its classes' names and colours below it."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((PANEL_PX, PANEL_PX), Image.Resampling.BOX)
    sheet = Image.new("RGB", (PANEL_PX, PANEL_PX + 64), "white")
    sheet.paste(picture, ((PANEL_PX - picture.width) // 2, 32))
    drawing, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    drawing.text((4, 6), title, fill="black", font=font)
    x = 4
    for name, color in names:
        drawing.rectangle((x, PANEL_PX + 40, x + 14, PANEL_PX + 54), fill=color)
        drawing.text((x + 20, PANEL_PX + 37), name, fill="black", font=font)
        x += 34 + round(drawing.textlength(name, font=font))
    return sheet


def show(case: Case, given: argparse.Namespace, root: Path) -> Image.Image:
    """Guess, label, train, segment; return the three panels beside each other."""
    with Project.create(root, classes=list(case.classes), encoder=given.encoder) as project:
        name = project.add_slide(given.slides / case.file, spacing_um=0.5).name
        opened = project.open_slide(name)
        rect = Rect(0, 0, *opened.shape_yx)
        pixels = opened.read(rect)
        colors = [each.color for each in project.info.classes]
        quiet = {"events": SilentEvents(), "cancel": CancelToken()}
        began = time.monotonic()
        note = guess_by_clusters(project, [name], None, None, **quiet)
        guessed = time.monotonic() - began
        clusters = whole(FirstGuess(project).clusters(name))
        for region in case.regions:
            label(project, name, region)
        labels = project.labels(name).read(rect)
        began = time.monotonic()
        settings = build_settings("recommended", None, [f"training.steps={given.steps}"])
        made = train_round(project, settings)
        predictor, _ = load_predictor(project, made.number)
        segment_slide(project, name, predictor, made.number)
        trained = time.monotonic() - began
        classes = whole(project.predictions(made.number, name))
    told = f"{case.file}: guess {guessed:.0f} s, {given.steps} steps and map {trained:.0f} s"
    sys.stdout.write(f"{told}\n")
    sys.stdout.flush()
    named = list(zip(case.classes, colors, strict=True))
    tints = [cluster_color(number) for number in range(1, 1 + len(note.directions))]
    panels = (
        panel("two regions, labelled in part", outlined(pixels, labels, colors), named),
        panel(
            "first guess, before any label",
            painted(pixels, clusters, tints),
            [(str(number), tint) for number, tint in enumerate(tints, start=1)],
        ),
        panel(f"after a round of {given.steps} steps", painted(pixels, classes, colors), named),
    )
    sheet = Image.new("RGB", (len(panels) * (PANEL_PX + 8), panels[0].height), "white")
    for k, each in enumerate(panels):
        sheet.paste(each, (k * (PANEL_PX + 8), 0))
    return sheet


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))


def main() -> None:
    """Read the command line and make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=Path, required=True, help="folder of the four slides")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--only", help="a name of LABELS")
    parser.add_argument("--out", type=Path, default=Path("runs/first-minute"))
    given = parser.parse_args()
    for name, case in LABELS.items():
        if given.only in {None, name}:
            folder = Path(tempfile.mkdtemp())
            try:
                sheet = show(case, given, folder / "p.unisem")
            finally:
                shutil.rmtree(folder)
            given.out.mkdir(parents=True, exist_ok=True)
            sheet.save(given.out / f"first-minute-{name}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
