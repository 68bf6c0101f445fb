"""The whole loop on real and drawn tissue: open → segment → review → train → export.

``make demo`` runs this. It types the commands a person types, in processes of their own, plays the
person who corrects what the model doubts, and says plainly whether that helped. Everything it
writes lies beside this file; ``report.json`` holds the figures.

    python demo/demo.py [--seed N | --seeds 0,1,2] [--no-viewer] [--control]

Real tissue is scikit-image's ``ihc.png``: colonic glands, DAB and haematoxylin, from the Center
for Microscopy and Molecular Imaging (CMMI), no known copyright restrictions. It does not say how
large its pixels are: 0.5 µm is assumed, because the long nuclei of its epithelium (about 25 px)
are then some 12 µm long. Its labels were drawn by eye by us, not by a pathologist.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE, OverlapScores
from unisemalign.project import Origin, Project, Region, RegionState, Split
from unisemalign.project.colors import rgb
from unisemalign.protocol import Done, Event, Failed, Progress, ProjectLayout, Step, read_event
from unisemalign.runtime import read_log
from unisemalign.slides import synthetic

Pixels = NDArray[np.uint8]

HERE = Path(__file__).resolve().parent
MARK = ".unisemalign-demo"
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
    steps: int = 120
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


# -- the commands a person types ------------------------------------------------------------------


def say(text: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run_verb(*words: str | Path) -> list[dict[str, Any]]:
    """Run ``unisemalign WORDS --json`` in its own process; return the ``done`` events.

    Raises
    ------
    SystemExit
        With the engine's own sentence, if it fails.
    """
    texts = [str(word) for word in words]
    say("$ unisemalign " + " ".join(_short(text) for text in texts))
    command = [sys.executable, "-m", "unisemalign", *texts, "--json"]
    done: list[dict[str, Any]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as child:
        assert child.stdout is not None  # noqa: S101  asked for above
        for line in child.stdout:
            event = read_event(line)
            if isinstance(event, Done):
                done.append(event.fields())
            elif isinstance(event, Failed):
                raise SystemExit(event.text)
            _show_progress(event)
    if child.returncode != 0:
        raise SystemExit(f"'unisemalign {texts[0]}' ended with status {child.returncode}.")
    return done


def _short(text: str) -> str:
    return os.path.relpath(text) if Path(text).is_absolute() else text


def _show_progress(event: Event) -> None:
    if not sys.stderr.isatty() or not isinstance(event, Step | Progress | Done):
        return
    text = ""
    if isinstance(event, Step):
        text = f"  {event.step} of {event.total}"
    elif isinstance(event, Progress):
        text = f"  {event.done:.0f} of {event.total:.0f}"
    sys.stderr.write(f"\r{text:<40}" if text else "\r" + " " * 40 + "\r")
    sys.stderr.flush()


# -- tissue and truth -----------------------------------------------------------------------------


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


def make_project(plan: Plan, folder: Path) -> None:
    """Make the project and add the slides; the second drawn one is held out as a whole."""
    run_verb("new", plan.project, "--classes", ",".join(CLASSES), "--spacing-um", str(SPACING_UM))
    run_verb("add", plan.project, folder / f"{DRAWN}.tif")
    run_verb("add", plan.project, folder / f"{IHC}.png", "--spacing-um", str(SPACING_UM))
    held_out = folder / f"{HELD_OUT}.tif"
    run_verb("add", plan.project, held_out, "--masks", folder / "masks", "--split", "val")


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
        best = max(free, key=lambda r: _entropy(total + counts[r]))
        chosen.append(best)
        total = total + counts[best]
    return chosen


def _entropy(counts: NDArray[np.int64]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _entropy_of(values: Pixels) -> float:
    return _entropy(np.bincount(values.ravel()))


# -- the person -----------------------------------------------------------------------------------


def label_first(plan: Plan) -> list[Region]:
    """Label three regions as the dock does, and hold out a strip of ihc.png (split test)."""
    places = [(DRAWN, rect) for rect in choose_first(plan)] + [(IHC, IHC_FIRST)]
    with Project.open(plan.project) as project:
        first = [accept(project, plan, slide, rect) for slide, rect in places]
        held_out = accept(project, plan, IHC, IHC_HELD_OUT)
        project.set_region(held_out.id, split=Split.TEST)
    return first


def accept(project: Project, plan: Plan, slide: str, rect: Rect) -> Region:
    """Paint ``rect`` from the truth and accept it."""
    region = project.add_region(slide, rect, state=RegionState.REVIEW, reason="marked by hand")
    project.write_labels(
        slide,
        rect,
        truth_of(plan, slide, rect),
        Origin.DRAWN,
        action="accept",
        region_id=region.id,
    )
    return project.set_region(region.id, state=RegionState.ACCEPTED)


@dataclass(frozen=True)
class Correction:
    """One queued region: what the model said, what the person made of it."""

    region: Region
    tissue: Pixels
    said: Pixels
    corrected: Pixels

    @property
    def changed(self) -> float:
        """Share of the pixels that were changed."""
        return float((self.said != self.corrected).mean())


def review(plan: Plan, ranked: Sequence[dict[str, Any]], round_number: int) -> list[Correction]:
    """Put the queued regions right and accept them."""
    corrections = []
    with Project.open(plan.project) as project:
        for row in ranked:
            region = project.region(row["id"])
            tissue = project.open_slide(region.slide).read(region.rect)
            said = project.predictions(round_number, region.slide).read(region.rect, "class")
            right = truth_of(plan, region.slide, region.rect)
            corrections.append(Correction(region, tissue, said, right))
            _accept_corrected(project, corrections[-1], round_number)
    return corrections


def _accept_corrected(project: Project, correction: Correction, round_number: int) -> None:
    region, said, right = correction.region, correction.said, correction.corrected
    origin = np.where(said == right, Origin.ACCEPTED, Origin.CORRECTED).astype(np.uint8)
    origin[(said == 0) & (right > 0)] = Origin.DRAWN
    project.write_labels(
        region.slide,
        region.rect,
        right,
        origin,
        action="accept",
        region_id=region.id,
        round=round_number,
    )
    project.set_region(region.id, state=RegionState.ACCEPTED)


# -- rounds ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RoundResult:
    """What one round brought. Dice lie in 0…1, area is a share of what was predicted."""

    number: int
    seconds: float
    seconds_per_step: float
    mdice: float
    dice: dict[str, float | None]
    mdice_ihc: float | None
    dice_ihc: dict[str, float | None]
    area: dict[str, dict[str, float]]


def run_round(plan: Plan) -> RoundResult:
    """Train, segment every slide, score what is held out."""
    settings = (
        f"training.steps={plan.steps}",
        # The held-out slide is looked at once, at the end: it chooses no weights.
        f"training.validate_every={plan.steps}",
        f"seed={plan.seed}",
        # Glass is a class of this study, and people label it: none is skipped.
        "inference.skip_glass=false",
        *plan.settings,
    )
    flags = [word for setting in settings for word in ("--set", setting)]
    trained = run_verb("train", plan.project, *flags)[-1]
    seconds = time_steps(ProjectLayout(plan.project).round(trained["round"]).log)
    # By its number: a round whose Dice fell is set aside, and shown here all the same.
    chosen = ("--round", str(trained["round"]))
    segmented = run_verb("segment", plan.project, *chosen)
    scores = run_verb("evaluate", plan.project, *chosen, "--split", "val")[-1]
    mdice_ihc, dice_ihc = score_strip(plan, trained["round"])
    return RoundResult(
        number=trained["round"],
        seconds=trained["seconds"],
        seconds_per_step=seconds,
        mdice=scores["mdice"],
        dice=dict(zip(CLASSES, scores["dice_per_class"], strict=True)),
        mdice_ihc=mdice_ihc,
        dice_ihc=dice_ihc,
        area={event["slide"]: event["area"] for event in segmented},
    )


def run_queue(plan: Plan) -> list[dict[str, Any]]:
    """Return the regions the newest round doubts most, best first."""
    size = ("--count", str(plan.count), "--size-px", str(plan.region_px))
    regions: list[dict[str, Any]] = run_verb("queue", plan.project, *size)[-1]["regions"]
    return regions


def train_control(plan: Plan) -> RoundResult:
    """Train the second round without the corrections, on a copy, and score it."""
    copy = replace(plan, name="control.unisem")
    shutil.copytree(plan.project, copy.project)
    say("Control: the same second round, nothing corrected.")
    result = run_round(copy)
    say_round(result)
    return result


def time_steps(log: Path) -> float:
    """Return the mean seconds a training step took, without loading and validation."""
    times = [event.time for event in read_log(log) if isinstance(event, Step) and event.time]
    return float(times[-1] - times[0]) / max(1, len(times) - 1)


def score_strip(plan: Plan, number: int) -> tuple[float | None, dict[str, float | None]]:
    """Score the held-out strip of ihc.png from the stored map, over the classes seen in it."""
    with Project.open(plan.project) as project:
        said = project.predictions(number, IHC).read(IHC_HELD_OUT, "class")
    right = truth_of(plan, IHC, IHC_HELD_OUT)
    scores = OverlapScores(len(CLASSES))
    scores.add(said - np.uint8(1), np.where(right == 0, IGNORE, right - 1).astype(np.uint8))
    there = {CLASSES[value - 1] for value in np.unique(right) if value}
    dice = {n: float(d) for n, d in zip(CLASSES, scores.dice, strict=True) if n in there}
    return statistics.fmean(dice.values()), dict(dice)


def say_round(result: RoundResult) -> None:
    """Print one round's figures."""
    say()
    say(f"Round {result.number}: {result.seconds_per_step:.3f} s a step, {result.seconds:.0f} s.")
    say(f"  {'Dice, held-out drawn slide':34}{_row(result.dice)}   mean {100 * result.mdice:.1f}")
    mean = f"   mean {100 * result.mdice_ihc:.1f}" if result.mdice_ihc is not None else ""
    say(f"  {'Dice, held-out strip of ihc.png':34}{_row(result.dice_ihc)}{mean}")
    for slide, area in result.area.items():
        say(f"  {'Area %, ' + slide:34}{_row(area)}")
    say()


