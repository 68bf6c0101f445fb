"""A dialog for the classes of the open project: names, colours, new ones."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.widgets.class_row import ClassRowWidget
from napari_unisemalign.widgets.colors import ERROR
from napari_unisemalign.widgets.sentence import SentenceWidget
from unisemalign.project import ClassInfo
from unisemalign.project.colors import default_colors


class ClassesDialog(QDialog):
    """Asks for names and colours. The last class can be taken away; the project says if it is used.

    Parameters
    ----------
    classes
        As they are.
    parent
        The widget it stands before.
    """

    def __init__(self, classes: Sequence[ClassInfo], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Classes")
        self.setMinimumWidth(420)
        self._before = tuple(classes)
        self.rows: list[ClassRowWidget] = []
        self._class_rows = QVBoxLayout()
        self._class_rows.setSpacing(2)
        self.add = QPushButton("Add a class")
        self.add.setAutoDefault(False)
        self.add.clicked.connect(lambda: self.add_class("", self._free_color()))
        self.merged, self.into = QComboBox(), QComboBox()
        self.merged.addItem("merge no class")
        self.merged.addItems([each.name for each in classes])
        self.into.addItems([each.name for each in classes])
        self.merged.setToolTip("Every label of this class becomes one of the other. Undo helps.")
        self.into.setToolTip("The class that takes them.")
        self.problem = SentenceWidget(color=ERROR)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self.buttons.accepted.connect(self._on_accept)
        self.buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        note = SentenceWidget(dim=True)
        note.say(
            "Older rounds know a renamed class by its former name. A new class is learned by the "
            "next round; until then nothing is predicted of it."
        )
        outer.addWidget(note)
        outer.addLayout(self._class_rows)
        outer.addWidget(self.add)
        merging = QHBoxLayout()
        merging.addWidget(QLabel("Merge"))
        merging.addWidget(self.merged, 1)
        merging.addWidget(QLabel("into"))
        merging.addWidget(self.into, 1)
        outer.addLayout(merging)
        outer.addWidget(self.problem)
        outer.addWidget(self.buttons)
        for each in classes:
            self.add_class(each.name, each.color)

    def add_class(self, name: str, color: str) -> None:
        """Add a row."""
        row = ClassRowWidget(name, color)
        row.remove.clicked.connect(self._on_remove)
        self.rows.append(row)
        self._class_rows.addWidget(row)
        self._follow_rows()
        if not name:
            row.name.setFocus()

    def classes(self) -> list[ClassInfo]:
        """Return the classes as they are typed, each one that was there with its former names."""
        found = []
        for index, row in enumerate(self.rows):
            name = row.name.text().strip()
            if index < len(self._before):
                found.append(self._before[index].changed(name=name, color=row.color))
            elif name:
                found.append(ClassInfo(name=name, color=row.color, words=(name,)))
        return found

    def merge(self) -> tuple[int, int] | None:
        """Return the label values of the class to merge and of the one that takes it."""
        value = self.merged.currentIndex()
        return (value, self.into.currentIndex() + 1) if value > 0 else None

    def _free_color(self) -> str:
        used = [row.color for row in self.rows]
        names = [f"class {index}" for index in range(len(used) + 1)]
        return next(each for each in default_colors(names) if each not in used)

    def _follow_rows(self) -> None:
        """Only the last class can go: the others keep their label values."""
        for row in self.rows:
            last = row is self.rows[-1] and len(self.rows) > 2
            row.remove.setEnabled(last)
            row.remove.setToolTip(
                "Take this class away, if it was never used."
                if last
                else "Only the last class can be taken away, and two stay at least."
            )

    def _on_remove(self) -> None:
        row = self.rows.pop()
        self._class_rows.removeWidget(row)
        row.deleteLater()
        self._follow_rows()

    def _on_accept(self) -> None:
        kept = [row.name.text().strip().casefold() for row in self.rows]
        named = [name for name in kept if name]
        if not all(kept[: len(self._before)]):
            self.problem.say("A class has no name. Give it one, or press Cancel.")
        elif len(set(named)) < len(named):
            self.problem.say("Two classes have the same name. Give each its own.")
        elif self.merge() is not None and len(set(self.merge() or ())) == 1:
            self.problem.say("A class cannot be merged into itself. Choose another one.")
        else:
            self.accept()
