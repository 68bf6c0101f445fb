"""Export: results in a format of the person's choice."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QHBoxLayout, QLineEdit, QWidget

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.widgets.buttons import ActionButton
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.sentence import SentenceWidget

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
        self.export = ActionButton("Export", self._on_export)
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
        self.rows.addWidget(self.status)
        controller.exporter.exported.connect(self._on_exported)

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        self.export.follow(state.can.export)
        if self.controller.exporter.running:
            self.export.setEnabled(False)
            self.export.setText("Exporting…")
        else:
            self.export.setText("Export")

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
        out = self.out_folder()
        if out is not None:
            self.status.say("")
            self.controller.exporter.export(
                out, str(self.format.currentData()), str(self.source.currentData())
            )

    def _on_exported(self, paths: list[str]) -> None:
        out = self.out_folder()
        count = f"{len(paths)} files" if len(paths) != 1 else "1 file"
        self.status.say(f"Wrote {count} to {out}." if paths else f"Wrote the results to {out}.")


def _choice(choices: dict[str, str], tooltip: str) -> QComboBox:
    combo = QComboBox()
    for value, text in choices.items():
        combo.addItem(text, value)
    combo.setToolTip(tooltip)
    return combo
