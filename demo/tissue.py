"""The demo's slides and what is true of them: two drawn ones, and ihc.png labelled by eye."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from unisemalign.geometry import Rect
from unisemalign.slides import synthetic

Pixels = NDArray[np.uint8]
HERE = Path(__file__).resolve().parent
SPACING_UM = 0.5
CLASSES = synthetic.CLASSES
DRAWN, IHC, HELD_OUT = "drawn", "ihc", "held-out"
IHC_SIDE_PX = 512
IHC_FIRST = Rect(0, 256, 256, 256)
IHC_HELD_OUT = Rect(384, 0, 128, 512)
# ihc.png by eye: polygons of "x,y" in pixels, later ones on top; the rest is stroma.
# Not a pathologist's: borders are within a few pixels, a sliver between two glands is a guess.
BY_EYE: tuple[tuple[str, str], ...] = (
    (
        "epithelium",  # the two large glands on top, which touch
        "0,0 420,0 430,25 440,50 450,90 458,125 460,150 458,180 452,200 446,225 440,240 "
        "437,256 432,270 424,290 415,297 405,293 395,285 380,278 365,276 350,268 338,256 "
        "325,243 312,228 304,214 297,200 290,180 284,165 279,150 275,140 273,150 271,165 "
        "269,185 265,205 258,222 245,235 230,248 215,255 200,258 185,260 170,258 162,252 "
        "158,242 148,234 135,227 125,224 110,222 95,217 80,217 68,212 62,205 45,184 25,164 "
        "10,148 0,136",
    ),
    (
        "epithelium",  # the gland on the left
        "0,152 12,165 30,182 48,201 60,212 68,214 75,222 82,235 90,248 100,265 108,280 "
        "118,293 125,302 133,318 140,332 146,345 150,360 155,380 158,400 160,420 160,440 "
        "158,470 157,490 158,512 39,512 40,490 42,470 44,450 45,435 47,420 48,385 50,365 "
        "51,345 49,334 45,325 36,312 26,299 14,286 0,270",
    ),
    (
        "epithelium",  # the small round gland
        "283,303 305,311 333,330 355,342 369,352 374,370 379,387 383,408 383,435 379,455 "
        "372,479 366,499 355,508 339,503 318,501 301,494 295,479 284,465 271,448 261,430 "
        "256,411 255,387 252,364 256,342 271,330 274,315",
    ),
    (
        "lumen",  # left, with what floats in it
        "0,270 14,286 26,299 36,312 45,325 49,334 51,345 50,365 48,385 47,420 45,435 44,450 "
        "42,470 40,490 39,512 0,512",
    ),
    (
        "lumen",  # between them
        "51,0 58,8 64,18 70,21 80,14 90,8 96,0",
    ),
    (
        "lumen",  # a slit
        "141,0 157,0 157,18 162,36 172,50 184,58 172,66 170,82 182,98 176,112 166,92 158,72 "
        "150,52 139,34 137,22",
    ),
    (
        "lumen",  # of the right one
        "277,0 288,24 298,51 306,78 310,95 320,112 328,129 339,149 347,169 359,185 369,196 "
        "378,197 382,190 379,176 372,159 362,142 354,125 349,112 339,100 328,91 322,78 311,58 "
        "303,37 295,20 286,0",
    ),
    (
        "glass",  # an empty cleft in the stroma
        "440,391 454,386 472,389 478,404 477,428 474,452 462,462 450,466 440,475 432,490 "
        "424,497 418,490 420,470 424,440 432,411",
    ),
)


@dataclass(frozen=True)
class Plan:
    """How large the demo is.

    Attributes
    ----------
    out
        Folder for everything it writes.
    steps
        Training steps of each of the two rounds.
    side_px
        Side of the two drawn slides.
    region_px
        Side of a labelled region.
    control
        Also train a second round without the corrections, on a copy of the project: what does
        training longer bring by itself?
    settings
        More settings for both rounds, ``place.name=value``.
    screenshot
        Whether to photograph the plugin.
    """

    out: Path = HERE
    seed: int = 0
    steps: int = 70
    side_px: int = 1536
    region_px: int = 256
    count: int = 3
    control: bool = False
    settings: tuple[str, ...] = ()
    screenshot: bool = True
    name: str = "demo.unisem"

    @property
    def project(self) -> Path:
        """The project's folder."""
        return self.out / self.name

    @property
    def drawn_seeds(self) -> dict[str, int]:
        """The seeds of the drawn slides: no two of any demo are alike."""
        return {DRAWN: 2 * self.seed, HELD_OUT: 2 * self.seed + 1}


def draw_by_eye() -> Pixels:
    """Return the labels of ihc.png drawn by eye, ``(512, 512)``, values 1…5."""
    plane = Image.new("L", (IHC_SIDE_PX, IHC_SIDE_PX), CLASSES.index("stroma") + 1)
    pen = ImageDraw.Draw(plane)
    for name, corners in BY_EYE:
        points = [tuple(map(int, corner.split(","))) for corner in corners.split()]
        pen.polygon(points, fill=CLASSES.index(name) + 1)
    return np.asarray(plane, np.uint8)


def truth_of(plan: Plan, slide: str, rect: Rect) -> Pixels:
    """Return what a knowing person would paint there; of ihc.png it is the labels by eye."""
    if slide == IHC:
        return draw_by_eye()[rect.slices]
    return synthetic.truth(
        rect, size_px=plan.side_px, seed=plan.drawn_seeds[slide], spacing_um=SPACING_UM
    )


def make_tissue(plan: Plan) -> Path:
    """Write the two drawn slides, ihc.png and the held-out slide's mask; return their folder."""
    from skimage.data import immunohistochemistry

    folder = plan.out / "slides"
    (folder / "masks").mkdir(parents=True)
    for name, seed in plan.drawn_seeds.items():
        synthetic.draw_slide(
            folder / f"{name}.tif", size_px=plan.side_px, seed=seed, spacing_um=SPACING_UM
        )
    Image.fromarray(immunohistochemistry()).save(folder / f"{IHC}.png")
    truth = truth_of(plan, HELD_OUT, Rect(0, 0, plan.side_px, plan.side_px))
    # Files count classes from 0; 255 would mean "do not score".
    Image.fromarray(truth - np.uint8(1)).save(folder / "masks" / f"{HELD_OUT}.png")
    return folder


def choose_first(plan: Plan, count: int = 2) -> list[Rect]:
    """Choose regions of the drawn slide as a person would: where many classes lie side by side.

    Each next one makes the labels taken together most even (entropy of the class shares).
    """
    side, size = plan.side_px, plan.region_px
    truth = truth_of(plan, DRAWN, Rect(0, 0, side, side))
    starts = range(0, side - size + 1, size // 2)
    rects = [Rect(y, x, size, size) for y in starts for x in starts]
    counts = {r: np.bincount(truth[r.slices].ravel(), minlength=len(CLASSES) + 1) for r in rects}
    chosen: list[Rect] = []
    total = np.zeros(len(CLASSES) + 1, np.int64)
    for _ in range(count):
        free = [r for r in rects if not any(r.intersect(c).area for c in chosen)]
        best = max(free, key=lambda r: class_entropy(total + counts[r]))
        chosen.append(best)
        total = total + counts[best]
    return chosen


def class_entropy(counts: NDArray[np.int64]) -> float:
    """Return the entropy of class shares, in nats."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())