def _row(values: dict[str, Any]) -> str:
    shown = ((name, values.get(name)) for name in CLASSES)
    return "  ".join(f"{n} {'–' if v is None else format(100 * v, '.1f'):>4}" for n, v in shown)


# -- pictures -------------------------------------------------------------------------------------

INK, PAPER, DIM = (30, 30, 30), (255, 255, 255), (110, 110, 110)
PUT_RIGHT, MADE_WRONG, BOX = (0, 90, 181), (220, 50, 32), (30, 80, 220)
MARGIN, TITLE_H = 12, 26
# magma at a quarter, a half, three quarters and the end: the colours the plugin shows doubt in.
_MAGMA = np.array([[81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]], np.float32)


def font(size: int) -> Any:
    """Return Pillow's own font: no system font is needed."""
    return ImageFont.load_default(size)


def blend(tissue: Pixels, classes: Pixels, colors: Pixels, opacity: float = 0.55) -> Pixels:
    """Lay class colours over tissue; class 0 lets it through."""
    seen = (classes > 0)[..., None] * np.float32(opacity)
    return (tissue * (1 - seen) + colors[classes] * seen).astype(np.uint8)


def heat(tissue: Pixels, doubt: Pixels) -> Pixels:
    """Show doubt (0 sure … 255 a guess) over grey tissue: bright is unsure."""
    grey = tissue.mean(-1, keepdims=True).astype(np.float32) * 0.6 + 90
    level = np.clip(doubt.astype(np.float32) / 255 * 1.6, 0, 1)
    place = level * (len(_MAGMA) - 1)
    low = np.minimum(place.astype(int), len(_MAGMA) - 2)
    color = _MAGMA[low] + (_MAGMA[low + 1] - _MAGMA[low]) * (place - low)[..., None]
    seen = np.clip(level * 4 - 0.1, 0, 0.9)[..., None]
    out: Pixels = (grey * (1 - seen) + color * seen).clip(0, 255).astype(np.uint8)
    return out


