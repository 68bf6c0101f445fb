"""A dialog that asks for names: one's own, and a second reader's."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.widgets.sentence import note_widget


class PersonDialog(QDialog):
    """Asks who one is and, where a region is sent, who reads it.

    Parameters
    ----------
    explained
        What the names are for.
    person
        One's own name, as far as it is known.
    readers
        Names to choose from; another one can be typed. ``None``: only one's own name is asked.
    """

    def __init__(
        self,
        explained: str,
        person: str,
        readers: Sequence[str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Second reader")
        self.person = QLineEdit(person)
        self.person.setToolTip("Kept with every edit of the labels from now on.")
        self.reader = QComboBox()
        self.reader.setEditable(True)
        self.reader.setToolTip("Who looks at the region after you: choose a name or type one.")
        self.reader.addItems(list(readers or ()))
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.addRow("Your name", self.person)
        if readers is not None:
            form.addRow("Second reader", self.reader)
        outer = QVBoxLayout(self)
        outer.addWidget(note_widget(explained))
        outer.addLayout(form)
        outer.addWidget(buttons)
        (self.person if not person else self.reader).setFocus()
