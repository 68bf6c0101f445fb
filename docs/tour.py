"""Take the tour of ``docs/tour.md``: real tissue, real widgets, mouse and keys.

Run it with a display, or under a virtual one::

    xvfb-run -a -s "-screen 0 1366x768x24" python docs/tour.py

The tissue is scikit-image's ``ihc.png`` (no known copyright restrictions); what is painted on it
are the demo's labels by eye. Every step is timed. The pictures are ``docs/images/tour-*.png``;
the times are printed as the table of the page.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from napari._qt.dialogs.qt_notification import NapariQtNotification
from numpy.typing import NDArray
from PIL import Image, ImageOps
from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QWidget,
)
from scipy import ndimage
from screenshots import PATIENCE_S, Stage
from skimage.data import immunohistochemistry
from skimage.measure import approximate_polygon, find_contours

from napari_unisemalign.session.session import Session
from napari_unisemalign.widgets.ledger_dialog import LedgerDialog
from napari_unisemalign.widgets.new_project_dialog import NewProjectDialog
from napari_unisemalign.widgets.spacing_dialog import SpacingDialog
from unisemalign.geometry import Rect

WINDOW_PX = (1366, 768)
MAX_BYTES = 250_000
CLASSES = ("empty", "epithelium", "stroma")
WORKING_UM, FILE_UM = 0.25, 0.5
FIRST = Rect(460, 0, 256, 256)
HELD_OUT = Rect(240, 460, 256, 256)
MEANWHILE = Rect(200, 720, 256, 256)
"""Regions that are marked by hand, in pixels at working spacing."""
LEAST_PX = 150
"""A smaller patch that is wrong is left as it is."""
LEFT = Qt.MouseButton.LeftButton
Mask = NDArray[np.bool_]
Labels = NDArray[np.uint8]


@dataclass
class Step:
    """What one step took: seconds in all, seconds of waiting for the program, presses and keys."""

    name: str
    seconds: float = 0.0
    waited: float = 0.0
    presses: int = 0


class Tour(Stage):
    """A viewer, a person's hand in it, and a watch."""

    def __init__(self, out: Path) -> None:
        super().__init__(WINDOW_PX)
        self.out = out
        self.steps: list[Step] = []
        self.canvas: QWidget = self.viewer.window._qt_viewer.canvas.native
        self.right = by_eye()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        self.steps.append(Step(name))
        began = time.monotonic()
        yield
        self.steps[-1].seconds = time.monotonic() - began
        print(self.steps[-1], "|", self.dock.next_step.text())  # noqa: T201

    def wait(self, until: Callable[[], bool] = lambda: False, seconds: float = 0.6) -> None:
        """Let the window live until something holds, at most ``seconds``."""
        began = time.monotonic()
        super().wait(until, seconds)
        if self.steps:
            self.steps[-1].waited += time.monotonic() - began

    def pause(self, seconds: float) -> None:
        """Let the window live: time of the hand, not of the program."""
        super().wait(seconds=seconds)

    def photograph(
        self, name: str, *, dialog: QWidget | None = None, shown: QWidget | None = None
    ) -> None:
        """Take a picture of the window, and of a dialog before it; its time is not counted.

        ``shown``: what of the dock is to be in sight.
        """
        began = time.monotonic()
        self.pause(0.8)
        self.dock.render_now()
        for note in self.viewer.window._qt_window.findChildren(NapariQtNotification):
            note.close()  # stays for ever where the window never is the active one
        if shown is not None:
            self.show(shown)
        self.pause(0.2)
        pixels = self.viewer.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(pixels).convert("RGB")
        if dialog is not None:
            path = self.out / f"tour-{name}.png"
            dialog.grab().save(str(path))
            with Image.open(path) as grabbed:
                front = ImageOps.expand(grabbed.convert("RGB"), border=2, fill="#8a93a6")
            place = (picture.width - front.width) // 2, (picture.height - front.height) // 2
            picture.paste(front, place)
        save(picture, self.out / f"tour-{name}.png")
        taken = time.monotonic() - began
        for step in self.steps[-1:]:
            step.seconds -= taken

    # -- the hand -----------------------------------------------------------------------------

    def press(self, button: QPushButton, until: Callable[[], bool] = lambda: True) -> None:
        """Press a button with the mouse once it can be pressed; wait for what it brings about."""
        self.wait(lambda: button.isEnabled() and button.isVisibleTo(self.dock), 5)
        self.show(button)
        self.click(button, until)

    def click(self, widget: QWidget, until: Callable[[], bool] = lambda: True) -> None:
        """Press what is in sight."""
        self.count(1)
        QTest.mouseClick(widget, LEFT)
        self.dock.render_now()
        self.wait(until, PATIENCE_S)
        if not until():
            raise SystemExit(f"Nothing came of it: {self.dock.next_step.text()}")
        self.dock.render_now()

    def show(self, widget: QWidget) -> None:
        """Scroll the dock to a widget."""
        self.dock.scroll_area.ensureWidgetVisible(widget)
        QApplication.processEvents()

    def count(self, presses: int) -> None:
        """Count presses of the mouse and words typed."""
        self.steps[-1].presses += presses

    def type(self, field: QWidget, words: str) -> None:
        """Put words in place of those of a field."""
        self.count(1)
        QTest.keyClick(field, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(field, words)

    def key(self, key: Qt.Key, until: Callable[[], bool]) -> None:
        """Press a key on the canvas, and wait for what it brings about."""
        self.count(1)
        QTest.keyClick(self.canvas, key)
        self.wait(until, PATIENCE_S)

    def answer(self, kind: type[QDialog], act: Callable[[QDialog], None]) -> None:
        """Do something in the dialog that is about to open."""

        def look() -> None:
            dialog = QApplication.activeModalWidget()
            if isinstance(dialog, kind) and dialog.isVisible():
                act(dialog)
            else:
                QTimer.singleShot(50, look)

        QTimer.singleShot(50, look)

    def agree(
        self,
        dialog: QDialog,
        which: QDialogButtonBox.StandardButton = QDialogButtonBox.StandardButton.Ok,
    ) -> None:
        """Press a dialog's button, OK unless another is named."""
        self.count(1)
        QTest.mouseClick(dialog.findChild(QDialogButtonBox).button(which), LEFT)

    # -- painting -----------------------------------------------------------------------------

    def mark(self, rect: Rect) -> None:
        """Move there and press Mark region."""
        self.dock.controller.layers.viewport.look_at(rect)
        self.pause(0.3)
        self.press(self.dock.review.mark, lambda: self.session.edit is not None)

    def paint(self, *, passes: int = 3) -> None:
        """Outline with the polygon what is not right yet, the largest patches first."""
        edit, layer = self.session.edit, self.dock.controller.layers.editing()
        if edit is None or layer is None:
            raise SystemExit("No region is open.")
        self.dock.controller.layers.viewport.look_at(edit.region.rect)
        self.pause(0.3)
        right = self.right[edit.region.rect.slices]
        for _ in range(passes):
            patches = _wrong(np.asarray(layer.data), right)
            for value, patch in sorted(patches, key=lambda each: -each[1].sum()):
                self._outline(value, patch)

    def _outline(self, value: int, patch: Mask) -> None:
        self._choose(value, "polygon")
        outline = max(find_contours(np.pad(patch, 1).astype(float), 0.5), key=len)
        corners = approximate_polygon(outline - 1, 1.5)[:-1].clip(1, len(patch) - 2)
        for y, x in corners:
            QTest.mouseMove(self.canvas, self._at(y, x))
            QTest.mouseClick(self.canvas, LEFT, pos=self._at(y, x))
            self.pause(0.03)
        QTest.mouseDClick(self.canvas, LEFT, pos=self._at(*corners[-1]))
        self.pause(0.1)
        self.count(len(corners) + 1)

    def _choose(self, value: int, mode: str) -> None:
        review = self.dock.review
        for button in (review.classes.buttons[value], review.modes[mode]):
            if not button.isChecked():
                self.click(button)

    def _at(self, y: float, x: float) -> QPoint:
        """Return where a pixel of the open region lies on the canvas."""
        edit = self.session.edit
        if edit is None:
            raise SystemExit("No region is open.")
        camera = self.viewer.scene.camera
        world = np.array([edit.region.rect.y + y + 0.5, edit.region.rect.x + x + 0.5]) * WORKING_UM
        dy, dx = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return QPointF(self.canvas.width() / 2 + dx, self.canvas.height() / 2 + dy).toPoint()


def _wrong(said: Labels, right: Labels) -> Iterator[tuple[int, Mask]]:
    """Yield each patch that is wrong, with its class. Slivers along a border stay as they are."""
    for value in range(1, len(CLASSES) + 1):
        wrong = ndimage.binary_opening((right == value) & (said != value), iterations=2)
        numbered, count = ndimage.label(wrong)
        for number in range(1, count + 1):
            patch = numbered == number
            if patch.sum() >= LEAST_PX:
                yield value, patch


def by_eye() -> Labels:
    """Return the demo's labels of ihc.png at working spacing, numbered as :data:`CLASSES`."""
    tissue = _demo("tissue")
    empty = {"lumen", "glass"}  # glands' lumina, and a cleft in the stroma
    names = ["empty" if name in empty else name for name in tissue.CLASSES]
    numbers = [0, *(1 + CLASSES.index(name) if name in CLASSES else 0 for name in names)]
    seen = np.array(numbers, np.uint8)[tissue.draw_by_eye()]
    times = round(FILE_UM / WORKING_UM)
    return seen.repeat(times, axis=0).repeat(times, axis=1)


def _demo(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "demo" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"demo_{name}", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"'{path}' is not there.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG of at most :data:`MAX_BYTES`, with as many colours as that allows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for colors in (256, 192, 128, 96, 64, 48, 32):
        # Refined by k-means, so that the window's greys keep their tone.
        method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
        few = picture.quantize(colors, method=method, kmeans=1, dither=dither)
        few.save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            return


def play(tour: Tour, folder: Path, steps: int) -> None:
    """Go through the tour once."""
    open_slide(tour)
    guess(tour)
    label(tour)
    train(tour, steps)
    review(tour)
    train_on(tour)
    ledger(tour)
    export(tour, folder)


def open_slide(tour: Tour) -> None:
    """Make a project and open the slide."""
    dock, session = tour.dock, tour.session

    def describe(dialog: QDialog) -> None:
        if not isinstance(dialog, NewProjectDialog):
            return
        tour.type(dialog.folder, "ihc.unisem")
        for row, name in zip(dialog.rows, CLASSES, strict=True):
            tour.type(row.name, name)
        tour.type(dialog.spacing, f"{WORKING_UM}")
        tour.photograph("new-project", dialog=dialog)
        tour.agree(dialog)

    def choose(dialog: QDialog) -> None:
        tour.type(dialog.findChild(QLineEdit, "fileNameEdit"), "ihc.png")
        tour.answer(SpacingDialog, say_spacing)
        tour.agree(dialog, QDialogButtonBox.StandardButton.Open)

    def say_spacing(dialog: QDialog) -> None:
        if isinstance(dialog, SpacingDialog):
            tour.type(dialog.spacing, f"{FILE_UM}")
        tour.agree(dialog)

    with tour.step("New project"):
        tour.answer(NewProjectDialog, describe)
        tour.press(dock.open.new_project, lambda: session.project is not None)
    with tour.step("Open the slide"):
        tour.answer(QFileDialog, choose)
        tour.press(dock.open.open_slide, lambda: session.slide is not None)
        tour.click(dock.open.header)


def guess(tour: Tour) -> None:
    """Make a first guess and name its clusters."""
    dock, session = tour.dock, tour.session
    with tour.step("First guess"):
        tour.press(dock.segment.slide, lambda: session.segmenting is None)
        found = session.clusters()
        if found is None:
            raise SystemExit(f"No clusters: {dock.alert.text()}")
        tour.photograph("clusters", shown=dock.segment.guess)
    with tour.step("Name the clusters"):
        numbers = found.read(Rect(0, 0, *tour.right.shape))
        for number, combo in dock.segment.guess.combos.items():
            seen = np.bincount(tour.right[(numbers == number) & (tour.right > 0)], minlength=2)
            tour.count(2)
            QTest.keyClicks(combo, CLASSES[int(seen.argmax()) - 1])
        tour.press(dock.segment.guess.use, lambda: session.segmenting is None)


def label(tour: Tour) -> None:
    """Mark a region to learn from and one to measure on."""
    dock, session = tour.dock, tour.session
    with tour.step("Label a region"):
        tour.mark(FIRST)
        tour.paint()
        tour.photograph("label", shown=dock.review.queue)
        tour.press(dock.review.accept, lambda: session.edit is None)
    with tour.step("Label a region to hold out"):
        tour.mark(HELD_OUT)
        tour.paint()
        tour.show(dock.review.hold)
        box = dock.review.hold
        tour.count(1)
        QTest.mouseClick(box, LEFT, pos=QPoint(8, box.height() // 2))
        tour.press(dock.review.accept, lambda: session.edit is None)


def train(tour: Tour, steps: int) -> None:
    """Train a short round, and label a third region meanwhile."""
    dock, session = tour.dock, tour.session
    with tour.step("Start the first round"):
        tour.show(dock.train.fold)
        tour.click(dock.train.fold)
        field = dock.train.form.fields["training.steps"].native
        tour.show(field)
        tour.type(field, str(steps))
        QTest.keyClick(field, Qt.Key.Key_Return)
        tour.click(dock.train.fold)
        tour.press(dock.train.start, lambda: session.training is not None)
    with tour.step("Label a region meanwhile"):
        tour.mark(MEANWHILE)
        tour.paint(passes=1)
        tour.wait(lambda: len(session.curve.loss) > 4, PATIENCE_S)
        tour.photograph("train", shown=dock.train.fold)
        tour.paint()
        tour.press(dock.review.accept, lambda: session.edit is None)
    with tour.step("The rest of the first round"):
        tour.wait(lambda: session.training is None, PATIENCE_S)
    tell_round(session)


def review(tour: Tour) -> None:
    """See the map, go through the regions that the model doubts."""
    dock, session, viewer = tour.dock, tour.session, tour.viewer
    with tour.step("The map of round 1"):
        viewer.reset_view()
        tour.press(dock.segment.slide, lambda: session.segmenting is None)
    with tour.step("Next region"):
        tour.press(dock.review.next, lambda: session.edit is not None)
        tour.click(dock.review.modes["paint"])
        tour.photograph("doubts", shown=dock.review.queue)
    with tour.step("Correct it"):
        tour.paint()
        tour.photograph("corrected", shown=dock.review.queue)
        tour.press(dock.review.accept, lambda: session.edit is None)
    with tour.step("Correct another"):
        tour.key(Qt.Key.Key_N, lambda: session.edit is not None)
        tour.paint()
        tour.key(Qt.Key.Key_C, lambda: session.edit is None)


def train_on(tour: Tour) -> None:
    """Train the second round and see its map."""
    dock, session, viewer = tour.dock, tour.session, tour.viewer
    with tour.step("The second round"):
        tour.press(dock.train.start, lambda: session.training is not None)
        tour.wait(lambda: session.training is None, PATIENCE_S)
    tell_round(session)
    with tour.step("The map of round 2"):
        viewer.reset_view()
        tour.press(dock.segment.slide, lambda: session.segmenting is None)
        tour.photograph("map", shown=dock.train.ledger)


def ledger(tour: Tour) -> None:
    """Open the ledger."""

    def look(dialog: QDialog) -> None:
        dialog.resize(820, 600)  # every line and every head in sight
        tour.photograph("ledger", dialog=dialog)
        tour.count(1)
        QTest.keyClick(dialog, Qt.Key.Key_Escape)

    with tour.step("The ledger"):
        tour.answer(LedgerDialog, look)
        tour.press(tour.dock.train.ledger)


def export(tour: Tour, folder: Path) -> None:
    """Write outlines for QuPath."""
    dock = tour.dock
    with tour.step("Export"):
        tour.show(dock.export.folder)
        tour.type(dock.export.folder, "results")
        tour.press(dock.export.export, lambda: dock.export.plan.count() > 0)
        tour.press(dock.export.write, lambda: not dock.controller.exporter.running)
        tour.wait(lambda: bool(dock.export.status.text()), 5)
    print(*sorted(each.name for each in (folder / "results").rglob("*")), sep="\n")  # noqa: T201


def tell_round(session: Session) -> None:
    """Print what the round came to, and the processor time of the trainings so far."""
    used = os.times()
    found = session.rounds()[-1]
    print(  # noqa: T201
        f"Round {found.number}: {found.state}; trainings so far took "
        f"{used.children_user + used.children_system:.0f} s of a core; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores."
    )


def tell(steps: list[Step]) -> None:
    """Print the times as the table of the page."""
    print("| step | in all, s | of it the program, s | presses |\n|---|---|---|---|")  # noqa: T201
    for each in [*steps, sum_up(steps)]:
        row = (each.name, f"{each.seconds:.0f}", f"{each.waited:.0f}", f"{each.presses}")
        print("| " + " | ".join(row) + " |")  # noqa: T201


def sum_up(steps: list[Step]) -> Step:
    """Return all steps as one."""
    return Step(
        "In all",
        sum(each.seconds for each in steps),
        sum(each.waited for each in steps),
        sum(each.presses for each in steps),
    )


def main() -> None:
    """Take the tour, write the pictures, print the times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--steps", type=int, default=60, help="steps of each round")
    chosen = parser.parse_args()
    os.environ.setdefault("NAPARI_ASYNC", "0")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tour-") as name:
        folder = Path(name)
        # What the dock remembers of a person's own projects is not to be touched.
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        os.chdir(folder)
        Image.fromarray(immunohistochemistry()).save(folder / "ihc.png")
        tour = Tour(chosen.out.resolve())
        play(tour, folder, chosen.steps)
        tell(tour.steps)
        tour.viewer.close()
        tour.wait(seconds=0.2)


if __name__ == "__main__":
    main()
