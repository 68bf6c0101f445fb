"""The keys, in a window of their own."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QFormLayout, QLabel, QWidget

from napari_unisemalign.canvas.keys import KEYS_IN_WORDS


class KeysDialog(QDialog):
    """Lists every key of the dock and the brush; Escape closes it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        rows = QFormLayout(self)
        for key, what in KEYS_IN_WORDS.items():
            name = QLabel(key)
            name.setStyleSheet("font-weight: bold;")
            rows.addRow(name, QLabel(what))
