"""Train: settings, a live curve, and the rounds so far."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QFormLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QWidget,
)

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.actions.train import REGIONS_FOR_A_ROUND
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.dock_items import RoundItem
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.session.permissions import Permission
from napari_unisemalign.widgets.buttons import ActionButton
from napari_unisemalign.widgets.curve_plot import CurveWidget
from napari_unisemalign.widgets.durations import duration
from napari_unisemalign.widgets.ledger_dialog import LedgerDialog
from napari_unisemalign.widgets.section import SectionWidget
from napari_unisemalign.widgets.sentence import SentenceWidget
from napari_unisemalign.widgets.settings_form import SettingsForm
from unisemalign.settings import HARDWARE, METHODS


class TrainWidget(SectionWidget):
    """Start, watch, stop and resume a round."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Train")
        self.controller = controller
        self.form = SettingsForm(controller.trainer.choice)
        self.settings = QWidget()
        self.method_note = SentenceWidget(dim=True)
        self.hardware_note = SentenceWidget(dim=True)
        self._lay_out_form()
        self.start = ActionButton("Start (Ctrl+T)", controller.trainer.start)
        self.resume = ActionButton("Resume", controller.trainer.resume)
        self.cancel = ActionButton("Cancel", controller.trainer.cancel)
        self.cancel.setToolTip("Stop at the next step; the round can be resumed.")
        self.end = ActionButton("End now", controller.trainer.end)
        self.end.setToolTip("End the training at once; Resume goes on from its last checkpoint.")
        self.by_itself = QCheckBox(f"Start after {REGIONS_FOR_A_ROUND} new regions")
        self.by_itself.setToolTip(
            "Start a round in the background whenever so many regions were accepted since the last."
        )
        self.by_itself.clicked.connect(controller.trainer.set_starts_by_itself)
        self.fold = QToolButton()
        self.fold.setText("Settings")
        self.fold.setCheckable(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setStyleSheet("QToolButton { border: none; background: transparent; }")
        self.fold.toggled.connect(self._on_fold)
        self.note = SentenceWidget(dim=True)
        self.measure = SentenceWidget(dim=True)
        self.progress = QProgressBar()
        self.curve = CurveWidget()
        self.warning = SentenceWidget()
        self.table = QTableWidget(0, 4)
        self.show_round = ActionButton("Show", self._on_show_round)
        self.show_round.setCheckable(True)
        self.compare = ActionButton("What changed", self._on_compare)
        self.compare.setCheckable(True)
        self.use = ActionButton("Use", self._on_use)
        self.ledger = ActionButton("Ledger…", self._on_ledger)
        self.ledger.setToolTip(
            "Minutes, regions and pixels you gave, beside the Dice of each round."
        )
        self.changed = SentenceWidget(dim=True)
        self._rounds_shown: tuple[RoundItem, ...] | None = None
        self._prepare_table()
        row = self.add_row(self.start, self.resume, self.cancel, self.end)
        row.setStretch(0, 2)
        self.rows.addWidget(self.by_itself)
        self.rows.addWidget(self.note)
        self.rows.addWidget(self.progress)
        self.rows.addWidget(self.curve)
        self.rows.addWidget(self.warning)
        self.rows.addWidget(self.fold)
        self.rows.addWidget(self.settings)
        self.rows.addWidget(self.table)
        self.add_row(self.show_round, self.compare, self.use, self.ledger)
        self.rows.addWidget(self.changed)
        self.rows.addWidget(self.measure)
        self._on_fold(False)
        self.curve.hide()
        controller.session.changed.connect(self.on_changed)

    def _lay_out_form(self) -> None:
        rows = QFormLayout(self.settings)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        for field in self.form.widgets():
            native = field.native
            label = QLabel(field.label)
            label.setToolTip(field.tooltip or "")
            rows.addRow(label, native)
            if field is self.form.method:
                rows.addRow(self.method_note)
            if field is self.form.hardware:
                rows.addRow(self.hardware_note)
        for start in (self.form.method, self.form.hardware):
            start.changed.connect(self._explain_choices)
        self._explain_choices()

    def _on_ledger(self) -> None:
        lines = self.controller.rounds.read_ledger()
        if lines:
            LedgerDialog(lines, self.controller.rounds.save_ledger, self).exec()

    def _explain_choices(self) -> None:
        self.method_note.say(METHODS[str(self.form.method.value)].explained)
        self.hardware_note.say(HARDWARE[str(self.form.hardware.value)])

    def _prepare_table(self) -> None:
        self.table.setHorizontalHeaderLabels(["Round", "State", "Method", "Dice"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.itemSelectionChanged.connect(self._follow_chosen)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.setToolTip(
            "Dice on held-out tissue; a dash when nothing is held out. Click a round to choose it."
        )

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        view = state.training
        self.start.follow(state.can.train)
        self.resume.follow(state.can.resume)
        self.start.setVisible(view is None)
        self.resume.setVisible(view is None and state.can.resume.possible)
        self.cancel.setVisible(view is not None)
        self.cancel.setEnabled(view is not None and not view.stopping)
        self.end.setVisible(view is not None and view.stop_ignored)
        self.settings.setEnabled(view is None)
        self.by_itself.setChecked(self.controller.trainer.starts_by_itself)
        self.progress.setVisible(view is not None)
        self.note.say(state.can.train.why if view is None and not state.can.train.possible else "")
        if view is not None:
            known = view.total > 0
            self.progress.setRange(0, view.total if known else 0)
            self.progress.setValue(view.step if known else 0)
            left = f" · {duration(view.eta_s)} left" if view.eta_s else ""
            steps = f" · step {view.step}/{view.total}" if known and view.step else ""
            self.progress.setFormat(f"{view.what}{steps}{left}")
            self.note.say("" if known else view.what)
        self.measure.say(state.measure_note)
        self.changed.say(state.change_note)
        self._follow_rounds(state.rounds)

    def _follow_rounds(self, rounds: tuple[RoundItem, ...]) -> None:
        self.table.setVisible(bool(rounds))
        if rounds == self._rounds_shown:
            return
        chosen = self._chosen()
        self._rounds_shown = rounds
        self.table.setRowCount(len(rounds))
        for row, each in enumerate(reversed(rounds)):
            dice = "–" if each.dice is None else f"{100 * each.dice:.1f}"
            for column, text in enumerate((str(each.number), each.state, each.method, dice)):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                item.setToolTip(_about_round(each))
                self.table.setItem(row, column, item)
            self.table.setRowHeight(row, 22)
            if chosen is not None and each.number == chosen.number:
                self.table.selectRow(row)
        self.table.setFixedHeight(30 + 22 * min(5, max(1, len(rounds))))
        self._follow_chosen()

    def _chosen(self) -> RoundItem | None:
        """Return the round of the row that is chosen."""
        rounds = self._rounds_shown or ()
        rows = {index.row() for index in self.table.selectedIndexes()}
        row = next(iter(rows), None)
        return None if row is None or row >= len(rounds) else rounds[len(rounds) - 1 - row]

    def _follow_chosen(self) -> None:
        chosen = self._chosen()
        buttons = (self.show_round, self.compare, self.use)
        for button in (*buttons, self.ledger):
            button.setVisible(bool(self._rounds_shown))
        if chosen is None:
            for button in buttons:
                button.follow(Permission(False, "Click a round in the list first."))
                button.setChecked(False)
            return
        self.show_round.follow(chosen.show)
        self.show_round.setChecked(chosen.on_show)
        self.compare.follow(Permission(True, "") if chosen.compared else chosen.compare)
        self.compare.setChecked(chosen.compared)
        self.use.follow(chosen.use)

    def _on_show_round(self) -> None:
        if (chosen := self._chosen()) is not None:
            self.controller.rounds.show_round(chosen.number)

    def _on_compare(self) -> None:
        if (chosen := self._chosen()) is not None:
            self.controller.rounds.compare_round(chosen.number)

    def _on_use(self) -> None:
        if (chosen := self._chosen()) is not None:
            self.controller.rounds.use_round(chosen.number)

    def _on_fold(self, open_: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        self.settings.setVisible(open_)

    def on_changed(self, change: Change) -> None:
        """Draw the curve where it changed; show the settings of another project."""
        if not isalive(self):
            return
        if Change.PROJECT in change:
            self.form.show_choice()
            self._explain_choices()
        if Change.CURVE not in change:
            return
        curve = self.controller.session.curve
        self.curve.setVisible(bool(curve.loss or curve.dice))
        self.curve.follow(curve)
        self.warning.say(curve.warning)


def _about_round(each: RoundItem) -> str:
    """Return what is said of a round when the mouse rests on it."""
    said = []
    if each.interval is not None:
        low, high = (100 * end for end in each.interval)
        said.append(f"95 % interval of Dice over regions: {low:.1f} to {high:.1f}.")
    if each.verdict:
        said.append(each.verdict)
    return " ".join(said) or "Click to choose this round."
