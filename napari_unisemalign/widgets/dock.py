"""The dock: one line that says what to do next, and the five sections."""

from __future__ import annotations

from functools import partial

from napari.viewer import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QFrame, QLabel, QMainWindow, QScrollArea, QShortcut, QVBoxLayout, QWidget

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.actions.viewer_controllers import (
    close_with,
    controller_of,
    keep_controller,
)
from napari_unisemalign.engine.timers import single_shot
from napari_unisemalign.session.dock_state import DockState, resolve_state
from napari_unisemalign.widgets.colors import ACCENT, ERROR
from napari_unisemalign.widgets.export_section import ExportWidget
from napari_unisemalign.widgets.keys_dialog import KeysDialog
from napari_unisemalign.widgets.open_section import OpenWidget
from napari_unisemalign.widgets.quiet_dock import QuietDock
from napari_unisemalign.widgets.review_section import ReviewWidget
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.segment_section import SegmentWidget
from napari_unisemalign.widgets.sentence import SentenceWidget
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
        What the buttons act on; the viewer's own unless given. It outlives the dock.
    """

    def __init__(self, napari_viewer: Viewer, *, controller: Controller | None = None) -> None:
        super().__init__()
        if controller is not None:
            keep_controller(controller)
        self.controller = controller_of(napari_viewer)
        self.alert = SentenceWidget(color=ERROR)
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
        for keys in ("?", "Shift+?"):  # a keyboard may have it with Shift or without
            QShortcut(QKeySequence(keys), self).activated.connect(self.show_keys)
        self.review.keys.clicked.connect(self.show_keys)
        self.quiet = QuietDock(self)
        self._render_soon = single_shot(self, RENDER_MS, self.render_now)
        self.controller.session.changed.connect(self._render_later)
        self.controller.layers.shown_changed.connect(self._render_later)
        self.controller.tissue.changed.connect(self._render_later)
        self.controller.exporter.changed.connect(self._render_later)
        self.controller.session.project_changed.connect(self._clear_errors)
        self.controller.session.region_changed.connect(self._clear_errors)
        self.controller.errors.failed.connect(self._on_failed)
        self.controller.errors.began.connect(self._on_began)
        # No closeEvent comes when napari closes a dock.
        self.destroyed.connect(partial(_on_dock_gone, self.controller))
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
        self.scroll_area = scroll
        outer = QVBoxLayout(self)
        outer.setContentsMargins(4, 4, 4, 4)
        outer.addWidget(self.next_step)
        outer.addWidget(self.alert)
        outer.addWidget(scroll)
        # Always in reach, however the rest is scrolled; and lowest, so that no sentence moves them.
        outer.addWidget(self.review.tools)
        self.setMinimumWidth(380)

    def event(self, event: QEvent | None) -> bool:
        """Look for the viewer's window when the dock is put somewhere; go when it is closed."""
        kind = None if event is None else event.type()
        if kind == QEvent.Type.ParentChange and self.parentWidget() is None:
            self.deleteLater()  # closed by its ×: napari lets go of it, and another can be opened
        elif kind in {QEvent.Type.ParentChange, QEvent.Type.Show}:
            QTimer.singleShot(0, partial(_find_window, self))
        return bool(super().event(event))

    def show_keys(self) -> None:
        """List the keys beside the dock."""
        KeysDialog(self).show()

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
        self._shown = state
        self.next_step.setText(state.next_step)
        self._follow(state)
        for name, section in self.sections.items():
            section.mark_current(name == state.next_section)

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

    def _render_later(self) -> None:
        # The session outlives the dock, whose Qt half may be gone.
        if isalive(self) and not self._render_soon.isActive():
            self._render_soon.start()

    def _clear_errors(self) -> None:
        """Clear the sections' previous errors: something worked."""
        if not isalive(self):
            return
        self.alert.say("")
        for section in self.sections.values():
            section.error.say("")

    def _on_began(self, name: str) -> None:
        self.alert.say("")
        self.sections[name].error.say("")

    def _on_failed(self, name: str, sentence: str) -> None:
        # On top, where it is seen wherever the dock is scrolled to; and where it belongs.
        self.alert.say(sentence)
        self.sections[name].error.say(sentence)


def _on_dock_gone(controller: Controller, *_: object) -> None:
    """Leave the session open, unless the dock never was in a viewer's window."""
    if controller.close_guard is None:
        controller.shut_down()


def _find_window(dock: DockWidget) -> None:
    widget = dock.parentWidget() if isalive(dock) else None
    while widget is not None:
        if isinstance(widget, QMainWindow):
            close_with(widget, dock.controller)
        widget = widget.parentWidget()
