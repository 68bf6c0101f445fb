"""Dialogs: a new project, and the pixel size of a slide that does not say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QColorDialog,
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

from napari_unisemalign.widgets.parts import SentenceWidget, color_icon
from unisemalign.project import ClassInfo
from unisemalign.project.colors import default_colors

FIRST_CLASSES = ("background", "gland", "stroma")
ENCODER_NOTE = (
    "'embedded' is small and needs no download; it has seen colon tissue and goes on learning "
    "from your labels. "
    "Any other name is looked up in timm and may need weights: see 'unisemalign weights list'."
)
TEXT_NOTE = (
    "'free' gives each class a free vector that is learned; no text tower reads the names. "
    "Any other name is looked up in open_clip and may need weights."
)


class ClassRowWidget(QWidget):
    """One class: colour, name, and a button that removes it."""

    def __init__(self, name: str, color: str) -> None:
        super().__init__()
        self.color = color
        self.swatch = QPushButton()
        self.swatch.setFixedWidth(30)
        self.swatch.setIcon(color_icon(color))
        self.swatch.setToolTip("Choose the colour")
        self.swatch.clicked.connect(self._on_swatch)
        self.name = QLineEdit(name)
        self.name.setPlaceholderText("Name of the class")
        self.remove = QPushButton("✕")
        self.remove.setFixedWidth(30)
        self.remove.setToolTip("Remove this class")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for widget in (self.swatch, self.name, self.remove):
            row.addWidget(widget)

    def _on_swatch(self) -> None:
        chosen = QColorDialog.getColor(QColor(self.color), self)
        if chosen.isValid():
            self.color = chosen.name()
            self.swatch.setIcon(color_icon(self.color))


class NewProjectDialog(QDialog):
    """Asks where, which classes, at what spacing, and with which encoder and words."""

    def __init__(
        self, parent: QWidget | None = None, *, classes: Sequence[str] = FIRST_CLASSES
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("New project")
        self.setMinimumWidth(520)
        self.folder = QLineEdit(str(Path.home() / "study.unisem"))
        browse = QPushButton("Choose…")
        browse.clicked.connect(self._on_browse)
        where = QHBoxLayout()
        where.addWidget(self.folder)
        where.addWidget(browse)
        self.rows: list[ClassRowWidget] = []
        self._class_rows = QVBoxLayout()
        self._class_rows.setSpacing(2)
        add = QPushButton("Add a class")
        add.clicked.connect(lambda: self.add_class(""))
        self.spacing = QDoubleSpinBox()
        self.spacing.setDecimals(3)
        self.spacing.setRange(0.05, 50.0)
        self.spacing.setSingleStep(0.25)
        self.spacing.setValue(0.5)
        self.spacing.setSuffix(" µm/px")
        self.spacing.setToolTip("Labels and predictions are made at this pixel size.")
        self.encoder = _editable("embedded", ENCODER_NOTE)
        self.text = _editable("free", TEXT_NOTE)
        form = QFormLayout()
        form.addRow("Folder", where)
        form.addRow("Classes", self._class_rows)
        form.addRow("", add)
        form.addRow("Working spacing", self.spacing)
        form.addRow("Encoder", self.encoder)
        form.addRow("", _note(ENCODER_NOTE))
        form.addRow("Words", self.text)
        form.addRow("", _note(TEXT_NOTE))
        self.problem = SentenceWidget(color="#e5605a")
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Make the project")
        self.buttons.accepted.connect(self._on_accept)
        self.buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addLayout(form)
        outer.addWidget(self.problem)
        outer.addWidget(self.buttons)
        for name, color in zip(classes, default_colors(classes), strict=True):
            self.add_class(name, color)

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
            self.problem.say("A project wants two classes or more. Press Add a class.")
        elif len(set(names)) < len(names):
            self.problem.say("Two classes have the same name. Give each its own.")
        elif not self.folder.text().strip():
            self.problem.say("The project wants a folder. Press Choose….")
        elif why := _taken(self.root()):
            self.problem.say(why)
        else:
            self.accept()


class SpacingDialog(QDialog):
    """Asks how large the pixels of a slide are."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Pixel size")
        self.spacing = QDoubleSpinBox()
        self.spacing.setDecimals(4)
        self.spacing.setRange(0.01, 100.0)
        self.spacing.setSingleStep(0.05)
        self.spacing.setValue(0.5)
        self.spacing.setSuffix(" µm/px")
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addWidget(
            _note(
                f"'{name}' does not say how large its pixels are. "
                f"A 20× scan has about 0.5 µm/px, a 40× scan about 0.25 µm/px."
            )
        )
        outer.addWidget(self.spacing)
        outer.addWidget(buttons)


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


def _editable(value: str, tooltip: str) -> QComboBox:
    combo = QComboBox()
    combo.setEditable(True)
    combo.addItem(value)
    combo.setToolTip(tooltip)
    return combo


def _note(text: str) -> SentenceWidget:
    note = SentenceWidget(dim=True)
    # Without a width to wrap at, Qt reserves room for far more lines than there are.
    note.setMinimumWidth(360)
    note.say(text)
    return note
