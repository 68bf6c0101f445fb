"""Seeing and correcting what of the slide is skipped."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.canvas.overlays import TISSUE_PALETTE
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.session.permissions import Permission
from napari_unisemalign.widgets.buttons import ActionButton, button_row, color_icon
from napari_unisemalign.widgets.sentence import SentenceWidget
from unisemalign.project import TissueChange

BRUSHES = {
    TissueChange.NOT_TISSUE: ("Skip", "Paint what is to be skipped: pen, dirt, a fold."),
    TissueChange.TISSUE: ("Keep", "Paint what is tissue although it is dark here."),
}
CORRECTING = (
    "Brush and fill mark, the eraser gives back what was found, Ctrl+Z undoes. It is saved as you "
    "paint; labels follow when you segment again, training with its next round."
)
NEED_NO_REGION = "A region is open: press Accept or Skip in Review first."


class TissuePanelWidget(QWidget):
    """Show tissue, correct it, have it as found."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.controller = controller
        self.show_tissue = QPushButton("Tissue")
        self.show_tissue.setCheckable(True)
        self.show_tissue.setToolTip(
            "Darken glass, pen and folds. Windows that hold nothing else are skipped; what you "
            "mark is skipped to the pixel."
        )
        self.show_tissue.clicked.connect(self._on_show)
        self.correct = ActionButton("Correct tissue", self._on_correct)
        self.correct.setCheckable(True)
        self.brushes: dict[int, QPushButton] = {}
        for change, (text, tooltip) in BRUSHES.items():
            button = QPushButton(color_icon(TISSUE_PALETTE.colors[change]), text)
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setToolTip(tooltip)
            button.setProperty("change", int(change))
            button.clicked.connect(self._on_brush)
            self.brushes[int(change)] = button
        self.as_found = ActionButton("As found", controller.tissue.as_found)
        self.as_found.setToolTip("Forget every mark on this slide (Ctrl+Z brings them back).")
        self.note = SentenceWidget(dim=True)
        self.painting = QWidget()
        painting = button_row(*self.brushes.values(), self.as_found)
        painting.setContentsMargins(0, 0, 0, 0)
        self.painting.setLayout(painting)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        rows.addLayout(button_row(self.show_tissue, self.correct))
        rows.addWidget(self.painting)
        rows.addWidget(self.note)

    def follow(self, state: DockState) -> None:
        """Show ``state``, and what the tissue's editor does."""
        editor = self.controller.tissue
        there = state.can.mark  # what can be done wherever a slide is on show
        layer = editor.layer
        self.show_tissue.setEnabled(there.possible and not editor.finding)
        self.show_tissue.setText("Looking for tissue…" if editor.finding else "Tissue")
        self.show_tissue.setChecked(editor.finding or (layer is not None and bool(layer.visible)))
        act = Permission(there.possible, "Mark what is skipped wrongly, or is to be skipped.")
        if not there.possible:
            act = there
        elif state.can.edit.possible:
            act = Permission(False, NEED_NO_REGION)
        self.correct.follow(act)
        self.correct.setChecked(editor.correcting)
        painting = editor.correcting and layer is not None
        self.painting.setVisible(painting)
        for change, button in self.brushes.items():
            button.setChecked(change == editor.brush)
        share = (
            "" if editor.share is None else f"{100 * editor.share:.1f} % of the slide is tissue."
        )
        visible = layer is not None and bool(layer.visible)
        self.note.say(f"{share} {CORRECTING}" if painting else share if visible else "")

    def _on_show(self) -> None:
        self.controller.tissue.toggle()

    def _on_correct(self) -> None:
        editor = self.controller.tissue
        editor.stop() if editor.correcting else editor.start()

    def _on_brush(self) -> None:
        self.controller.tissue.paint(TissueChange(int(self.sender().property("change"))))
