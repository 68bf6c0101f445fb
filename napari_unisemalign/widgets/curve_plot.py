"""Loss and held-out Dice of a round, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph

from napari_unisemalign.session.curve import Curve

LOSS_COLOR = "#e69f00"
DICE_COLOR = "#56b4e9"
FALL_COLOR = "#d55e00"


class CurveWidget(pyqtgraph.PlotWidget):
    """Loss on the left axis, held-out Dice on the right one."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setFixedHeight(170)
        self.setToolTip(
            "Loss of each step, and Dice on held-out tissue (100 is perfect). A cross is the Dice "
            "of a class that fell below its best of the round by more than its noise."
        )
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLabel("left", "loss", color=LOSS_COLOR)
        item.setLabel("right", "held-out Dice", color=DICE_COLOR)
        item.setLabel("bottom", "step")
        self.loss = item.plot(pen=pyqtgraph.mkPen(LOSS_COLOR, width=1.5))
        self._right = pyqtgraph.ViewBox(enableMenu=False)
        self._right.setMouseEnabled(x=False, y=False)
        item.scene().addItem(self._right)
        item.getAxis("right").linkToView(self._right)
        self._right.setXLink(item)
        self._right.setYRange(0, 100, padding=0.05)
        self.dice = pyqtgraph.PlotDataItem(
            pen=pyqtgraph.mkPen(DICE_COLOR, width=2),
            symbol="o",
            symbolSize=6,
            symbolBrush=DICE_COLOR,
            symbolPen=None,
        )
        self._right.addItem(self.dice)
        self.falls = pyqtgraph.PlotDataItem(
            pen=None, symbol="x", symbolSize=9, symbolBrush=FALL_COLOR, symbolPen=None
        )
        self._right.addItem(self.falls)
        item.vb.sigResized.connect(self._on_resized)

    def follow(self, curve: Curve) -> None:
        """Draw ``curve``."""
        self.loss.setData(*_columns(curve.loss))
        self.dice.setData(*_columns([(step, 100 * dice) for step, dice in curve.dice]))
        self.falls.setData(*_columns([(step, 100 * fall.now) for step, fall in curve.falls]))

    def _on_resized(self) -> None:
        self._right.setGeometry(self.getPlotItem().vb.sceneBoundingRect())
        self._right.linkedViewChanged(self.getPlotItem().vb, self._right.XAxis)

    def wheelEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Leave the wheel to the dock, which scrolls."""
        event.ignore()  # type: ignore[attr-defined]


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
