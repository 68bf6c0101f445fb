"""Open: projects and slides."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFileDialog,
    QHeaderView,
    QMenu,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
)

from napari_unisemalign.actions.class_map import remember_classes, remembered_classes
from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.actions.recent import recent_projects
from napari_unisemalign.canvas.reader import read_slides
from napari_unisemalign.canvas.samples import drawn_slide
from napari_unisemalign.session.dock_items import SlideItem
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.widgets.buttons import ActionButton
from napari_unisemalign.widgets.class_map_dialog import ClassMapDialog
from napari_unisemalign.widgets.classes_dialog import ClassesDialog
from napari_unisemalign.widgets.new_project_dialog import NewProjectDialog
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.sentence import SentenceWidget
from napari_unisemalign.widgets.spacing_dialog import SpacingDialog
from napari_unisemalign.widgets.weights_dialog import WeightsDialog
from unisemalign.errors import SpacingError
from unisemalign.project import Split
from unisemalign.slides import SLIDE_SUFFIXES

NAME, HELD = 0, 1
ROW_PX = 24
LABEL_FILES = (
    "Masks, GeoJSON, ImageScope and ASAP (*.png *.tif *.tiff *.geojson *.json *.gz *.zip *.xml);;"
    "All files (*)"
)


class OpenWidget(SectionWidget):
    """Open a slide or a project; list the slides and what they are for."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Open")
        self.controller = controller
        self._spacing_um = 0.5
        self.new_project = ActionButton("New project…", self._on_new_project)
        self.new_project.setToolTip("Name the classes and choose a folder.")
        self.open_project = ActionButton("Open project…", self._on_open_project)
        self.open_project.setToolTip("Choose a project's folder.")
        self.recent = QToolButton()
        self.recent.setToolTip("Projects opened last.")
        self.recent.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.recent.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.recent.setArrowType(Qt.ArrowType.DownArrow)
        self._recent_menu = QMenu(self.recent)
        self._recent_menu.aboutToShow.connect(self._list_recent)
        self.recent.setMenu(self._recent_menu)
        self.weights = ActionButton("Weights…", self._on_weights)
        self.weights.setToolTip("Encoders and text towers: which are here, their terms, fetching.")
        self.open_slide = ActionButton("Open slide…", self._on_open_slide)
        self.drawn = ActionButton("Drawn slide", self._on_drawn)
        self.drawn.setToolTip("Show a slide drawn by this package: glands, stroma, pen and glass.")
        self.import_labels = ActionButton("Import labels…", self._on_import)
        self.relocate = ActionButton("Relocate…", self._on_relocate)
        self.relocate.setToolTip("Tell the project where the chosen slide's file is now.")
        self.classes = ActionButton("Classes…", self._on_classes)
        self.add_shown = ActionButton("Add the shown slide to the project", self._on_add_shown)
        self.add_shown.setToolTip("A slide was opened through napari's menu or dropped in.")
        self.about = SentenceWidget(dim=True)
        self.remarks = SentenceWidget()
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
        self._shown: tuple[SlideItem, ...] | None = None
        self.slides.itemClicked.connect(self._on_slide_clicked)
        row = self.add_row(self.new_project, self.open_project, self.recent)
        row.setStretch(2, 0)
        self.add_row(self.open_slide, self.drawn, self.weights)
        self.rows.addWidget(self.add_shown)
        self.rows.addWidget(self.about)
        self.rows.addWidget(self.slides)
        self.rows.addWidget(self.remarks)
        self.add_row(self.import_labels, self.classes, self.relocate)

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        self.open_slide.follow(state.can.add_slide)
        self.import_labels.follow(state.can.import_labels)
        self.classes.follow(state.can.edit_classes)
        self.classes.setVisible(state.project is not None)
        self.add_shown.setVisible(state.loose_slides and state.project is not None)
        self.about.say(state.about_model)
        there = bool(state.slides)
        self.slides.setVisible(there)
        self.remarks.say(" ".join(r for each in state.slides if each.current for r in each.remarks))
        self.import_labels.setVisible(there)
        self.relocate.setVisible(any(each.missing for each in state.slides))
        if state.slides == self._shown:
            return
        self._shown = state.slides
        self.slides.clear()
        for each in state.slides:
            shown = f"{each.name} (file not found)" if each.missing else each.name
            item = QTreeWidgetItem([shown, "test" if each.split == Split.TEST else ""])
            item.setData(NAME, Qt.ItemDataRole.UserRole, each.name)
            if each.remarks:
                item.setText(NAME, f"{shown}  (!)")
                item.setToolTip(NAME, "\n".join(each.remarks))
            self.slides.addTopLevelItem(item)
            item.setSelected(each.current)
            if each.split != Split.TEST:
                self.slides.setItemWidget(item, HELD, self._held_box(each))
        rows = min(6, max(2, len(state.slides)))
        self.slides.setFixedHeight(30 + ROW_PX * rows)

    def _held_box(self, slide: SlideItem) -> QCheckBox:
        box = QCheckBox()
        box.setChecked(slide.split == Split.VAL)
        box.setToolTip("Keep this slide for measuring: it is never trained on.")
        box.setProperty("slide", slide.name)
        box.clicked.connect(self._on_held)
        return box

    def add_slides(self, paths: Sequence[Path]) -> None:
        """Add slides to the project.

        Where files do not say how large their pixels are, the person is asked once for all of them;
        the answer is suggested the next time.
        """
        spacing_um: float | None = None
        for number, path in enumerate(paths):
            with self.controller.errors.reporting("open"):
                if self.controller.session.project is None:
                    self._show_loose(path)
                    continue
                try:
                    self.controller.session.add_slide(path)
                except SpacingError:
                    if spacing_um is None:
                        spacing_um = self._ask_spacing(path.name, len(paths) - number - 1)
                    if spacing_um is None:
                        return
                    self.controller.session.add_slide(path, spacing_um=spacing_um)

    def _ask_spacing(self, name: str, others: int) -> float | None:
        """Return the pixel size a person says, in µm; ``None`` when the question is put away."""
        dialog = SpacingDialog(name, self, others=others, spacing_um=self._spacing_um)
        if not dialog.exec():
            return None
        self._spacing_um = dialog.spacing.value()
        return self._spacing_um

    def _show_loose(self, path: Path) -> None:
        for data, keywords, _kind in read_slides(str(path)):
            self.controller.viewer.add_image(data, **keywords)

    def _on_new_project(self) -> None:
        dialog = NewProjectDialog(self, on_weights=self._on_weights)
        # What was typed is kept until the project is made or given up.
        while dialog.exec() and not self.create_project(dialog):
            dialog.problem.say(self.error.text())

    def _on_weights(self, name: str = "") -> None:
        dialog = WeightsDialog(self.controller, self)
        if name in dialog.items:
            dialog.choose(name)
        dialog.exec()
        dialog.deleteLater()

    def create_project(self, dialog: NewProjectDialog) -> bool:
        """Make the project that ``dialog`` describes; False when that failed, which is reported."""
        loose = self.controller.session.loose_slides
        made = self.controller.opener.create_project(
            dialog.root(),
            classes=dialog.classes(),
            spacing_um=dialog.spacing.value(),
            encoder=dialog.encoder.currentText().strip(),
            text=dialog.text.currentText().strip(),
        )
        if made:
            self.add_slides(loose)
        return made

    def _on_classes(self) -> None:
        project = self.controller.session.project
        if project is None:
            return
        dialog = ClassesDialog(project.info.classes, self)
        # What was typed is kept until it is taken or given up.
        while dialog.exec():
            if self.controller.opener.set_classes(dialog.classes()):
                if (merge := dialog.merge()) is not None:
                    self.controller.opener.merge_classes(*merge)
                break
            dialog.problem.say(self.error.text())
        dialog.deleteLater()

    def _on_add_shown(self) -> None:
        self.add_slides(self.controller.session.loose_slides)

    def _on_open_project(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of the project")
        if chosen:
            self.controller.opener.open_project(Path(chosen))

    def _list_recent(self) -> None:
        self._recent_menu.clear()
        for path in recent_projects():
            act = self._recent_menu.addAction(f"{path.stem}   ({path.parent})")
            act.triggered.connect(partial(self.controller.opener.open_project, path))
        if not self._recent_menu.actions():
            self._recent_menu.addAction("No project was opened yet.").setEnabled(False)

    def _on_open_slide(self) -> None:
        pattern = " ".join(f"*{suffix}" for suffix in SLIDE_SUFFIXES)
        paths, _ = QFileDialog.getOpenFileNames(
            self, "Slides", "", f"Slides ({pattern});;All files (*)"
        )
        self.add_slides([Path(path) for path in paths])

    def _on_drawn(self) -> None:
        with self.controller.errors.reporting("open"):
            self.add_slides([drawn_slide()])

    def _on_import(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self,
            "Labels of this slide",
            "",
            LABEL_FILES,
        )
        if path:
            with self.controller.errors.reporting("open"):
                self.import_file(Path(path))

    def import_file(self, path: Path) -> None:
        """Read labels of the slide on show; ask what classes mean that the project has not.

        Raises
        ------
        DataError
            If the file is not what it needs to be.
        """
        from unisemalign.exchange import UnknownClassesError

        session = self.controller.session
        try:
            remarks = session.import_labels(path)
        except UnknownClassesError as error:
            names = () if session.project is None else session.project.info.class_names
            dialog = ClassMapDialog(path.name, error.counts, names, remembered_classes(), self)
            if not dialog.exec():
                return
            mapping = dialog.mapping()
            remarks = session.import_labels(path, mapping)
            remember_classes(mapping)
        if remarks:
            show_info(" ".join(remarks))

    def _on_relocate(self) -> None:
        items = self.slides.selectedItems()
        if not items:
            self.controller.errors.report(
                "open", "Press the slide that moved in the list, then Relocate…."
            )
            return
        name = str(items[0].data(NAME, Qt.ItemDataRole.UserRole))
        path, _ = QFileDialog.getOpenFileName(self, f"Where '{name}' is now")
        if path:
            with self.controller.errors.reporting("open"):
                self.controller.session.relocate_slide(name, Path(path))

    def _on_slide_clicked(self, item: QTreeWidgetItem, column: int) -> None:
        if column == NAME:
            self.controller.opener.show_slide(str(item.data(NAME, Qt.ItemDataRole.UserRole)))

    def _on_held(self, held: bool) -> None:
        name = str(self.sender().property("slide"))
        with self.controller.errors.reporting("open"):
            self.controller.session.set_split(name, Split.VAL if held else Split.TRAIN)
