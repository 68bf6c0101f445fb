"""Segment: view, region, slide or all of them, and what of it is shown."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QProgressBar, QPushButton, QWidget

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.canvas.overlays import (
    ACCEPTED,
    DISAGREEMENT,
    ORIGIN,
    PREDICTION,
    UNCERTAINTY,
)
from napari_unisemalign.session.dock_items import ClassItem
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.widgets.area_bar import AreaBarWidget
from napari_unisemalign.widgets.buttons import ActionButton, color_icon
from napari_unisemalign.widgets.durations import duration
from napari_unisemalign.widgets.guess_panel import GuessPanelWidget
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.sentence import SentenceWidget
from napari_unisemalign.widgets.tissue_panel import TissuePanelWidget

SHOWN = {
    PREDICTION: "Prediction (T)",
    UNCERTAINTY: "Uncertainty (U)",
    DISAGREEMENT: "Disagreement",
    ACCEPTED: "Accepted",
    ORIGIN: "Where from",
}
EXPLAINED = {
    PREDICTION: "What the newest round says; before any, the first guess (round 0).",
    UNCERTAINTY: "Where the model is unsure: brighter is less sure.",
    DISAGREEMENT: "Where prototypes (yellow), words or class vectors (blue), or both "
    "(red) contradict the decoder.",
    ACCEPTED: "What a person stands behind.",
    ORIGIN: "Where labels come from: drawn (pink), corrected (orange), accepted as predicted "
    "(green), imported (blue).",
}


class SegmentWidget(SectionWidget):
    """Run the newest model, or make a first guess, and say how much each class takes."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Segment")
        self.controller = controller
        self.view = ActionButton("View (S)", controller.segmenter.segment_view)
        self.region = ActionButton("Region", controller.segmenter.segment_region)
        self.slide = ActionButton("Slide", controller.segmenter.segment_slide)
        self.all = ActionButton("All slides", controller.segmenter.segment_all)
        self.live = QCheckBox("Live")
        self.live.clicked.connect(controller.segmenter.set_live)
        self.note = SentenceWidget(dim=True)
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.cancel = ActionButton("Cancel", controller.segmenter.cancel)
        self.cancel.setToolTip("Stop; what was labelled so far is kept.")
        self.end = ActionButton("End now", controller.segmenter.end)
        self.end.setToolTip("End the engine at once; what was labelled so far is kept.")
        self.guess = GuessPanelWidget(controller)
        self.area_note = SentenceWidget(dim=True)
        self.bar = AreaBarWidget()
        self.legend = QWidget()
        self._legend_rows = QGridLayout(self.legend)
        self._legend_rows.setContentsMargins(0, 0, 0, 0)
        self._legend_rows.setSpacing(3)
        self._legend_shown: tuple[ClassItem, ...] = ()
        self.add_row(self.view, self.region, self.slide, self.all, self.live)
        self.rows.addWidget(self.note)
        row = self.add_row(self.progress, self.cancel, self.end)
        row.setStretch(0, 1)
        self.rows.addWidget(self.guess)
        self.rows.addWidget(self.area_note)
        self.rows.addWidget(self.bar)
        self.rows.addWidget(self.legend)
        self.toggles: dict[str, QPushButton] = {}
        self._add_toggles()
        self.tissue = TissuePanelWidget(controller)
        self.rows.addWidget(self.tissue)

    def _add_toggles(self) -> None:
        for pair in (list(SHOWN)[:2], list(SHOWN)[2:]):  # two rows
            buttons: list[QWidget] = []
            for role in pair:
                button = QPushButton(SHOWN[role])
                button.setCheckable(True)
                button.setToolTip(EXPLAINED[role])
                button.setProperty("role", role)
                button.clicked.connect(self._on_toggle)
                self.toggles[role] = button
                buttons.append(button)
            self.add_row(*buttons)

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        self.view.follow(state.can.segment_view)
        self.region.follow(state.can.segment_region)
        self.slide.follow(state.can.segment_slide)
        self.all.follow(state.can.segment_all)
        self.live.setEnabled(state.can.live.possible)
        self.live.setToolTip(state.can.live.why)
        self.live.setChecked(state.live_on)
        view = state.segmenting
        self.note.say(state.segment_note)
        # While live, views come and go: the dock is not to jump with each of them.
        self.progress.setVisible(view is not None or state.live_on)
        self.cancel.setVisible(view is not None or state.live_on)
        self.cancel.setEnabled(view is not None)
        self.end.setVisible(view is not None and view.stop_ignored)
        if view is not None:
            known = view.total > 0
            self.progress.setRange(0, 1000 if known else 0)
            self.progress.setValue(round(1000 * view.done / view.total) if known else 0)
            left = f" · {duration(view.eta_s)} left" if view.eta_s else ""
            share = f" {100 * view.done / view.total:.0f} %" if known else "…"
            self.progress.setFormat(f"{view.what}{share}{left}")
        elif state.live_on:
            self.progress.setRange(0, 1000)
            self.progress.setValue(0)
            self.progress.setFormat("")
        self.guess.follow(state)
        self.tissue.follow(state)
        self.area_note.say(_area_note(state))
        self.bar.follow(state.classes)
        self._follow_legend(state)
        for role, button in self.toggles.items():
            layer = self.controller.layers.layer(role)
            button.setEnabled(layer is not None)
            button.setChecked(layer is not None and bool(layer.visible))

    def _follow_legend(self, state: DockState) -> None:
        classes = state.classes if any(each.share for each in state.classes) else ()
        self.legend.setVisible(bool(classes))
        if classes == self._legend_shown:
            return
        self._legend_shown = classes
        while (item := self._legend_rows.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.deleteLater()
        for index, each in enumerate(classes):
            swatch = QLabel()
            swatch.setPixmap(color_icon(each.color).pixmap(10, 10))
            text = QLabel(f"{each.name} {100 * (each.share or 0):.1f} %")
            row, column = divmod(index, 2)
            self._legend_rows.addWidget(swatch, row, 2 * column)
            self._legend_rows.addWidget(text, row, 2 * column + 1)
        self._legend_rows.setColumnStretch(1, 1)
        self._legend_rows.setColumnStretch(3, 1)

    def _on_toggle(self) -> None:
        self.controller.layers.toggle(str(self.sender().property("role")))


def _area_note(state: DockState) -> str:
    """Say what the classes' shares are shares of."""
    if not any(each.share for each in state.classes):
        return ""
    whose = f"round {state.round_shown}" if state.round_shown else "the first guess"
    return f"Share of what {whose} has labelled on this slide:"
