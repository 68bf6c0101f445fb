"""The ledger in the dock: its table says what the project's ledger says; it is saved as CSV."""

from __future__ import annotations

import csv

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_unisemalign.widgets.ledger_dialog import LedgerDialog
from unisemalign.exchange import read_ledger
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin


def test_the_ledger_is_shown_and_saved(dock, with_model, tmp_path, monkeypatch) -> None:
    session = dock.controller.session
    project = session.project
    for k in range(3):
        rect = Rect(100 * k, 0, 50, 40)
        edit = LabelEdit(rect, np.ones(rect.shape, np.uint8), Origin.DRAWN, regions=(rect,))
        project.accept(session.slide, [edit], action="accept")
        if k == 1:
            with_model(project)
    session.rounds_changed()
    dock.render_now()
    dock.controller.layers.viewer.window._qt_window.show()
    saved, seen = tmp_path / "ledger.csv", []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(saved), ""))

    def work() -> None:
        dialog = QApplication.activeModalWidget()
        assert isinstance(dialog, LedgerDialog)
        table = dialog.table
        rows, columns = range(table.rowCount()), range(table.columnCount())
        seen.extend([table.item(row, column).text() for column in columns] for row in rows)
        QTest.mouseClick(dialog.save, Qt.MouseButton.LeftButton)
        dialog.reject()

    dock.scroll_area.ensureWidgetVisible(dock.train.ledger)
    QApplication.processEvents()
    QTimer.singleShot(300, work)
    QTest.mouseClick(dock.train.ledger, Qt.MouseButton.LeftButton)
    lines = read_ledger(project)
    assert [row[0] for row in seen] == ["1", "since"]
    assert [row[2:4] for row in seen] == [["2", "4,000"], ["1", "2,000"]]
    assert [(line.regions, line.pixels) for line in lines] == [(2, 4000), (1, 2000)]
    with saved.open() as file:
        written = list(csv.DictReader(file))
    assert [(row["regions"], row["pixels"]) for row in written] == [("2", "4000"), ("1", "2000")]
