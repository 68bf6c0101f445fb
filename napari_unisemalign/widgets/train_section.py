"""Train: settings, a live curve, and the rounds so far."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
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
from napari_unisemalign.session.dock_state import DockState, RoundItem
from napari_unisemalign.session.progress import Curve
from napari_unisemalign.widgets.form import SettingsForm
from napari_unisemalign.widgets.parts import (
    ActionButton,
    SectionWidget,
    SentenceWidget,
    WheelGuard,
    duration,
)

LOSS_COLOR = "#e69f00"
DICE_COLOR = "#56b4e9"


class CurveWidget(pyqtgraph.PlotWidget):
    """Loss on the left axis, held-out Dice on the right one."""

    def __init__(self) -> None:
        super().__init__(background=None)
        self.setFixedHeight(170)
        self.setToolTip("Loss of each step, and Dice on held-out tissue (100 is perfect).")
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(x=False, y=False)
        item.setLabel("left", "loss", color=LOSS_COLOR)
        item.setLabel("right", "held-out Dice", color=DICE_COLOR)
        item.setLabel("bottom", "step")
        self.loss = item.plot(pen=pyqtgraph.mkPen(LOSS_COLOR, width=1.5))
        self._right = pyqtgraph.ViewBox(enableMenu=False)
        self._right.setMouseEnabled(x=False, y=False)
        item.scene().addItem(self._right)
        item.getAxis("right").linkToView(self._right)
        self._right.setXLink(item)
        self._right.setYRange(0, 100, padding=0.05)
        self.dice = pyqtgraph.PlotDataItem(
            pen=pyqtgraph.mkPen(DICE_COLOR, width=2),
            symbol="o",
            symbolSize=6,
            symbolBrush=DICE_COLOR,
            symbolPen=None,
        )
        self._right.addItem(self.dice)
        item.vb.sigResized.connect(self._on_resized)

    def follow(self, curve: Curve) -> None:
        """Draw ``curve``."""
        self.loss.setData(*_columns(curve.loss))
        self.dice.setData(*_columns([(step, 100 * dice) for step, dice in curve.dice]))

    def _on_resized(self) -> None:
        self._right.setGeometry(self.getPlotItem().vb.sceneBoundingRect())
        self._right.linkedViewChanged(self.getPlotItem().vb, self._right.XAxis)

    def wheelEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Leave the wheel to the dock, which scrolls."""
        event.ignore()  # type: ignore[attr-defined]


class TrainWidget(SectionWidget):
    """Start, watch, stop and resume a round."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Train")
        self.controller = controller
        self.form = SettingsForm()
        self.settings = QWidget()
        self._guard = WheelGuard()
        self._lay_out_form()
        self.start = ActionButton("Start (Ctrl+T)", controller.train)
        self.resume = ActionButton("Resume", controller.resume)
        self.cancel = ActionButton("Cancel", controller.cancel_training)
        self.cancel.setToolTip("Stop at the next step; the round can be resumed.")
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
        self.table = QTableWidget(0, 4)
        self._rounds_shown: tuple[RoundItem, ...] | None = None
        self._prepare_table()
        row = self.add_row(self.start, self.resume, self.cancel)
        row.setStretch(0, 2)
        self.rows.addWidget(self.note)
        self.rows.addWidget(self.progress)
        self.rows.addWidget(self.curve)
        self.rows.addWidget(self.fold)
        self.rows.addWidget(self.settings)
        self.rows.addWidget(self.table)
        self.rows.addWidget(self.measure)
        self._on_fold(False)
        self.curve.hide()
        controller.use_train_options(self._options)
        controller.curve_changed.connect(self._on_curve_changed)

    def _lay_out_form(self) -> None:
        rows = QFormLayout(self.settings)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(3)
        for field in self.form.widgets():
            native = field.native
            native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            native.installEventFilter(self._guard)
            label = QLabel(field.label)
            label.setToolTip(field.tooltip or "")
            rows.addRow(label, native)

    def _prepare_table(self) -> None:
        self.table.setHorizontalHeaderLabels(["Round", "State", "Method", "Dice"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.setToolTip("Dice on held-out tissue; a dash when nothing is held out.")

    def _options(self) -> Sequence[str]:
        return self.form.options()

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        view = state.training
        self.start.follow(state.train)
        self.resume.follow(state.resume)
        self.start.setVisible(view is None)
        self.resume.setVisible(view is None and state.resume.possible)
        self.cancel.setVisible(view is not None)
        self.cancel.setEnabled(view is not None and not view.stopping)
        self.settings.setEnabled(view is None)
        self.progress.setVisible(view is not None)
        self.note.say(state.train.why if view is None and not state.train.possible else "")
        if view is not None:
            known = view.total > 0
            self.progress.setRange(0, view.total if known else 0)
            self.progress.setValue(view.step if known else 0)
            left = f" · {duration(view.eta_s)} left" if view.eta_s else ""
            steps = f" · step {view.step}/{view.total}" if known and view.step else ""
            self.progress.setFormat(f"{view.what}{steps}{left}")
            self.note.say("" if known else view.what)
        self.measure.say(state.measure_note)
        self._follow_rounds(state.rounds)

    def _follow_rounds(self, rounds: tuple[RoundItem, ...]) -> None:
        self.table.setVisible(bool(rounds))
        if rounds == self._rounds_shown:
            return
        self._rounds_shown = rounds
        self.table.setRowCount(len(rounds))
        for row, each in enumerate(reversed(rounds)):
            dice = "–" if each.dice is None else f"{100 * each.dice:.1f}"
            for column, text in enumerate((str(each.number), each.state, each.method, dice)):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.table.setItem(row, column, item)
            self.table.setRowHeight(row, 22)
        self.table.setFixedHeight(30 + 22 * min(5, max(1, len(rounds))))

    def _on_fold(self, open_: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow)
        self.settings.setVisible(open_)

    def _on_curve_changed(self) -> None:
        curve = self.controller.session.curve
        self.curve.setVisible(bool(curve.loss or curve.dice))
        self.curve.follow(curve)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