def changes(tissue: Pixels, before: Pixels, after: Pixels, truth: Pixels) -> Pixels:
    """Show what a second map put right (blue) and made wrong (red) over grey tissue."""
    out = np.repeat(tissue.mean(-1, keepdims=True) * 0.5 + 120, 3, -1).clip(0, 255)
    out[(before != truth) & (after == truth)] = PUT_RIGHT
    out[(before == truth) & (after != truth)] = MADE_WRONG
    return out.astype(np.uint8)


@dataclass(frozen=True)
class Panel:
    """A picture with a title, and rectangles (in its pixels) with a word in each."""

    pixels: Pixels
    title: str
    note: str = ""
    boxes: tuple[tuple[Rect, str], ...] = ()

    def draw(self, height: int) -> Image.Image:
        """Return it ``height`` px high, below its title."""
        factor = height / self.pixels.shape[0]
        width = round(self.pixels.shape[1] * factor)
        picture = Image.fromarray(self.pixels).resize((width, height), Image.Resampling.LANCZOS)
        self._draw_boxes(ImageDraw.Draw(picture), factor)
        note_h = 18 if self.note else 0
        out = Image.new("RGB", (width, height + TITLE_H + note_h), PAPER)
        out.paste(picture, (0, TITLE_H))
        pen = ImageDraw.Draw(out)
        pen.rectangle((0, TITLE_H, width - 1, TITLE_H + height - 1), outline=(190, 190, 190))
        pen.text((0, 2), self.title, INK, font(17))
        pen.text((0, TITLE_H + height + 2), self.note, DIM, font(13))
        return out

    def _draw_boxes(self, pen: ImageDraw.ImageDraw, factor: float) -> None:
        for rect, word in self.boxes:
            r = rect.scaled(factor)
            pen.rectangle((r.x, r.y, r.x1 - 1, r.y1 - 1), outline=PAPER, width=5)
            pen.rectangle((r.x + 1, r.y + 1, r.x1 - 2, r.y1 - 2), outline=BOX, width=3)
            if word:
                width = pen.textlength(word, font(16)) + 8
                pen.rectangle((r.x, r.y, r.x + width, r.y + 21), fill=BOX)
                pen.text((r.x + 4, r.y + 1), word, PAPER, font(16))


