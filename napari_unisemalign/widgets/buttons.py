"""Buttons: one that says why it cannot be pressed, rows of them, and their icons."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_unisemalign.session.permissions import Permission


class ActionButton(QPushButton):
    """A button that is possible or says why not."""

    def __init__(self, text: str, on_press: Callable[[], None]) -> None:
        super().__init__(text)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.clicked.connect(lambda _checked=False: on_press())

    def follow(self, act: Permission) -> None:
        """Enable or disable the button and explain it."""
        self.setEnabled(act.possible)
        self.setToolTip(act.why)


def button_row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side."""
    row = QHBoxLayout()
    row.setSpacing(4)
    for widget in widgets:
        row.addWidget(widget)
    return row


def color_icon(color: str) -> QIcon:
    """Return a square of ``color``."""
    pixmap = QPixmap(14, 14)
    pixmap.fill(QColor(color))
    return QIcon(pixmap)
