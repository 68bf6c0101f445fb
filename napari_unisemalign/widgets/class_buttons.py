"""One button a class, in its colour."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from napari_unisemalign.session.dock_items import ClassItem
from napari_unisemalign.widgets.buttons import color_icon


class ClassButtonsWidget(QWidget):
    """One button a class, in its colour; the pressed one is painted with."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(2)
        self._shown: tuple[tuple[int, str, str], ...] = ()
        self.buttons: dict[int, QPushButton] = {}

    def follow(self, classes: tuple[ClassItem, ...]) -> None:
        """Show these classes."""
        wanted = tuple((each.value, each.name, each.color) for each in classes)
        if wanted == self._shown:
            return
        self._shown = wanted
        for button in self.buttons.values():
            button.deleteLater()
        while self._rows.count():
            self._rows.takeAt(0)
        self.buttons = {}
        row = QHBoxLayout()
        for index, (value, name, color) in enumerate(wanted):
            if index % 2 == 0:
                row = QHBoxLayout()
                row.setSpacing(2)
                self._rows.addLayout(row)
            button = QPushButton(name)
            button.setIcon(color_icon(color))
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            # A long name is cut, never the dock beside it; the tooltip holds it whole.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            button.setToolTip(f"Paint {name} (Alt+{value}; - and = step through the classes)")
            button.setStyleSheet(
                "QPushButton { text-align: left; padding: 3px 6px; }"
                f"QPushButton:checked {{ border: 2px solid {color}; }}"
            )
            button.clicked.connect(self._on_clicked)
            button.setProperty("value", value)
            self.buttons[value] = button
            row.addWidget(button, 1)
        if len(wanted) % 2:
            row.addStretch(1)

    def show_chosen(self, value: int) -> None:
        """Press the button of ``value``."""
        for each, button in self.buttons.items():
            button.setChecked(each == value)

    def _on_clicked(self) -> None:
        value = int(self.sender().property("value"))
        self.show_chosen(value)
        self.chosen.emit(value)