Swatch = tuple[tuple[int, int, int] | None, str]
"""A colour and its word; without a colour, a line of text."""


def sheet(rows: Sequence[Sequence[Panel]], legend: Sequence[Swatch], height: int) -> Image.Image:
    """Set panels in rows above a legend."""
    drawn = [[panel.draw(height) for panel in row] for row in rows]
    widths = [sum(p.width + MARGIN for p in row) for row in drawn]
    key = _legend(legend, max(widths))
    total = sum(max(p.height for p in row) + MARGIN for row in drawn) + key.height + MARGIN
    out = Image.new("RGB", (max(widths) + MARGIN, total), PAPER)
    y = MARGIN
    for row in drawn:
        x = MARGIN
        for picture in row:
            out.paste(picture, (x, y))
            x += picture.width + MARGIN
        y += max(p.height for p in row) + MARGIN
    out.paste(key, (MARGIN, y))
    return out


def _legend(legend: Sequence[Swatch], width: int) -> Image.Image:
    out = Image.new("RGB", (width, 28 * _legend_rows(legend, width)), PAPER)
    pen = ImageDraw.Draw(out)
    for (color, word), (x, y) in zip(legend, _legend_places(legend, width), strict=True):
        if color is not None:
            pen.rectangle((x, y + 3, x + 18, y + 19), fill=color, outline=(120, 120, 120))
        pen.text((x if color is None else x + 25, y), word, INK, font(17))
    return out


def _legend_places(legend: Sequence[Swatch], width: int) -> Iterator[tuple[int, int]]:
    x = y = 0
    for color, word in legend:
        wide = 50 + round(font(17).getlength(word))
        if x and (color is None or x + wide > width):
            x, y = 0, y + 28
        yield x, y
        x += wide


def _legend_rows(legend: Sequence[Swatch], width: int) -> int:
    return 1 + max((y for _, y in _legend_places(legend, width)), default=0) // 28


