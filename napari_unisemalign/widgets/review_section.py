"""Review: the region under the brush and the list of regions worth a look."""

from __future__ import annotations

from functools import partial

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.actions.persons import own_name
from napari_unisemalign.actions.review import FIRST_SIDE_PX
from napari_unisemalign.canvas.tidying import TIDYING
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.session.records import SURE_CONFIDENCE, SURE_PIXEL_SHARE
from napari_unisemalign.session.thumbnails import draw_thumbnail
from napari_unisemalign.widgets.buttons import ActionButton, button_row
from napari_unisemalign.widgets.class_buttons import ClassButtonsWidget
from napari_unisemalign.widgets.film_strip import FilmStripWidget
from napari_unisemalign.widgets.person_dialog import PersonDialog
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.sentence import SentenceWidget

SIDES_PX = (128, 256, 512, 1024, 2048)
MODES = {
    "paint": "Brush (2)",
    "polygon": "Polygon (3)",
    "fill": "Fill (4)",
    "erase": "Erase (1)",
    "pan_zoom": "Move (6)",
}
EXPLAINED = {
    "paint": "Paint with the chosen class. [ and ] change the brush's size.",
    "fill": "Fill the patch under the mouse with the chosen class.",
    "polygon": "Click around an area; a double click ends it and fills it with the chosen class.",
    "erase": "Take labels away, where you are unsure: these pixels are then neither learned from "
    "nor scored.",
    "pan_zoom": "Move the slide with the mouse; or hold Space while painting.",
}


