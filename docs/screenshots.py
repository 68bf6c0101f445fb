"""Make the pictures of the dock from the real widgets and the real engine.

Run it with a display, or under a virtual one::

    xvfb-run -a -s "-screen 0 1600x1100x24" python docs/screenshots.py

It draws a slide, labels two regions from its truth in a person's place, trains a short round,
segments, and opens the region the model doubts most: four panels in ``docs/images/dock.png``.
Before that it makes a first guess (``first-guess.png``) and shows the weights (``weights.png``).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QPushButton

from napari_unisemalign.widgets.dock import DockWidget
from napari_unisemalign.widgets.weights_dialog import WeightsDialog
from unisemalign.geometry import Rect
from unisemalign.slides.synthetic import CLASSES, draw_slide, truth

SIZE_PX = 1024
WINDOW_PX = (1440, 960)
PANEL_PX = (900, 600)
MAX_BYTES = 400_000
PATIENCE_S = 600.0


class Stage:
    """A viewer with the dock, and the pictures taken of it."""

    def __init__(self, window_px: tuple[int, int] = WINDOW_PX) -> None:
        self.viewer = napari.Viewer()
        self.viewer.window.resize(*window_px)
        self.dock = DockWidget(self.viewer)
        self.viewer.window.add_dock_widget(self.dock, name="Segment slides", area="right")
        self.session = self.dock.controller.session
        self.panels: list[tuple[str, Image.Image]] = []
        self.dock.controller.errors.failed.connect(self._on_failed)

    def wait(self, until: Callable[[], bool] = lambda: False, seconds: float = 0.6) -> None:
        """Let the window live until something holds, at most ``seconds``."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            QApplication.processEvents()
            # No event loop runs around this one, which would do it.
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            time.sleep(0.01)

    def press(self, button: QPushButton, until: Callable[[], bool]) -> None:
        """Press a button once it can be pressed, and wait for what it brings about."""
        self.wait(button.isEnabled, 5)
        button.click()
        self.wait(until, PATIENCE_S)
        if not until():
            raise SystemExit(f"'{button.text()}' led nowhere: {self.dock.next_step.text()}")

    def take(self, caption: str) -> None:
        """Take a picture of the whole window."""
        self.wait()
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        self.panels.append((caption, Image.fromarray(pixels).convert("RGB")))
        print(f"{caption}: {self.dock.next_step.text()}")  # noqa: T201

    def label(self, rect: Rect, caption: str | None = None) -> None:
        """Mark a region, paint its truth, and accept it."""
        controller = self.dock.controller
        controller.layers.viewport.look_at(rect)
        self.wait(seconds=0.2)
        self.press(self.dock.review.mark, lambda: self.session.edit is not None)
        layer, edit = controller.layers.editing(), self.session.edit
        if layer is None or edit is None:
            raise SystemExit("No region opened: see the sentence above.")
        seen = truth(edit.region.rect, size_px=SIZE_PX, seed=0)
        layer.data = np.where(np.arange(len(seen))[:, None] < 0.8 * len(seen), seen, 0)
        if caption:
            self.take(caption)
        self.press(self.dock.review.accept, lambda: self.session.edit is None)

    def _on_failed(self, section: str, sentence: str) -> None:
        print(f"{section}: {sentence}", file=sys.stderr)  # noqa: T201


def play(stage: Stage, folder: Path, steps: int) -> None:
    """Go once round the loop."""
    controller, dock, session = stage.dock.controller, stage.dock, stage.session
    controller.opener.create_project(folder / "study.unisem", classes=list(CLASSES))
    dock.open.add_slides([draw_slide(folder / "colon.tif", size_px=SIZE_PX)])
    stage.label(Rect(700, 640, 256, 256))
    stage.label(Rect(384, 384, 256, 256), "1  Label what you know")
    dock.train.form.fields["training.steps"].value = steps
    stage.viewer.reset_view()
    stage.press(dock.train.start, lambda: len(session.curve.loss) > 0.6 * steps)
    stage.take("2  Train, and keep working")
    stage.wait(lambda: session.training is None, PATIENCE_S)
    stage.press(dock.segment.slide, lambda: bool(session.area) and session.segmenting is None)
    stage.take("3  Segment the slide")
    stage.press(dock.review.next, lambda: session.edit is not None)
    stage.take("4  Correct what the model doubts, train on")


