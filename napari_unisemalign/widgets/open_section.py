"""Open: projects and slides."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHeaderView,
    QTreeWidget,
    QTreeWidgetItem,
)

from napari_unisemalign.io import drawn_slide, read_slides
from napari_unisemalign.state import DockState
from napari_unisemalign.widgets.dialogs import NewProjectDialog, SpacingDialog
from napari_unisemalign.widgets.parts import ActButton, SectionWidget, SentenceWidget
from napari_unisemalign.workbench import Workbench
from unisemalign.errors import SpacingError
from unisemalign.project import Split
from unisemalign.slides import SLIDE_SUFFIXES

NAME, HELD = 0, 1
LABEL_FILES = "Masks and GeoJSON (*.png *.tif *.tiff *.geojson *.json)"


class OpenWidget(SectionWidget):
    """Open a slide or a project; list the slides and what they are for."""

    def __init__(self, bench: Workbench) -> None:
        super().__init__("Open")
        self.bench = bench
        self.new_project = ActButton("New project…", self._on_new_project)
        self.new_project.setToolTip("Name the classes and choose a folder.")
        self.open_project = ActButton("Open project…", self._on_open_project)
        self.open_project.setToolTip("Choose a project's folder.")
        self.open_slide = ActButton("Open slide…", self._on_open_slide)
        self.drawn = ActButton("Drawn slide", self._on_drawn)
        self.drawn.setToolTip("Show a slide drawn by this package: glands, stroma, pen and glass.")
        self.import_labels = ActButton("Import labels…", self._on_import)
        self.relocate = ActButton("Relocate…", self._on_relocate)
        self.relocate.setToolTip("Tell the project where the chosen slide's file is now.")
        self.about = SentenceWidget(dim=True)
        self.slides = QTreeWidget()
        self.slides.setHeaderLabels(["Slide", "Held out"])
        self.slides.setRootIsDecorated(False)
        self.slides.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.slides.header().setStretchLastSection(False)
        self.slides.header().setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        self.slides.header().setSectionResizeMode(HELD, QHeaderView.ResizeMode.ResizeToContents)
        self.slides.setToolTip(
            "Press a slide to show it. A held-out slide is for measuring: never trained on."
        )
        self.slides.itemClicked.connect(self._on_slide_clicked)
        self.slides.itemChanged.connect(self._on_slide_changed)
        self.add_row(self.new_project, self.open_project)
        self.add_row(self.open_slide, self.drawn)
        self.rows.addWidget(self.about)
        self.rows.addWidget(self.slides)
        self.add_row(self.import_labels, self.relocate)

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        self.open_slide.follow(state.add_slide)
        self.import_labels.follow(state.import_labels)
        self.about.say(state.about_model)
        there = bool(state.slides)
        self.slides.setVisible(there)
        self.import_labels.setVisible(there)
        self.relocate.setVisible(any(each.missing for each in state.slides))
        self.slides.blockSignals(True)
        self.slides.clear()
        for each in state.slides:
            item = QTreeWidgetItem([each.name, "test" if each.split == Split.TEST else ""])
            if each.split != Split.TEST:
                held = each.split == Split.VAL
                item.setCheckState(HELD, Qt.CheckState.Checked if held else Qt.CheckState.Unchecked)
            if each.missing:
                item.setText(NAME, f"{each.name} (file not found)")
            item.setData(NAME, Qt.ItemDataRole.UserRole, each.name)
            self.slides.addTopLevelItem(item)
            item.setSelected(each.current)
        self.slides.blockSignals(False)
        rows = min(6, max(2, len(state.slides)))
        self.slides.setFixedHeight(30 + 22 * rows)

    def add_slide(self, path: Path) -> None:
        """Add a slide to the project, asking for the pixel size when the file does not say."""
        bench = self.bench
        with bench.telling("open"):
            if bench.session.project is None:
                self._show_loose(path)
                return
            try:
                bench.session.add_slide(path)
            except SpacingError:
                dialog = SpacingDialog(path.name, self)
                if dialog.exec():
                    bench.session.add_slide(path, spacing_um=dialog.spacing.value())

    def _show_loose(self, path: Path) -> None:
        for data, keywords, _kind in read_slides(str(path)):
            self.bench.viewer.add_image(data, **keywords)
        self.bench.session.pending_slides = tuple(self.bench.loose_slides())
        self.bench.session.changed.emit()

    def _on_new_project(self) -> None:
        dialog = NewProjectDialog(self)
        if dialog.exec():
            self.create(dialog)

    def create(self, dialog: NewProjectDialog) -> None:
        """Make the project that ``dialog`` describes."""
        loose = self.bench.loose_slides()
        made = self.bench.create_project(
            dialog.root(),
            classes=dialog.classes(),
            spacing_um=dialog.spacing.value(),
            encoder=dialog.encoder.currentText().strip(),
            text=dialog.text.currentText().strip(),
        )
        if made:
            self.bench.session.pending_slides = ()
            for path in loose:
                self.add_slide(path)

    def _on_open_project(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the project")
        if chosen:
            self.bench.open_project(Path(chosen))

    def _on_open_slide(self) -> None:
        pattern = " ".join(f"*{suffix}" for suffix in SLIDE_SUFFIXES)
        paths, _ = QFileDialog.getOpenFileNames(
            self, "Slides", "", f"Slides ({pattern});;All files (*)"
        )
        for path in paths:
            self.add_slide(Path(path))

    def _on_drawn(self) -> None:
        with self.bench.telling("open"):
            self.add_slide(drawn_slide())

    def _on_import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            "Labels of this slide",
            "",
            LABEL_FILES,
        )
        if path:
            with self.bench.telling("open"):
                self.bench.session.import_labels(Path(path))

    def _on_relocate(self) -> None:
        items = self.slides.selectedItems()
        if not items:
            self.bench.tell("open", "Press the slide that moved in the list, then Relocate….")
            return
        name = str(items[0].data(NAME, Qt.ItemDataRole.UserRole))
        path, _ = QFileDialog.getOpenFileName(self, f"Where '{name}' is now")
        if path:
            with self.bench.telling("open"):
                self.bench.session.relocate_slide(name, Path(path))

    def _on_slide_clicked(self, item: QTreeWidgetItem, column: int) -> None:
        if column == NAME:
            self.bench.show_slide(str(item.data(NAME, Qt.ItemDataRole.UserRole)))

    def _on_slide_changed(self, item: QTreeWidgetItem, column: int) -> None:
        if column == HELD:
            held = item.checkState(HELD) == Qt.CheckState.Checked
            with self.bench.telling("open"):
                self.bench.session.set_split(
                    str(item.data(NAME, Qt.ItemDataRole.UserRole)),
                    Split.VAL if held else Split.TRAIN,
                )