class ReviewWidget(SectionWidget):
    """Open a region, put it right, accept it.

    Attributes
    ----------
    tools
        Class, brush, Accept, Skip, Next: the dock puts them where they are always in reach.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__("Review")
        self.controller = controller
        self.next = ActionButton("Next region (N)", controller.reviewer.next_region)
        self.mark = ActionButton("Mark region (R)", controller.reviewer.mark_region)
        self.side = QComboBox()
        for side in SIDES_PX:
            self.side.addItem(f"{side} px", side)
        self.side.setCurrentIndex(SIDES_PX.index(FIRST_SIDE_PX))
        self.side.currentIndexChanged.connect(self._on_side)
        self.side.setToolTip("Side of a marked region, in pixels at working spacing.")
        self.title = SentenceWidget()
        self.classes = ClassButtonsWidget()
        self.classes.chosen.connect(self._on_class)
        self.modes: dict[str, QPushButton] = {}
        self.tidy = QToolButton()
        self.undo = ActionButton("Undo", controller.reviewer.undo)
        self.redo = ActionButton("Redo", controller.reviewer.redo)
        self.accept = ActionButton("Accept (C)", controller.reviewer.accept)
        self.skip = ActionButton("Skip (K)", controller.reviewer.skip)
        self.hold = QCheckBox("Hold out")
        self.hold.setToolTip("Keep this region for measuring: it is never trained on.")
        self.hold.clicked.connect(controller.reviewer.hold_out)
        self.sure = ActionButton("", controller.reviewer.accept_sure)
        self.queue = FilmStripWidget(self._thumbnail)
        self.queue.setToolTip("Regions worth a look, the most doubtful first. Press one.")
        self.queue.itemClicked.connect(self._on_queue_clicked)
        self.send = ActionButton("Accept and send…", self._on_send)
        self.send.setToolTip("Accept this region, and ask a second reader to look at it.")
        self.read = ActionButton("Read as second reader…", self._on_read)
        self.readings = SentenceWidget(dim=True)
        self.note = SentenceWidget(dim=True)
        self.looked = SentenceWidget(dim=True)
        self.keys = QToolButton()
        self.keys.setText("?")
        self.keys.setToolTip("List the keys (?).")
        self.tools = QWidget()
        self._layer: Labels | None = None
        self._build()

    def _build(self) -> None:
        rows = QVBoxLayout(self.tools)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        first = button_row(self.next, self.mark, self.side, self.keys)
        first.setStretch(0, 1)
        first.setStretch(1, 1)
        for mode, text in MODES.items():
            button = QPushButton(text)
            button.setCheckable(True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setToolTip(EXPLAINED[mode])
            button.setProperty("mode", mode)
            button.clicked.connect(self._on_mode)
            self.modes[mode] = button
        self.tidy.setText("Tidy")
        self.tidy.setToolTip("Move, smooth or fill the outline of the chosen class. Undo helps.")
        self.tidy.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.tidy.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        menu = QMenu(self.tidy)
        for name in TIDYING:
            menu.addAction(name, partial(self.controller.reviewer.tidy, name))
        self.tidy.setMenu(menu)
        last = button_row(self.accept, self.skip, self.tidy, self.undo, self.redo)
        last.setStretch(0, 2)
        # The dock puts them at its lower edge: what comes and goes is above what stays.
        rows.addWidget(self.classes)
        rows.addLayout(button_row(*self.modes.values()))
        rows.addLayout(last)
        rows.addLayout(first)
        self.rows.addWidget(self.title)
        self.rows.addWidget(self.hold)
        self.rows.addWidget(self.queue)
        self.rows.addWidget(self.sure)
        self.rows.addWidget(self.note)
        self.rows.addWidget(self.looked)
        self.rows.addLayout(button_row(self.send, self.read))
        self.rows.addWidget(self.readings)

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        editing = state.can.edit.possible
        self.next.follow(state.can.next_region)
        self.mark.follow(state.can.mark)
        self.side.setEnabled(state.can.mark.possible)
        self.title.say(state.region_title if editing else "")
        self.classes.follow(state.classes)
        self.classes.setVisible(editing)
        for button in self.modes.values():
            button.setVisible(editing)
        self.tidy.setVisible(editing)
        self.undo.follow(state.can.undo)
        self.redo.follow(state.can.redo)
        for button, act in ((self.undo, state.can.undo), (self.redo, state.can.redo)):
            button.setVisible(editing or state.can.undo.possible or act.possible)
        self.undo.setText("Undo" if editing else f"Undo {state.undo_verb}".rstrip())
        self.redo.setText("Redo" if editing else f"Redo {state.redo_verb}".rstrip())
        self.accept.follow(state.can.edit)
        self.skip.follow(state.can.edit)
        if editing:
            self.accept.setToolTip("Stand behind these labels; the model learns from them.")
            self.skip.setToolTip("Leave this region; it is not offered again.")
        self.accept.setVisible(editing)
        self.skip.setVisible(editing)
        reading = bool(state.reader)
        self.skip.setVisible(editing and not reading)
        self.send.setVisible(editing and not reading)
        self.read.setVisible(bool(state.reading_note))
        self.read.setText(
            f"Stop reading as {state.reader}" if reading else "Read as second reader…"
        )
        self.read.setToolTip(
            "Show all regions again."
            if reading
            else "See only what was sent to you: agree, or correct it and accept."
        )
        self.readings.say(state.reading_note)
        self.accept.setText("Agree (C)" if reading else "Accept (C)")
        self.hold.setVisible(editing and not reading)
        self.hold.setChecked(state.region_held)
        self._follow_queue(state)
        self._follow_layer()

    def _follow_queue(self, state: DockState) -> None:
        self.note.say(state.queue_note)
        self.looked.say(state.looked_note)
        self.queue.setVisible(bool(state.queue))
        self.queue.show_items(state.queue)
        self.sure.setVisible(state.sure > 0 and state.can.mark.possible)
        self.sure.setText(f"Accept {state.sure} sure of {len(state.queue)}")
        self.sure.setToolTip(
            f"Accept the prediction in the {state.sure} regions of this list in which the model is "
            f"{100 * SURE_CONFIDENCE:.0f} % sure of {100 * SURE_PIXEL_SHARE:.0f} % of the "
            f"predicted pixels or more. Undo takes all of them back."
        )

    def _on_send(self) -> None:
        session = self.controller.session
        records = session.read_records()
        known = () if records is None else records.second_readings()
        dialog = PersonDialog(
            "The second reader sees only what was sent to them, and agrees or corrects. How far "
            "both agree is counted in pixels.",
            own_name(),
            list(dict.fromkeys(each.reader for each in reversed(known))),
            self,
        )
        if dialog.exec():
            person, reader = dialog.person.text(), dialog.reader.currentText()
            self.controller.reviewer.accept_and_send(person, reader)

    def _on_read(self) -> None:
        if self.controller.session.reader:
            self.controller.reviewer.read_as("")
            return
        dialog = PersonDialog(
            "You see the regions that were sent to you, and nothing else. Press Agree where they "
            "are right, or correct them first.",
            own_name(),
            parent=self,
        )
        if dialog.exec():
            self.controller.reviewer.read_as(dialog.person.text())

    def _thumbnail(self, region_id: int) -> NDArray[np.uint8] | None:
        session = self.controller.session
        found = next((each for each in session.queue() if each.id == region_id), None)
        return None if found is None else draw_thumbnail(session, found)

    def _follow_layer(self) -> None:
        """Keep the class and mode buttons in step with the layer, whoever changes it."""
        layer = self.controller.layers.editing()
        if layer is not self._layer:
            self._layer = layer
            if layer is not None:
                layer.events.mode.connect(self._on_layer_changed)
                layer.events.selected_label.connect(self._on_layer_changed)
        self._on_layer_changed()

    def _on_layer_changed(self) -> None:
        layer = self._layer
        if layer is None or not isalive(self):
            return
        self.classes.show_chosen(int(layer.selected_label))
        for mode, button in self.modes.items():
            button.setChecked(str(layer.mode) == mode)

    def _on_class(self, value: int) -> None:
        self.controller.layers.paint_class(value)

    def _on_mode(self) -> None:
        layer = self.controller.layers.editing()
        if layer is not None:
            layer.mode = str(self.sender().property("mode"))
            self.controller.viewer.layers.selection.active = layer
        self._on_layer_changed()

    def _on_side(self) -> None:
        self.controller.reviewer.side_px = int(self.side.currentData())

    def _on_queue_clicked(self, item: QListWidgetItem) -> None:
        self.controller.reviewer.open_region(int(item.data(Qt.ItemDataRole.UserRole)))
