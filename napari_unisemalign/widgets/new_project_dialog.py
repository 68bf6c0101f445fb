"""A dialog for a new project: where, which classes, pixel size, encoder and words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.widgets.class_row import ClassRowWidget
from napari_unisemalign.widgets.colors import ERROR
from napari_unisemalign.widgets.sentence import SentenceWidget, note_widget
from unisemalign.project import ClassInfo
from unisemalign.project.colors import default_colors
from unisemalign.weights import PUBLISHED, choice_sentence
from unisemalign.weights.registry import Kind

FIRST_CLASSES = ("background", "gland", "stroma")
OUR_NOTES = {
    "embedded": "'embedded' is small and needs no download; it has seen colon tissue and goes "
    "on learning from your labels.",
    "organs": "'organs' is small and needs no download; it has seen tissue of many organs and "
    "stains and goes on learning from your labels.",
    "free": "'free' gives each class a free vector that is learned; no text tower reads the names.",
}


class NewProjectDialog(QDialog):
    """Asks where, which classes, at what spacing, and with which encoder and words.

    ``on_weights`` shows the published weights, at a name; without it there is no button for them.
    """

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        classes: Sequence[str] = FIRST_CLASSES,
        on_weights: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("New project")
        self.setMinimumWidth(520)
        self.folder = QLineEdit(str(Path.home() / "study.unisem"))
        self.rows: list[ClassRowWidget] = []
        self._class_rows = QVBoxLayout()
        self._class_rows.setSpacing(2)
        self.spacing = _spacing_box()
        self.encoder, self.encoder_note = _choice("encoder")
        self.text, self.text_note = _choice("text")
        self._on_weights = on_weights
        self.weights = {kind: QPushButton("Weights…") for kind in ("encoder", "text")}
        self.problem = SentenceWidget(color=ERROR)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Make the project")
        self.buttons.accepted.connect(self._on_accept)
        self.buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addLayout(self._form())
        outer.addWidget(self.problem)
        outer.addWidget(self.buttons)
        for name, color in zip(classes, default_colors(classes), strict=True):
            self.add_class(name, color)

    def _form(self) -> QFormLayout:
        add = QPushButton("Add a class")
        add.clicked.connect(lambda: self.add_class(""))
        form = QFormLayout()
        form.addRow("Folder", self._folder_row())
        form.addRow("Classes", self._class_rows)
        form.addRow("", add)
        form.addRow("Working spacing", self.spacing)
        form.addRow("Encoder", self._weights_row("encoder", self.encoder))
        form.addRow("", self.encoder_note)
        form.addRow("Words", self._weights_row("text", self.text))
        form.addRow("", self.text_note)
        return form

    def _folder_row(self) -> QHBoxLayout:
        browse = QPushButton("Choose…")
        browse.clicked.connect(self._on_browse)
        row = QHBoxLayout()
        row.addWidget(self.folder)
        row.addWidget(browse)
        return row

    def _weights_row(self, kind: Kind, combo: QComboBox) -> QHBoxLayout:
        button = self.weights[kind]
        button.setToolTip("Which are here, under which terms; and fetching them.")
        button.setVisible(self._on_weights is not None)
        button.clicked.connect(partial(self._show_weights, combo))
        row = QHBoxLayout()
        row.addWidget(combo, 1)
        row.addWidget(button)
        return row

    def add_class(self, name: str, color: str | None = None) -> None:
        """Add a row."""
        if color is None:
            used = [row.color for row in self.rows]
            names = [f"class {index}" for index in range(len(used) + 1)]
            color = next(each for each in default_colors(names) if each not in used)
        row = ClassRowWidget(name, color)
        row.remove.clicked.connect(self._on_remove)
        self.rows.append(row)
        self._class_rows.addWidget(row)
        if not name:
            row.name.setFocus()

    def classes(self) -> list[ClassInfo]:
        """Return the classes as they are typed; rows without a name are left out."""
        named = [(row.name.text().strip(), row.color) for row in self.rows]
        return [ClassInfo(name=name, color=color, words=(name,)) for name, color in named if name]

    def root(self) -> Path:
        """Return the folder."""
        return Path(self.folder.text().strip()).expanduser()

    def _show_weights(self, combo: QComboBox, _checked: bool = False) -> None:
        if self._on_weights is not None:
            self._on_weights(combo.currentText().strip())
            # What is here may have changed.
            combo.currentTextChanged.emit(combo.currentText())

    def _on_remove(self) -> None:
        row = self.sender().parent()
        self.rows.remove(row)
        self._class_rows.removeWidget(row)
        row.deleteLater()

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder that will hold the project")
        if chosen:
            self.folder.setText(str(Path(chosen) / "study.unisem"))

    def _on_accept(self) -> None:
        names = [each.name.casefold() for each in self.classes()]
        if len(names) < 2:
            self.problem.say("A project needs two classes or more. Press Add a class.")
        elif len(set(names)) < len(names):
            self.problem.say("Two classes have the same name. Give each its own.")
        elif not self.folder.text().strip():
            self.problem.say("The project needs a folder. Press Choose….")
        elif why := _taken(self.root()):
            self.problem.say(why)
        else:
            self.accept()


def _taken(root: Path) -> str:
    """Say why no project can be made in ``root``; nothing when it can."""
    try:
        if not root.exists() or not any(root.iterdir()):
            return ""
    except NotADirectoryError:
        return f"'{root}' is a file. Choose a folder."
    except OSError as error:
        return f"'{root}' cannot be looked into ({error.strerror}). Choose another folder."
    return (
        f"'{root}' holds something already. Choose another folder, "
        f"or press Cancel and then Open project…."
    )


def _spacing_box() -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setDecimals(3)
    box.setRange(0.05, 50.0)
    box.setSingleStep(0.25)
    box.setValue(0.5)
    box.setSuffix(" µm/px")
    box.setToolTip("Labels and predictions are made at this pixel size.")
    return box


def _choice(kind: Kind) -> tuple[QComboBox, SentenceWidget]:
    """Return a list of the published names, any other may be typed, and a note on the chosen."""
    combo = QComboBox()
    combo.setEditable(True)
    combo.addItems([entry.name for entry in PUBLISHED if entry.kind == kind])
    combo.setToolTip("A name of the list, any other of its library, or NAME=PATH for your own file")
    note = note_widget(OUR_NOTES[combo.currentText()])
    combo.currentTextChanged.connect(
        lambda name: note.say(choice_sentence(name, kind) or OUR_NOTES.get(name, ""))
    )
    return combo, note
