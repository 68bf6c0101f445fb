"""An afternoon at the dock, played with mouse and keys; told outside the project as it happens.

    python afternoon.py PROJECT LEDGER morning|evening ENGINE…

A line of JSON says what the person saw and did, ``LEDGER/N.npz`` what was on the canvas when they
accepted. ``morning`` paints at its end until it is killed; ``evening`` opens the project again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDialogButtonBox

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.widgets.dock import DockWidget
from napari_unisemalign.widgets.person_dialog import PersonDialog

LEFT = Qt.MouseButton.LeftButton
PATIENCE_S = 90
FIRST, SECOND = "A. First", "B. Second"


class Afternoon:
    """Somebody at the dock who keeps a ledger."""

    def __init__(self, root: Path, ledger: Path, engine: list[str]) -> None:
        self.ledger, self.count = ledger, len(list(ledger.glob("*.npz")))
        self.viewer = napari.Viewer()
        self.viewer.window._qt_window.resize(1366, 768)
        self.dock = DockWidget(self.viewer, controller=Controller(self.viewer, engine=engine))
        self.viewer.window.add_dock_widget(self.dock, name="Segment slides")
        self.controller, self.session = self.dock.controller, self.dock.controller.session
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.controller.opener.open_project(root)
        self.live(0.5)

    def live(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.002)

    def wait(self, until: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not until():
            assert time.monotonic() < deadline, what
            self.live(0.02)

    def tell(self, act: str, **facts: object) -> None:
        sys.stdout.write(json.dumps({"act": act, **facts}) + "\n")
        sys.stdout.flush()

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier | None = None) -> None:
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifier or Qt.KeyboardModifier.NoModifier)
        self.live(0.15)

    def press(self, button) -> None:
        self.dock.render_now()
        assert button.isEnabled(), f"{button.text()}: {button.toolTip()}"
        self.dock.scroll_area.ensureWidgetVisible(button)
        self.live(0.02)
        QTest.mouseClick(button, LEFT)
        self.live(0.15)

    def show(self, name: str) -> None:
        """Click a slide in the list."""
        slides = self.dock.open.slides
        item = next(
            slides.topLevelItem(row)
            for row in range(slides.topLevelItemCount())
            if slides.topLevelItem(row).text(0) == name
        )
        self.dock.scroll_area.ensureWidgetVisible(slides)
        self.live(0.02)
        QTest.mouseClick(slides.viewport(), LEFT, pos=slides.visualItemRect(item).center())
        self.wait(lambda: self.session.slide == name, f"{name} is not shown")

    def stroke(self, value: int, row: float, length: float = 0.5) -> list[int] | None:
        """Choose a class by its key and drag the mouse over the open region; a changed pixel."""
        self.key(Qt.Key(Qt.Key.Key_0 + value), Qt.KeyboardModifier.AltModifier)
        layer = self.controller.layers.editing()
        before = np.array(layer.data)
        room = round(0.7 * min(self.canvas.width(), self.canvas.height()))
        start = self.canvas.rect().center() + QPoint(-room // 3, round((row - 0.5) * room))
        QTest.mousePress(self.canvas, LEFT, pos=start)
        for part in range(1, 6):
            QTest.mouseMove(self.canvas, start + QPoint(round(part / 5 * length * room), 0))
            self.live(0.005)
        QTest.mouseRelease(self.canvas, LEFT, pos=start + QPoint(round(length * room), 0))
        self.live(0.02)
        changed = np.argwhere(np.asarray(layer.data) != before)
        return None if len(changed) == 0 else [int(each) for each in changed[0]] + [value]

    def see(self) -> dict[str, object]:
        """Keep what is on the canvas, and say where."""
        region, values = self.session.edit.region, np.array(self.controller.layers.editing().data)
        np.savez(self.ledger / f"{self.count}.npz", values=values)
        self.count += 1
        rect = region.rect
        place = [rect.y, rect.x, rect.h, rect.w]
        return {"n": self.count - 1, "region": region.id, "slide": region.slide, "rect": place}

    def accept(self) -> None:
        seen = self.see()
        self.key(Qt.Key.Key_C)
        self.wait(lambda: self.session.edit is None, "Accept left the region open")
        self.tell("accept", **seen)

    def skip(self) -> None:
        region = self.session.edit.region.id
        self.key(Qt.Key.Key_K)
        self.wait(lambda: self.session.edit is None, "Skip left the region open")
        self.tell("skip", region=region)

    def mark(self) -> None:
        self.viewer.reset_view()
        self.live(0.05)
        self.key(Qt.Key.Key_R)
        self.wait(lambda: self.session.edit is not None, "no region was marked")

    def train(self) -> None:
        self.key(Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
        self.wait(lambda: self.session.training is not None, "no training began")
        self.wait(lambda: self.session.training is None, "the training does not end")
        self.live(0.3)
        made = self.session.rounds()[-1]
        self.tell("train", round=made.number, state=made.state)

    def segment(self) -> None:
        self.press(self.dock.segment.all)
        self.wait(lambda: self.session.segmenting is not None, "nothing is segmented")
        self.wait(lambda: self.session.segmenting is None, "the segmenting does not end")
        self.live(0.3)

    def next(self) -> None:
        before = None if self.session.edit is None else self.session.edit.region.id
        self.key(Qt.Key.Key_N)

        def there() -> bool:
            edit = self.session.edit
            return edit is not None and edit.region.id != before

        self.wait(there, "no next region")
        self.live(0.1)

    def answer(self, person: str, reader: str | None) -> None:
        """Type into the dialog that comes, and press OK."""

        def type_names() -> None:
            dialog = QApplication.activeModalWidget()
            if not isinstance(dialog, PersonDialog):
                QTimer.singleShot(50, type_names)
                return
            dialog.person.selectAll()
            QTest.keyClicks(dialog.person, person)
            if reader is not None:
                dialog.reader.lineEdit().selectAll()
                QTest.keyClicks(dialog.reader.lineEdit(), reader)
            ok = dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Ok)
            QTest.mouseClick(ok, LEFT)

        QTimer.singleShot(50, type_names)

    def send(self) -> None:
        seen = self.see()
        self.answer(FIRST, SECOND)
        self.press(self.dock.review.send)
        self.wait(lambda: self.session.edit is None, "the region was not sent")
        self.tell("send", **seen)

    def agree(self) -> None:
        """Press Agree; while one reads, the next region opens by itself or none is left."""
        seen = self.see()
        self.key(Qt.Key.Key_C)
        self.wait(
            lambda: self.session.edit is None or self.session.edit.region.id != seen["region"],
            "Agree left the region open",
        )
        self.tell("agree", **seen)


def morning(person: Afternoon) -> None:
    """Two rounds, two slides; then painting until the end."""
    for slide, value in (("a", 1), ("b", 2)):
        person.show(slide)
        person.mark()
        for row in (0.35, 0.5, 0.65):
            person.stroke(value, row)
        person.stroke(3, 0.42, 0.2)
        person.accept()
    person.train()
    person.segment()
    person.next()
    person.stroke(4, 0.5, 0.3)
    person.accept()
    person.next()
    person.skip()
    person.next()
    person.stroke(1, 0.45, 0.3)
    person.accept()
    person.press(person.dock.review.undo)  # takes the accepted region back
    person.tell("undo")
    person.press(person.dock.review.redo)
    person.tell("redo")
    person.train()
    person.segment()
    person.next()
    person.tell("begin", region=person.session.edit.region.id)
    rows = np.linspace(0.3, 0.7, 21)
    number = 0
    while True:
        pixel = person.stroke(1 + number % 5, float(rows[number % len(rows)]), 0.1)
        number += 1
        if pixel is not None:
            person.tell("stroke", pixel=pixel, at=time.time())
        person.live(0.1)


def evening(person: Afternoon) -> None:
    """What was being painted is there again; a third round, and a second reader."""
    edit = person.session.edit
    assert edit is not None, "the region that was being painted is not open"
    person.tell("restored", region=edit.region.id, restored=bool(edit.restored))
    person.accept()
    person.train()
    person.segment()
    for value in (2, 5):
        person.next()
        person.stroke(value, 0.5, 0.4)
        person.send()
    person.answer(SECOND, None)
    person.press(person.dock.review.read)
    person.wait(lambda: person.session.edit is not None, "nothing waits for the second reader")
    person.agree()
    if person.session.edit is None:
        person.next()
    person.stroke(1, 0.6, 0.4)
    person.agree()
    if person.session.reader:
        person.press(person.dock.review.read)
    person.tell("end")
    person.viewer.close()
    person.live(0.3)


if __name__ == "__main__":
    at = Path(sys.argv[1]), Path(sys.argv[2])
    {"morning": morning, "evening": evening}[sys.argv[3]](Afternoon(*at, sys.argv[4:]))
