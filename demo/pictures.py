"""The demo's pictures: maps over tissue, what was corrected, the loop in one row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from loop import Correction, RoundResult
from PIL import Image, ImageDraw, ImageFont
from tissue import (
    DRAWN,
    HELD_OUT,
    IHC,
    IHC_HELD_OUT,
    IHC_SIDE_PX,
    Pixels,
    Plan,
    class_entropy,
    truth_of,
)

from unisemalign.geometry import Rect
from unisemalign.project import Project, Region
from unisemalign.project.colors import rgb

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


def _entropy_of(values: Pixels) -> float:
    return class_entropy(np.bincount(values.ravel()))
