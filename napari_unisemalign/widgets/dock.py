"""The dock: one line that says what to do next, and the five sections."""

from __future__ import annotations

from functools import partial

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.session.dock_state import DockState, resolve_state
from napari_unisemalign.widgets.export_section import ExportWidget
from napari_unisemalign.widgets.open_section import OpenWidget
from napari_unisemalign.widgets.parts import ACCENT, SectionWidget
from napari_unisemalign.widgets.review_section import ReviewWidget
from napari_unisemalign.widgets.segment_section import SegmentWidget
from napari_unisemalign.widgets.train_section import TrainWidget
from unisemalign.errors import UnisemalignError

RENDER_MS = 40


class DockWidget(QWidget):
    """Open → Segment → Review → Train → Export on one viewer.

    Parameters
    ----------
    napari_viewer
        The viewer; napari knows the parameter by this name.
    controller
        What the buttons act on; made here unless given.
    """

    def __init__(self, napari_viewer: Viewer, *, controller: Controller | None = None) -> None:
        super().__init__()
        self.controller = controller or Controller(napari_viewer)
        self.next_step = QLabel()
        self.next_step.setWordWrap(True)
        self.next_step.setTextFormat(Qt.TextFormat.PlainText)
        self.next_step.setStyleSheet(
            f"QLabel {{ background: {ACCENT}; color: white; border-radius: 4px; padding: 6px; }}"
        )
        self.open = OpenWidget(self.controller)
        self.segment = SegmentWidget(self.controller)
        self.review = ReviewWidget(self.controller)
        self.train = TrainWidget(self.controller)
        self.export = ExportWidget(self.controller)
        self.sections: dict[str, SectionWidget] = {
            "open": self.open,
            "segment": self.segment,
            "review": self.review,
            "train": self.train,
            "export": self.export,
        }
        self._shown: DockState | None = None
        self._build()
        self._render_soon = single_shot(self, RENDER_MS, self.render_now)
        self.controller.session.changed.connect(self._on_changed)
        self.controller.session.project_changed.connect(self._on_acted)
        self.controller.session.region_changed.connect(self._on_acted)
        self.controller.failed.connect(self._on_failed)
        self.controller.began.connect(self._on_began)
        # No closeEvent comes when the viewer closes; a partial keeps the controller alive.
        self.destroyed.connect(partial(_shut_down, self.controller))
        self.render_now()

    def _build(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(2, 2, 8, 2)
        column.setSpacing(6)
        for section in self.sections.values():
            column.addWidget(section)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        self.scroll = scroll
        outer = QVBoxLayout(self)
        outer.setContentsMargins(4, 4, 4, 4)
        outer.addWidget(self.next_step)
        outer.addWidget(scroll)
        self.setMinimumWidth(380)

    def render_now(self) -> None:
        """Show the session as it is."""
        self._render_soon.stop()
        try:
            state = resolve_state(self.controller.session)
        except UnisemalignError as error:
            self._on_failed("open", str(error))
            return
        if state == self._shown:
            self._follow_layers(state)
            return
        moved = self._shown is None or self._shown.next_section != state.next_section
        self._shown = state
        self.next_step.setText(state.next_step)
        self._follow(state)
        for name, section in self.sections.items():
            section.mark_current(name == state.next_section)
        if moved:
            QTimer.singleShot(0, partial(self._reveal, state.next_section))

    def _follow(self, state: DockState) -> None:
        self.open.follow(state)
        self.segment.follow(state)
        self.review.follow(state)
        self.train.follow(state)
        self.export.follow(state)

    def _follow_layers(self, state: DockState) -> None:
        """Follow what lies outside the state: layers shown, and whether an export runs."""
        self.segment.follow(state)
        self.export.follow(state)

    def _reveal(self, name: str) -> None:
        # Called a moment later: the viewer may be closed by then.
        if isalive(self.scroll):
            self.scroll.ensureWidgetVisible(self.sections[name], 0, 0)

    def _on_changed(self) -> None:
        if not self._render_soon.isActive():
            self._render_soon.start()

    def _on_acted(self) -> None:
        """Something worked: earlier errors are history."""
        for section in self.sections.values():
            section.error.say("")

    def _on_began(self, name: str) -> None:
        self.sections[name].error.say("")

    def _on_failed(self, name: str, sentence: str) -> None:
        section = self.sections[name]
        section.error.say(sentence)
        section.header.setChecked(True)
        QTimer.singleShot(0, partial(self._reveal, name))


def _shut_down(controller: Controller, *_: object) -> None:
    controller.shut_down()
