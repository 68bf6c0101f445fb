"""A dialog that asks what another program's classes mean in this project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.widgets.sentence import note_widget

LEAVE_OUT = "leave out"
_TALLEST_PX = 420


class ClassMapDialog(QDialog):
    """Asks for each class of a file that the project does not have which of its own it means.

    Parameters
    ----------
    file
        Its name.
    counts
        Their class → how many outlines have it.
    classes
        The project's.
    suggested
        Their class → ours, ``""`` to leave it out: what was said before.
    """

    def __init__(
        self,
        file: str,
        counts: Mapping[str, int],
        classes: Sequence[str],
        suggested: Mapping[str, str],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Classes of the file")
        self.choices: dict[str, QComboBox] = {}
        inner = QWidget()
        rows = QFormLayout(inner)
        for theirs, count in sorted(counts.items(), key=lambda each: -each[1]):
            choice = QComboBox()
            choice.addItem(LEAVE_OUT, "")
            for name in classes:
                choice.addItem(name, name)
            known = choice.findData(suggested.get(theirs, ""))
            choice.setCurrentIndex(max(known, 0))
            choice.setToolTip(f"What '{theirs}' means in this project.")
            self.choices[theirs] = choice
            rows.addRow(QLabel(f"{theirs} ({count})"), choice)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setMaximumHeight(_TALLEST_PX)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addWidget(
            note_widget(
                f"'{file}' names classes that this project does not have. Say what each means; in "
                f"brackets: how many outlines it has. The answers are suggested the next time."
            )
        )
        outer.addWidget(scroll)
        outer.addWidget(buttons)

    def mapping(self) -> dict[str, str]:
        """Return their class → ours, ``""`` where it is left out."""
        return {theirs: str(choice.currentData()) for theirs, choice in self.choices.items()}
