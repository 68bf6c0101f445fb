"""A titled part of the dock that folds, with a place for its own errors."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_unisemalign.widgets.buttons import button_row
from napari_unisemalign.widgets.colors import ACCENT, ERROR
from napari_unisemalign.widgets.sentence import SentenceWidget


class SectionWidget(QWidget):
    """A titled part of the dock that folds, with a place for its own errors."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self.header = QToolButton()
        self.header.setText(title)
        self.header.setCheckable(True)
        self.header.setChecked(True)
        self.header.setToolTip(f"Fold or unfold {title}")
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.header.toggled.connect(self._on_toggled)
        self.body = QWidget()
        self.error = SentenceWidget(color=ERROR)
        self.rows = QVBoxLayout(self.body)
        self.rows.setContentsMargins(6, 2, 2, 4)
        self.rows.setSpacing(4)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(self.header)
        outer.addWidget(self.error)
        outer.addWidget(self.body)
        self._current = False
        self._dress()

    def mark_current(self, current: bool) -> None:
        """Show that the next thing to do is here."""
        if current != self._current:
            self._current = current
            self._dress()

    def add_row(self, *widgets: QWidget) -> QHBoxLayout:
        """Add widgets side by side."""
        row = button_row(*widgets)
        self.rows.addLayout(row)
        return row

    def _on_toggled(self, open_: bool) -> None:
        self.body.setVisible(open_)
        self._dress()

    def _dress(self) -> None:
        arrow = Qt.ArrowType.DownArrow if self.header.isChecked() else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)
        edge = ACCENT if self._current else "transparent"
        self.header.setStyleSheet(
            f"QToolButton {{ font-weight: bold; border: none; border-left: 4px solid {edge};"
            " padding: 4px 4px; text-align: left; background: rgba(127, 127, 127, 40); }"
        )