def guess(stage: Stage, folder: Path, out: Path) -> None:
    """Make a first guess, name its clusters as a person would, and take both."""
    controller, dock, session = stage.dock.controller, stage.dock, stage.session
    controller.opener.create_project(folder / "guess.unisem", classes=list(CLASSES))
    dock.open.add_slides([draw_slide(folder / "guess.tif", size_px=SIZE_PX)])
    stage.press(dock.segment.slide, lambda: session.segmenting is None)
    stage.take("1  Before any label: what looks alike")
    numbers = session.clusters()
    if numbers is None:
        raise SystemExit("No clusters were found: see the sentence above.")
    whole = Rect(0, 0, SIZE_PX, SIZE_PX)
    found, seen = numbers.read(whole), truth(whole, size_px=SIZE_PX, seed=0)
    for number, combo in dock.segment.guess.combos.items():
        combo.setCurrentIndex(int(np.bincount(seen[found == number]).argmax()))
    stage.press(dock.segment.guess.use, lambda: session.segmenting is None)
    stage.take("2  Named: a map to correct")
    save(compose(stage.panels), out / "first-guess.png")
    stage.panels.clear()


def weights(stage: Stage, out: Path) -> None:
    """Show the dialog of the published weights."""
    dialog = WeightsDialog(stage.dock.controller, stage.dock)
    dialog.choose("kaiko-s16")
    dialog.show()
    stage.wait(seconds=1.0)
    path = out / "weights.png"
    dialog.grab().save(str(path))
    with Image.open(path) as picture:
        save(picture.convert("RGB"), path)
    dialog.close()
    dialog.deleteLater()


def compose(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    """Return the panels two by two, each under its caption."""
    band = 44
    font = ImageFont.load_default(size=24)
    width, height = PANEL_PX[0], PANEL_PX[1] + band
    rows = -(-len(panels) // 2)
    sheet = Image.new("RGB", (2 * width + 12, rows * (height + 12) - 12), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(panels):
        x, y = index % 2 * (width + 12), index // 2 * (height + 12)
        draw.text((x + 8, y + 8), caption, fill="#1b3a66", font=font)
        sheet.paste(picture.resize(PANEL_PX, Image.Resampling.LANCZOS), (x, y + band))
    return sheet


def save(sheet: Image.Image, path: Path) -> None:
    """Write a PNG of at most :data:`MAX_BYTES`, as large as that allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Maximum coverage keeps the small swatches of the classes in their own colours.
    method = Image.Quantize.MAXCOVERAGE
    for scale in (1.0, 0.9, 0.8, 0.7, 0.6):
        size = (round(sheet.width * scale), round(sheet.height * scale))
        small = sheet.resize(size, Image.Resampling.LANCZOS)
        small.quantize(160, method=method, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            return


def main() -> None:
    """Play the scenes and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--only", choices=("guess", "weights", "loop"), help="one picture alone")
    parser.add_argument("--steps", type=int, default=120, help="steps of the round that is shown")
    chosen = parser.parse_args()
    os.environ.setdefault("NAPARI_ASYNC", "0")
    stage = Stage()
    with tempfile.TemporaryDirectory() as folder:
        if chosen.only in {None, "guess"}:
            guess(stage, Path(folder), chosen.out)
        if chosen.only in {None, "weights"}:
            weights(stage, chosen.out)
        if chosen.only in {None, "loop"}:
            play(stage, Path(folder), chosen.steps)
            save(compose(stage.panels), chosen.out / "dock.png")
        stage.viewer.close()
        stage.wait(seconds=0.2)


if __name__ == "__main__":
    main()
