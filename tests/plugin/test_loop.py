"""The whole loop as a person does it: real widgets, real strokes, the real engine."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from scipy import ndimage
from standins import PATIENCE_MS, SIZE_PX

from napari_unisemalign.canvas.overlays import PREDICTION
from napari_unisemalign.widgets import open_section
from napari_unisemalign.widgets.dock import DockWidget
from unisemalign.geometry import Rect
from unisemalign.project import Origin, RegionState
from unisemalign.slides.synthetic import CLASSES, truth

LEFT = Qt.MouseButton.LeftButton


class Person:
    """Someone who sees the dock, knows histology, and has a mouse."""

    def __init__(self, dock: DockWidget, qtbot) -> None:
        self.dock, self.qtbot = dock, qtbot
        self.controller, self.session = dock.controller, dock.controller.session
        self.canvas = dock.controller.viewer.window._qt_viewer.canvas.native

    def press(self, button) -> None:
        self.dock.render_now()
        assert button.isEnabled(), f"{button.text()}: {button.toolTip()}"
        self.qtbot.mouseClick(button, LEFT)
        self.dock.render_now()

    def wait(self, until) -> None:
        self.qtbot.waitUntil(until, timeout=5 * PATIENCE_MS)
        self.dock.render_now()

    def reads(self) -> str:
        self.dock.render_now()
        return self.dock.next_step.text()

    def go_to(self, rect: Rect) -> None:
        self.controller.layers.viewport.look_at(rect)

    def stroke(self, value: int, y: int, x0: int, x1: int) -> None:
        """Choose a class and drag the mouse along a row of the region."""
        self.qtbot.mouseClick(self.dock.review.classes.buttons[value], LEFT)
        start, end = self._at(y, x0), self._at(y, x1)
        self.qtbot.mousePress(self.canvas, LEFT, pos=start)
        self.qtbot.mouseMove(self.canvas, (start + end) / 2)
        self.qtbot.wait(8)
        self.qtbot.mouseMove(self.canvas, end)
        self.qtbot.wait(8)
        self.qtbot.mouseRelease(self.canvas, LEFT, pos=end)

    def _at(self, y: int, x: int) -> QPoint:
        rect = self.session.edit.region.rect
        spacing = self.session.project.info.spacing_um
        camera = self.controller.viewer.scene.camera
        world = np.array([rect.y + y + 0.5, rect.x + x + 0.5]) * spacing
        offset = (world - np.asarray(camera.center)[-2:]) * camera.zoom
        return QPoint(
            round(self.canvas.width() / 2 + offset[1]), round(self.canvas.height() / 2 + offset[0])
        )

    def label(self) -> set[int]:
        """Paint what is seen: two strokes through the thickest part of every class."""
        rect = self.session.edit.region.rect
        seen = truth(rect, size_px=SIZE_PX, seed=0)
        self.controller.layers.editing().brush_size = 9
        painted = set()
        for value in np.unique(seen):
            depth = ndimage.distance_transform_edt(np.pad(seen == value, 1))[1:-1, 1:-1]
            for _stroke in range(2):
                y, x = np.unravel_index(depth.argmax(), depth.shape)
                reach = int(depth[y, x]) - 6
                if reach < 2:
                    break
                self.stroke(int(value), int(y), int(x) - reach, int(x) + reach)
                depth[max(0, y - 12) : y + 12] = 0
                painted.add(int(value))
        return painted


@pytest.fixture
def person(make_napari_viewer, qtbot, monkeypatch, tmp_path, drawn_path):
    def fill_in(dialog) -> int:
        dialog.folder.setText(str(tmp_path / "study.unisem"))
        return 1

    class Dialog(open_section.NewProjectDialog):
        def __init__(self, parent, **options) -> None:
            super().__init__(parent, classes=CLASSES, **options)

    monkeypatch.setattr(Dialog, "exec", fill_in)
    monkeypatch.setattr(open_section, "NewProjectDialog", Dialog)
    monkeypatch.setattr(open_section, "drawn_slide", lambda: drawn_path)
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1400, 1000)
    dock = DockWidget(viewer)
    viewer.window.add_dock_widget(dock, name="Segment slides")
    qtbot.wait(50)
    yield Person(dock, qtbot)
    dock.controller.shut_down()


def test_open_segment_review_train_export(person: Person, tmp_path) -> None:
    dock, session, controller = person.dock, person.session, person.controller
    torch_was_there = "torch" in sys.modules

    # Open
    assert "New project" in person.reads()
    person.press(dock.open.new_project)
    assert "Open slide" in person.reads()
    person.press(dock.open.drawn)
    assert session.slide == "a"

    # Label two regions with strokes
    assert "Mark region" in person.reads()
    seen: set[int] = set()
    for rect in (Rect(384, 384, 256, 256), Rect(700, 640, 256, 256)):
        person.go_to(rect)
        person.press(dock.review.mark)
        assert session.edit.region.rect.shape == (256, 256)
        seen |= person.label()
        assert "Accept" in person.reads()
        person.press(dock.review.accept)
    assert len(seen) >= 3
    assert session.labelled_values() == seen
    accepted = session.project.regions(state=RegionState.ACCEPTED)
    assert len(accepted) == 2
    truth_there = truth(accepted[0].rect, size_px=SIZE_PX, seed=0)
    labels = session.project.labels("a").read(accepted[0].rect)
    assert (labels == truth_there)[labels > 0].mean() > 0.97

    # Train, cancel, resume
    form = dock.train.form.fields
    form["training.steps"].value = 16
    form["views.crop_px"].value = 128
    form["training.batch_labelled"].value = 2
    form["training.batch_unlabelled"].value = 2
    person.press(dock.train.start)
    person.wait(lambda: session.training is None or session.training.step >= 3)
    assert session.training is not None, dock.train.error.text()
    person.press(dock.train.cancel)
    person.wait(lambda: session.training is None)
    assert session.rounds()[-1].state == "cancelled"
    assert "Resume" in person.reads()
    reached = len(session.curve.loss)
    person.press(dock.train.resume)
    person.wait(lambda: session.training is None)
    assert session.rounds()[-1].state == "done", dock.train.error.text()
    assert len(session.rounds()) == 1
    assert len(session.curve.loss) == 16 > reached

    # Segment
    assert "View" in person.reads()
    person.press(dock.segment.slide)
    person.wait(lambda: session.segmenting is None)
    assert not dock.segment.error.text()
    shown = np.asarray(controller.layers.layer(PREDICTION).data[0][:, :])
    assert (shown > 0).mean() > 0.5
    assert len(np.unique(shown[shown > 0])) >= 2
    assert abs(sum(each or 0 for each in session.area.values()) - 1) < 0.02

    # Review what the model doubts
    person.press(dock.review.next)
    person.wait(lambda: session.edit is not None)
    region = session.edit.region
    assert region.reason
    assert session.edit.values.any()
    person.label()
    person.press(dock.review.accept)
    origins = set(np.unique(session.project.labels("a").read_origin(region.rect)).tolist())
    assert Origin.ACCEPTED in origins
    assert origins & {Origin.CORRECTED, Origin.DRAWN}

    # Export
    dock.export.folder.setText(str(tmp_path / "out"))
    dock.export.format.setCurrentIndex(dock.export.format.findData("png"))
    person.press(dock.export.export)
    person.wait(lambda: dock.export.plan.count() > 0)
    person.press(dock.export.write)
    person.wait(lambda: not controller.exporter.running)
    assert not dock.export.error.text()
    assert list((tmp_path / "out").rglob("*.png"))
    assert torch_was_there or "torch" not in sys.modules  # another test may have needed it


def test_a_first_guess_before_any_label(person: Person) -> None:
    dock, session = person.dock, person.session
    person.press(dock.open.new_project)
    person.press(dock.open.drawn)
    assert "first guess" in person.reads()
    person.press(dock.segment.slide)
    person.wait(lambda: session.segmenting is None)
    assert not dock.segment.error.text()
    assert "what the clusters are" in person.reads()
    whole = Rect(0, 0, SIZE_PX, SIZE_PX)
    numbers, seen = session.clusters().read(whole), truth(whole, size_px=SIZE_PX, seed=0)
    for number, combo in dock.segment.guess.combos.items():
        combo.setCurrentText(CLASSES[np.bincount(seen[numbers == number]).argmax() - 1])
    person.press(dock.segment.guess.use)
    person.wait(lambda: session.segmenting is None)
    assert not dock.segment.error.text()
    classes = session.prediction().read(whole)
    right = (classes == seen)[classes > 0].mean()
    assert right > np.bincount(seen.ravel()).max() / seen.size, "no better than one class for all"
    person.press(dock.review.next)
    person.wait(lambda: session.edit is not None)
    assert session.edit.region.round == 0
    assert session.edit.region.reason
    person.press(dock.review.accept)
    assert session.project.journal()[0].round == 0
