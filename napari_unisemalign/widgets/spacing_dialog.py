"""A dialog that asks how large the pixels of a slide are."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QDoubleSpinBox, QVBoxLayout, QWidget

from napari_unisemalign.widgets.sentence import note_widget


class SpacingDialog(QDialog):
    """Asks how large the pixels of a slide are.

    Parameters
    ----------
    name
        The slide's file.
    others
        How many more are added with it: the answer is for those that do not say either.
    spacing_um
        What is suggested.
    """

    def __init__(
        self,
        name: str,
        parent: QWidget | None = None,
        *,
        others: int = 0,
        spacing_um: float = 0.5,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Pixel size")
        self.spacing = QDoubleSpinBox()
        self.spacing.setDecimals(4)
        self.spacing.setRange(0.01, 100.0)
        self.spacing.setSingleStep(0.05)
        self.spacing.setValue(spacing_um)
        self.spacing.setSuffix(" µm/px")
        also = ""
        if others:
            also = f"The answer holds for those of the {others} others that do not say either. "
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        outer = QVBoxLayout(self)
        outer.addWidget(
            note_widget(
                f"'{name}' does not say how large its pixels are. {also}"
                f"A 20× scan has about 0.5 µm/px, a 40× scan about 0.25 µm/px."
            )
        )
        outer.addWidget(self.spacing)
        outer.addWidget(buttons)
