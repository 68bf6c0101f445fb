"""One class of a new project: its colour and its name."""

from __future__ import annotations

from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from napari_unisemalign.widgets.buttons import color_icon


class ClassRowWidget(QWidget):
    """One class: colour, name, and a button that removes it."""

    def __init__(self, name: str, color: str) -> None:
        super().__init__()
        self.color = color
        self.swatch = QPushButton()
        self.swatch.setFixedWidth(30)
        self.swatch.setIcon(color_icon(color))
        self.swatch.setToolTip("Choose the colour")
        self.swatch.clicked.connect(self._on_swatch)
        self.name = QLineEdit(name)
        self.name.setPlaceholderText("Name of the class")
        self.remove = QPushButton("✕")
        self.remove.setFixedWidth(30)
        self.remove.setToolTip("Remove this class")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.swatch, self.name, self.remove):
            row.addWidget(widget)

    def _on_swatch(self) -> None:
        chosen = QColorDialog.getColor(QColor(self.color), self)
        if chosen.isValid():
            self.color = chosen.name()
            self.swatch.setIcon(color_icon(self.color))
