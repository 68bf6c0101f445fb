"""Export: results in a format of the person's choice."""

from __future__ import annotations

from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QWidget,
)

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.session.permissions import Permission
from napari_unisemalign.widgets.buttons import ActionButton
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.sentence import SentenceWidget
from unisemalign.protocol import ExportDone

FORMATS = {
    "geojson": "GeoJSON (QuPath)",
    "png": "PNG masks",
    "ome-tiff": "OME-TIFF",
    "ome-zarr": "OME-Zarr",
    "coco": "COCO",
    "imagescope": "XML of ImageScope",
    "asap": "XML of ASAP",
    "csv": "Table of areas (CSV)",
}
SOURCES = {
    "best": "Labels, and the prediction elsewhere",
    "labels": "Labels only",
    "prediction": "Prediction only",
}


class ExportWidget(SectionWidget):
    """Choose what and where, and write it."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Export")
        self.controller = controller
        self.format = _choice(FORMATS, "What the results are written as.")
        self.source = _choice(SOURCES, "What is written.")
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("the project's export folder")
        self.folder.setToolTip("Where the results are written.")
        self.browse = ActionButton("Choose…", self._on_browse)
        self.browse.setToolTip("Choose the folder that the results go to.")
        self.plan = QListWidget()
        self.plan.setWordWrap(True)
        self.plan.setToolTip("What is written of each slide. Untick what is to be left out.")
        self.plan.itemChanged.connect(self._count)
        self.shown_alone = ActionButton("Only the slide on show", self._on_shown_alone)
        self.shown_alone.setToolTip("Tick the slide on show and no other.")
        self.export = ActionButton("Export…", self._on_export)
        self.write = ActionButton("Write", self._on_write)
        self.status = SentenceWidget(dim=True)
        where = QWidget()
        row = QHBoxLayout(where)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.folder)
        row.addWidget(self.browse)
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Format", self.format)
        form.addRow("Source", self.source)
        form.addRow("Folder", where)
        self.rows.addLayout(form)
        self.rows.addWidget(self.export)
        self.rows.addWidget(self.plan)
        self.add_row(self.write, self.shown_alone)
        self.rows.addWidget(self.status)
        for choice in (self.format, self.source):
            choice.currentIndexChanged.connect(self._forget_plan)
        self._forget_plan()
        controller.session.changed.connect(self._on_session_changed)
        controller.exporter.planned.connect(self._on_planned)
        controller.exporter.exported.connect(self._on_exported)

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        self.export.follow(state.can.export)
        running = self.controller.exporter.running
        if running:
            self.export.setEnabled(False)
        self.export.setText("Exporting…" if running else "Export…")
        self._count()

    def out_folder(self) -> Path | None:
        """Return where to write: what is typed, or ``export`` in the project."""
        typed = self.folder.text().strip()
        project = self.controller.session.project
        if typed:
            return Path(typed).expanduser()
        return None if project is None else project.root / "export"

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the results")
        if chosen:
            self.folder.setText(chosen)

    def _on_export(self) -> None:
        """Look at what there is to write, and show it."""
        out = self.out_folder()
        if out is not None:
            self.status.say("")
            self._forget_plan()
            self.controller.exporter.plan(out, *self._choices())

    def _on_planned(self, done: ExportDone) -> None:
        from unisemalign.exchange import planned_sentence  # shapely and others load with it

        self.plan.blockSignals(True)
        for each in done.slides:
            item = QListWidgetItem(planned_sentence(each))
            item.setData(Qt.ItemDataRole.UserRole, each.slide)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked)
            self.plan.addItem(item)
        for left in done.left_out:
            item = QListWidgetItem(f"{left.slide}: left out. {left.why}")
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.plan.addItem(item)
        self.plan.blockSignals(False)
        self.plan.setFixedHeight(8 + 52 * min(5, self.plan.count()))
        for widget in (self.plan, self.write, self.shown_alone):
            widget.show()
        self._count()

    def _on_shown_alone(self) -> None:
        shown = self.controller.session.slide
        for item in self._items():
            mine = item.data(Qt.ItemDataRole.UserRole) == shown
            item.setCheckState(Qt.CheckState.Checked if mine else Qt.CheckState.Unchecked)

    def _on_write(self) -> None:
        out = self.out_folder()
        if out is not None:
            self.controller.exporter.export(out, *self._choices(), self.chosen_slides())

    def chosen_slides(self) -> list[str]:
        """Return the slides that are ticked."""
        ticked = [i for i in self._items() if i.checkState() == Qt.CheckState.Checked]
        return [str(item.data(Qt.ItemDataRole.UserRole)) for item in ticked]

    def _choices(self) -> tuple[str, str]:
        return str(self.format.currentData()), str(self.source.currentData())

    def _items(self) -> list[QListWidgetItem]:
        items = [self.plan.item(row) for row in range(self.plan.count())]
        return [item for item in items if item.data(Qt.ItemDataRole.UserRole) is not None]

    def _count(self) -> None:
        count = len(self.chosen_slides())
        self.write.setText("Write 1 slide" if count == 1 else f"Write {count} slides")
        running = self.controller.exporter.running
        self.write.follow(Permission(count > 0 and not running, "Write what is ticked."))

    def _forget_plan(self) -> None:
        """Forget what was looked at: something else would be written now."""
        self.plan.clear()
        for widget in (self.plan, self.write, self.shown_alone):
            widget.hide()

    def _on_session_changed(self, change: Change) -> None:
        written = Change.PROJECT | Change.SLIDES | Change.LABELS | Change.PREDICTION
        if isalive(self) and change & written:
            self._forget_plan()

    def _on_exported(self, paths: list[str]) -> None:
        self._forget_plan()
        out = self.out_folder()
        count = f"{len(paths)} files" if len(paths) != 1 else "1 file"
        self.status.say(f"Wrote {count} to {out}." if paths else f"Wrote the results to {out}.")


def _choice(choices: dict[str, str], tooltip: str) -> QComboBox:
    combo = QComboBox()
    for value, text in choices.items():
        combo.addItem(text, value)
    combo.setToolTip(tooltip)
    return combo
