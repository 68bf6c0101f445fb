"""Share of the area per class, as a bar."""

from __future__ import annotations

from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_unisemalign.session.dock_items import ClassItem


class AreaBarWidget(QWidget):
    """Share of the area per class: a bar in their colours."""

    def __init__(self) -> None:
        super().__init__()
        self._classes: tuple[ClassItem, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802  Qt's name
        """Return a slim bar."""
        return QSize(120, 12)

    def follow(self, classes: tuple[ClassItem, ...]) -> None:
        """Show the shares of these classes."""
        self._classes = tuple(each for each in classes if each.share)
        self.setVisible(bool(self._classes))
        self.update()

    def paintEvent(self, _event: QPaintEvent | None) -> None:  # noqa: N802  Qt's name
        """Draw the bar."""
        painter = QPainter(self)
        left = 0.0
        for each in self._classes:
            width = (each.share or 0.0) * self.width()
            painter.fillRect(
                round(left), 0, max(1, round(width)), self.height(), QColor(each.color)
            )
            left += width
        painter.end()