@dataclass
class Album:
    """Draws and keeps the pictures of one demo."""

    plan: Plan
    step: int = 4
    pictures: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with Project.open(self.plan.project) as project:
            infos = project.info.classes
            self.tissue = {name: self._read(project, name) for name in (DRAWN, IHC, HELD_OUT)}
        self.colors = np.array([(0, 0, 0), *(rgb(each.color) for each in infos)], np.uint8)
        self.legend: list[Swatch] = [(rgb(each.color), each.name) for each in infos]

    def thin(self, name: str) -> int:
        """Return how many pixels of a slide become one."""
        return 1 if name == IHC else self.step

    def _read(self, project: Project, name: str) -> Pixels:
        slide = project.open_slide(name)
        pixels = slide.read(Rect(0, 0, *slide.shape_yx))
        side = pixels.shape[0] // self.thin(name)
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX))

    def _stored(self, number: int, name: str, what: Any) -> Pixels:
        with Project.open(self.plan.project) as project:
            store = project.predictions(number, name)
            values = store.read(Rect(0, 0, *store.shape_yx), what)
        return self._thinned(values, name)

    def _thinned(self, values: Pixels, name: str) -> Pixels:
        by = self.thin(name)
        side = values.shape[0] // by
        return values[by // 2 :: by, by // 2 :: by][:side, :side]

    def truth(self, name: str) -> Pixels:
        """Return the truth of a whole slide, thinned."""
        side = IHC_SIDE_PX if name == IHC else self.plan.side_px
        return self._thinned(truth_of(self.plan, name, Rect(0, 0, side, side)), name)

    def map(self, number: int, name: str) -> Pixels:
        """Return a round's map over the tissue."""
        return blend(self.tissue[name], self._stored(number, name, "class"), self.colors)

    def doubt(self, number: int, name: str) -> Pixels:
        """Return where a round is unsure."""
        confidence = self._stored(number, name, "confidence")
        return heat(self.tissue[name], np.where(confidence == 0, 0, 255 - confidence))

    def boxes(self, regions: Sequence[Region], name: str) -> tuple[tuple[Rect, str], ...]:
        """Return the regions on a slide with their places in the list."""
        by = self.thin(name)
        return tuple(
            (region.rect.scaled(1 / by), str(place))
            for place, region in enumerate(regions, start=1)
            if region.slide == name
        )

    def keep(self, name: str, picture: Image.Image) -> None:
        """Write a picture; its path goes into the report."""
        path = self.plan.out / f"{name}.png"
        picture.save(path, optimize=True)
        self.pictures[name.partition("-")[2] or name] = str(path)

    def show_tissue(self, first: Sequence[Region]) -> None:
        """Show the three slides, what was labelled at first, and what is held out."""
        strip = ((IHC_HELD_OUT, "held out"),)
        rows = [
            [
                Panel(self.tissue[DRAWN], "Drawn slide", "boxes: labelled at first",
                      self.boxes(first, DRAWN)),
                Panel(self.tissue[IHC], "Real tissue: ihc.png (DAB + haematoxylin)",
                      "labels by eye, not by a pathologist", self.boxes(first, IHC) + strip),
                Panel(self.tissue[HELD_OUT], "Held-out slide", "drawn, never trained on"),
            ],
            [self._labelled(place, region) for place, region in enumerate(first, start=1)],
        ]  # fmt: skip
        self.keep("1-tissue", sheet(rows, self.legend, 440))

    def _labelled(self, place: int, region: Region) -> Panel:
        with Project.open(self.plan.project) as project:
            tissue = project.open_slide(region.slide).read(region.rect)
            labels = project.labels(region.slide).read(region.rect)
        return Panel(blend(tissue, labels, self.colors, 0.4), f"{place}: labelled, {region.slide}")

    def show_prediction(self, result: RoundResult) -> None:
        """Show the first round's maps, and the held-out slide's truth."""
        dice = f"held-out Dice {100 * result.mdice:.1f}"
        truth = blend(self.tissue[HELD_OUT], self.truth(HELD_OUT), self.colors)
        row = [
            Panel(self.map(result.number, DRAWN), f"Round {result.number}: drawn slide"),
            Panel(self.map(result.number, IHC), f"Round {result.number}: real tissue"),
            Panel(self.map(result.number, HELD_OUT), f"Round {result.number}: held out", dice),
            Panel(truth, "Held out: the truth"),
        ]
        self.keep("2-prediction", sheet([row], self.legend, 440))

    def show_review(self, result: RoundResult, corrections: Sequence[Correction]) -> None:
        """Show what the queue found and what the person made of it."""
        self.show_doubt(result, [each.region for each in corrections])
        if corrections:
            self.show_corrections(corrections)

    def show_doubt(self, result: RoundResult, regions: Sequence[Region]) -> None:
        """Show where the first round is unsure, and the regions the queue ranks first."""
        row = [
            Panel(self.doubt(result.number, name), title, "", self.boxes(regions, name))
            for name, title in ((DRAWN, "Unsure: drawn slide"), (IHC, "Unsure: real tissue"))
        ]
        legend: list[Swatch] = [(_heat_color(v), w) for v, w in ((0.3, "a little"),
                                (0.65, "unsure"), (1.0, "a guess"))]  # fmt: skip
        legend.append((BOX, "the queue's first regions, best first"))
        words: list[Swatch] = [
            (None, f"{place}: {region.slide}, {region.reason}")
            for place, region in enumerate(regions, start=1)
        ]
        self.keep("3-unsure", sheet([row], legend + words, 560))

    def show_corrections(self, corrections: Sequence[Correction]) -> None:
        """Show each queued region: tissue, said, corrected, changed."""
        rows = []
        for place, each in enumerate(corrections, start=1):
            changed = changes(each.tissue, each.said, each.corrected, each.corrected)
            source = "by eye" if each.region.slide == IHC else "from the truth"
            rows.append([
                Panel(each.tissue, f"{place}: {each.region.slide}"),
                Panel(blend(each.tissue, each.said, self.colors), "The model said"),
                Panel(blend(each.tissue, each.corrected, self.colors), f"Corrected {source}"),
                Panel(changed, f"Changed: {100 * each.changed:.1f} %"),
            ])  # fmt: skip
        legend = [*self.legend, (PUT_RIGHT, "changed by the person")]
        self.keep("4-corrections", sheet(rows, legend, 256))

    def show_after(self, before: RoundResult, after: RoundResult) -> None:
        """Show the maps afterwards beside those before, held out and on real tissue."""
        rows = [self._after(name, before, after) for name in (HELD_OUT, IHC)]
        legend = [*self.legend, (PUT_RIGHT, "put right"), (MADE_WRONG, "made wrong")]
        self.keep("5-after", sheet(rows, legend, 440))

    def _after(self, name: str, before: RoundResult, after: RoundResult) -> list[Panel]:
        was, now = (self._stored(r.number, name, "class") for r in (before, after))
        truth, tissue = self.truth(name), self.tissue[name]
        real = name == IHC
        dice = [r.mdice_ihc if real else r.mdice for r in (before, after)]
        notes = [f"Dice {100 * (d or 0):.1f}" + (" (held-out strip)" if real else "") for d in dice]
        what = "real tissue" if real else "held out"
        boxes = ((IHC_HELD_OUT, "held out"),) if real else ()
        by_eye = "Labels by eye" if real else "The truth"
        return [
            Panel(blend(tissue, was, self.colors), f"Before: {what}", notes[0], boxes),
            Panel(blend(tissue, now, self.colors), f"After: {what}", notes[1], boxes),
            Panel(blend(tissue, truth, self.colors), by_eye, "", boxes),
            Panel(changes(tissue, was, now, truth), "What the second round changed", "", boxes),
        ]

    def show_loop(
        self, before: RoundResult, after: RoundResult, corrections: Sequence[Correction]
    ) -> None:
        """Show the loop in one row, for the README: drawn tissue only."""
        if not corrections:
            return
        regions = [each.region for each in corrections]
        # The one with most classes in it tells most.
        drawn = max(corrections, key=lambda c: (c.region.slide == DRAWN, _entropy_of(c.corrected)))
        name = HELD_OUT
        row = [
            Panel(self.tissue[name], "1  open", "a slide the model never trains on"),
            Panel(self.map(before.number, name), "2  segment",
                  f"a first round: held-out Dice {100 * before.mdice:.0f}"),
            Panel(self.doubt(before.number, DRAWN), "3  review",
                  "unsure, and what to look at first", self.boxes(regions, DRAWN)),
            Panel(blend(drawn.tissue, drawn.corrected, self.colors, 0.45), "4  correct, train",
                  f"{len(regions)} regions put right"),
            Panel(self.map(after.number, name), "5  segment again, export",
                  f"the next round: held-out Dice {100 * after.mdice:.0f}"),
        ]  # fmt: skip
        picture = sheet([row], self.legend, 300)
        self.keep("loop", self._with_palette(picture))

    def _with_palette(self, picture: Image.Image) -> Image.Image:
        """Return a small copy with 256 colours, none of the legend's among what is lost."""
        sample = Image.new("RGB", (picture.width, picture.height + 60), PAPER)
        sample.paste(picture, (0, 60))
        pen = ImageDraw.Draw(sample)
        for place, (color, _) in enumerate(self.legend):
            pen.rectangle((120 * place, 0, 120 * place + 119, 59), fill=color)
        palette = sample.quantize(256, method=Image.Quantize.MEDIANCUT)
        return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _heat_color(level: float) -> tuple[int, int, int]:
    tissue = np.full((1, 1, 3), 180, np.uint8)
    pixel = heat(tissue, np.full((1, 1), round(255 * level / 1.6), np.uint8))[0, 0]
    return int(pixel[0]), int(pixel[1]), int(pixel[2])


# -- the viewer -----------------------------------------------------------------------------------


def has_display() -> bool:
    """Whether a window can be shown to a person."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def photograph(plan: Plan) -> Path | None:
    """Photograph the plugin with the project open, on a virtual screen where there is one."""
    path = plan.out / "6-plugin.png"
    virtual = shutil.which("xvfb-run")
    if virtual is None and not has_display():
        say("No screenshot: there is neither a display nor xvfb-run (package xvfb).")
        return None
    screen = [virtual, "-a", "-s", "-screen 0 1600x1100x24"] if virtual else []
    words = [*screen, sys.executable, str(HERE / "demo.py"), "--show", str(plan.project)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "xcb"} if virtual else dict(os.environ)
    with (plan.out / "viewer.log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(
            [*words, "--screenshot", str(path)],
            env=environment,
            stdout=log,
            stderr=log,
            timeout=180,
            check=False,
        )
    if ended.returncode != 0 or not path.exists():
        say(f"No screenshot: the viewer ended with status {ended.returncode}; see {log.name}.")
        return None
    return path


def show_project(root: Path, screenshot: Path | None) -> None:
    """Open napari on the project; with ``screenshot``, photograph it and close."""
    import napari
    from qtpy.QtCore import QTimer

    from napari_unisemalign.widgets.dock import DockWidget

    viewer = napari.Viewer(title="napari-unisemalign", show=True)
    dock = DockWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Segment slides", area="right")
    dock.controller.opener.open_project(root)
    dock.controller.opener.show_slide(DRAWN)
    if screenshot is not None:
        viewer.window.resize(1560, 1060)
        QTimer.singleShot(8000, lambda: _shoot(viewer, screenshot))
    napari.run()
    if "torch" in sys.modules:
        raise SystemExit("The viewer's process has loaded torch: it never may.")


def _shoot(viewer: Any, path: Path) -> None:
    viewer.reset_view()
    Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).save(path)
    viewer.close()


# -- the demo -------------------------------------------------------------------------------------


def run_demo(plan: Plan) -> dict[str, Any]:
    """Run the loop once and return the report."""
    started, busy = time.monotonic(), _cpu_seconds()
    _clear(plan.out)
    album = start_project(plan)
    before = run_round(plan)
    say_round(before)
    album.show_prediction(before)

    ranked = run_queue(plan)
    control = train_control(plan) if plan.control else None
    corrections = review(plan, ranked, before.number)
    _say_corrections(corrections)
    after = run_round(plan)
    say_round(after)

    album.show_review(before, corrections)
    album.show_after(before, after)
    album.show_loop(before, after, corrections)
    finish_project(plan, album)
    report = make_report(plan, before, after, corrections, album.pictures)
    if control is not None:
        report["dice_control"] = control.mdice
    report["seconds_total"] = round(time.monotonic() - started, 1)
    report["seconds_cpu"] = round(_cpu_seconds() - busy, 1)
    say_report(plan, report)
    return report


def start_project(plan: Plan) -> Album:
    """Open the slides, label the first regions, and begin the album."""
    say("Open: real tissue, a drawn slide, and a drawn slide that is held out.")
    make_project(plan, make_tissue(plan))
    first = label_first(plan)
    say(f"Labelled at first: {_places(first)} (ihc by eye, not by a pathologist).")
    album = Album(plan)
    album.show_tissue(first)
    return album


def finish_project(plan: Plan, album: Album) -> None:
    """Export, leave a queue for the person who opens the project, and photograph it."""
    run_verb("export", plan.project, "--format", "geojson", "--out", plan.out / "export")
    run_verb("queue", plan.project)
    if plan.screenshot and (shot := photograph(plan)):
        album.pictures["plugin"] = str(shot)


def say_report(plan: Plan, report: dict[str, Any]) -> None:
    """Print what the second round brought, and where everything lies."""
    say(verdict(report))
    if "dice_control" in report:
        say(control_sentence(report))
    say(f"All of it took {report['seconds_total']:.0f} s. Pictures lie in {_short(str(plan.out))}.")


def _cpu_seconds() -> float:
    """Return the processor time of this process and its children so far."""
    return sum(os.times()[:4])


def _clear(out: Path) -> None:
    """Take away what an earlier demo left, and nothing else: another folder ends the demo."""
    mark = out / MARK
    if out != HERE and not mark.exists() and out.is_dir() and any(out.iterdir()):
        raise SystemExit(
            f"The demo needs a new or empty folder, or one of an earlier demo, found '{out}' with "
            f"something else in it. Choose another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()
    for name in ("demo.unisem", "control.unisem", "slides", "export"):
        shutil.rmtree(out / name, ignore_errors=True)


def _places(regions: Sequence[Region]) -> str:
    return ", ".join(f"{region.slide} {region.rect}" for region in regions)


def _say_corrections(corrections: Sequence[Correction]) -> None:
    say("Corrected in the person's place:")
    for each in corrections:
        by_eye = " (labels by eye)" if each.region.slide == IHC else ""
        say(f"  {_places([each.region])}{by_eye}: {100 * each.changed:.1f} % of the pixels changed")
        say(f"    {each.region.reason}")


def make_report(
    plan: Plan,
    before: RoundResult,
    after: RoundResult,
    corrections: Sequence[Correction],
    pictures: dict[str, str],
) -> dict[str, Any]:
    """Return what ``report.json`` holds, but for the time it all took."""
    return {
        "seed": plan.seed,
        "steps": plan.steps,
        "dice_before": before.mdice,
        "dice_after": after.mdice,
        "gain": after.mdice - before.mdice,
        "seconds_per_step": (before.seconds_per_step + after.seconds_per_step) / 2,
        "dice_per_class": {"before": before.dice, "after": after.dice},
        "ihc_strip": {
            "before": before.mdice_ihc,
            "after": after.mdice_ihc,
            "per_class": {"before": before.dice_ihc, "after": after.dice_ihc},
        },
        "area": {"before": before.area, "after": after.area},
        "corrections": [
            {
                "slide": each.region.slide,
                "rect": [each.region.rect.y, each.region.rect.x, *each.region.rect.shape],
                "changed": each.changed,
                "reason": each.region.reason,
            }
            for each in corrections
        ],
        "pictures": pictures,
    }


def verdict(report: dict[str, Any]) -> str:
    """Say in plain words whether the second round is better."""
    before, after = 100 * report["dice_before"], 100 * report["dice_after"]
    figures = f"Held-out Dice: {before:.1f} before, {after:.1f} after"
    if after > before:
        return f"{figures}: the second round is better by {after - before:.1f}."
    return (
        f"{figures}: the second round is NOT better this time ({after - before:+.1f}). "
        f"Another seed, or more steps, may show another picture; this is what was measured."
    )


def control_sentence(report: dict[str, Any]) -> str:
    """Say how much of the gain is the corrections'."""
    control, after = 100 * report["dice_control"], 100 * report["dice_after"]
    return (
        f"Trained on without corrections: {control:.1f}. "
        f"The corrections themselves brought {after - control:+.1f}."
    )


def run_seeds(plan: Plan, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the demo once a seed, each in a folder of its own; return means, SDs and every run."""
    runs = []
    for seed in seeds:
        say(f"\n=== Seed {seed} ===")
        runs.append(run_demo(replace(plan, seed=seed, out=plan.out / f"seed-{seed}")))
    report: dict[str, Any] = {"seeds": list(seeds), "runs": runs}
    keys = (
        "dice_before",
        "dice_after",
        "gain",
        "dice_control",
        "seconds_per_step",
        "seconds_total",
    )
    for key in (key for key in keys if key in runs[0]):
        values = [run[key] for run in runs]
        report[key] = statistics.fmean(values)
        report[f"{key}_sd"] = statistics.stdev(values) if len(values) > 1 else 0.0
    report["pictures"] = runs[0]["pictures"]
    say(f"\nOver seeds {', '.join(map(str, seeds))} (mean ± SD):")
    for key in ("dice_before", "dice_after", "gain", "dice_control"):
        if key in report:
            say(f"  {key:12} {100 * report[key]:.1f} ± {100 * report[f'{key}_sd']:.1f}")
    return report


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The whole loop on real and drawn tissue.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", help="several seeds, separated by commas: mean and SD")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="training steps a round")
    parser.add_argument("--side-px", type=int, default=Plan.side_px, help="side of a drawn slide")
    parser.add_argument("--region-px", type=int, default=Plan.region_px, help="side of a region")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for everything written")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="PLACE=VALUE"
    )
    parser.add_argument("--control", action="store_true", help="also train on without corrections")
    parser.add_argument("--no-viewer", action="store_true", help="do not open napari at the end")
    parser.add_argument("--no-screenshot", action="store_true")
    parser.add_argument("--show", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--screenshot", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit status."""
    chosen = parse(sys.argv[1:] if words is None else words)
    if chosen.show is not None:
        show_project(chosen.show, chosen.screenshot)
        return 0
    plan = Plan(
        out=chosen.out.resolve(),
        seed=chosen.seed,
        steps=chosen.steps,
        side_px=chosen.side_px,
        region_px=chosen.region_px,
        control=chosen.control,
        settings=tuple(chosen.settings),
        screenshot=not chosen.no_screenshot,
    )
    if chosen.seeds:
        report = run_seeds(plan, [int(seed) for seed in chosen.seeds.split(",")])
    else:
        report = run_demo(plan)
    path = plan.out / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    say(f"Figures: {_short(str(path))}")
    if not chosen.seeds and not chosen.no_viewer and has_display():
        say("Opening napari on the project. Close its window to end.")
        subprocess.run([sys.executable, __file__, "--show", str(plan.project)], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
