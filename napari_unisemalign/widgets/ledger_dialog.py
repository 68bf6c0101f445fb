"""The ledger of a project: minutes, regions and pixels a person gave, and each round's Dice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import pyqtgraph
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.widgets.sentence import note_widget

if TYPE_CHECKING:
    from unisemalign.exchange import LedgerLine

_HEAD = ("Round", "Minutes", "Regions", "Pixels", "Imported", "Dice (95 % interval)")


class LedgerDialog(QDialog):
    """Shows the ledger as a table and as a curve; writes it as CSV.

    Parameters
    ----------
    lines
        As ``read_ledger`` returns them.
    save
        Writes lines as the CSV file it is called with.
    """

    def __init__(
        self,
        lines: Sequence[LedgerLine],
        save: Callable[[Path, Sequence[LedgerLine]], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Ledger")
        self.resize(760, 620)
        self._save, self._lines = save, lines
        self.table = QTableWidget(len(lines), len(_HEAD))
        self.table.setHorizontalHeaderLabels(list(_HEAD))
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for row, line in enumerate(lines):
            for column, text in enumerate(_cells(line)):
                self.table.setItem(row, column, QTableWidgetItem(text))
        self.plot = pyqtgraph.PlotWidget()
        self.plot.setLabel("bottom", "minutes of work on labels")
        self.plot.setLabel("left", "Dice, %")
        self.plot.setMouseEnabled(x=False, y=False)
        points = _points(lines)
        self.plot.plot([x for x, _ in points], [y for _, y in points], symbol="o")
        self.plot.setVisible(len(points) > 1)
        self.save = QPushButton("Save as CSV…")
        self.save.setAutoDefault(False)
        self.save.clicked.connect(self._on_save)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addWidget(
            note_widget(
                "What was done before each round, and its Dice on held-out regions. Pauses of more "
                "than five minutes between two acts are not counted."
            )
        )
        for widget in (self.table, self.plot, self.save, buttons):
            outer.addWidget(widget)

    def _on_save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(
            self, "Save the ledger", "ledger.csv", "CSV (*.csv)"
        )
        if chosen:
            self._save(Path(chosen), self._lines)


def _cells(line: LedgerLine) -> tuple[str, ...]:
    dice = "–"
    if line.mdice is not None:
        dice = f"{100 * line.mdice:.1f}"
        if line.interval is not None:
            dice += " ({:.1f}…{:.1f})".format(*(100 * each for each in line.interval))
    number = "since" if line.round is None else str(line.round)
    counted = (line.regions, line.pixels, line.imported_pixels)
    return (number, f"{line.minutes:.1f}", *(f"{each:,}" for each in counted), dice)


def _points(lines: Sequence[LedgerLine]) -> list[tuple[float, float]]:
    """Return the minutes spent until each round, and its Dice in per cent."""
    spent = accumulate(line.minutes for line in lines)
    both = zip(spent, lines, strict=True)
    return [(minutes, 100 * line.mdice) for minutes, line in both if line.mdice is not None]
