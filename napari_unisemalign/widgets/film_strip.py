"""The regions to look at as a strip of small pictures, the reason below each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem

from napari_unisemalign.session.dock_items import QueueItem
from napari_unisemalign.session.thumbnails import SIDE_PX

_CELL = QSize(SIDE_PX + 44, SIDE_PX + 74)
_BETWEEN_MS = 15
"""Between two pictures: the window stays at hand while they are drawn."""

Drawn = Callable[[int], NDArray[np.uint8] | None]
"""From a region's number to its picture."""


class FilmStripWidget(QListWidget):
    """A row of regions; a press on one chooses it (``itemClicked``).

    Parameters
    ----------
    draw
        Draws a region's picture. Called for one region at a time, and again only where another
        round's prediction is to be shown.
    """

    def __init__(self, draw: Drawn) -> None:
        super().__init__()
        self._draw = draw
        self._shown: tuple[QueueItem, ...] | None = None
        self._icons: dict[tuple[int, int], QIcon] = {}
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._draw_next)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setFlow(QListView.Flow.LeftToRight)
        self.setMovement(QListView.Movement.Static)
        self.setWrapping(False)
        self.setWordWrap(True)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(SIDE_PX, SIDE_PX))
        self.setGridSize(_CELL)
        self.setHorizontalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFixedHeight(_CELL.height() + 22)
        bar = self.horizontalScrollBar()
        bar.valueChanged.connect(lambda _value: self._soon.start(_BETWEEN_MS))

    def show_items(self, items: tuple[QueueItem, ...]) -> None:
        """Show these regions; pictures come one after the other."""
        if items == self._shown:
            return
        self._shown = items
        known = {(each.region_id, each.round) for each in items}
        self._icons = {key: icon for key, icon in self._icons.items() if key in known}
        self.clear()
        for each in items:
            mark = "▶ " if each.current else ("✎ " if each.begun else "")
            item = QListWidgetItem(f"{mark}{each.title}\n{each.reason}")
            item.setData(Qt.ItemDataRole.UserRole, each.region_id)
            item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            item.setToolTip(f"{each.place}\n{each.reason}".strip())
            item.setIcon(self._icons.get((each.region_id, each.round), _blank()))
            self.addItem(item)
            item.setSelected(each.current)
            if each.current:
                self.scrollToItem(item)
        self._soon.start(_BETWEEN_MS)

    def _draw_next(self) -> None:
        """Draw the first picture in sight that is missing, and come back for the next."""
        if not isalive(self):
            return
        seen = self.viewport().rect()
        for place, each in enumerate(self._shown or ()):
            key = (each.region_id, each.round)
            if key in self._icons or not self.visualItemRect(self.item(place)).intersects(seen):
                continue
            pixels = self._draw(each.region_id)
            self._icons[key] = _blank() if pixels is None else _icon(pixels)
            item = self.item(place)
            if item is not None:
                item.setIcon(self._icons[key])
            self._soon.start(_BETWEEN_MS)
            return


def _icon(pixels: NDArray[np.uint8]) -> QIcon:
    h, w, _ = pixels.shape
    content = np.ascontiguousarray(pixels).tobytes()
    image = QImage(content, w, h, 3 * w, QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image.copy()))  # the copy owns its bytes


def _blank() -> QIcon:
    pixmap = QPixmap(SIDE_PX, SIDE_PX)
    pixmap.fill(Qt.GlobalColor.transparent)
    return QIcon(pixmap)
