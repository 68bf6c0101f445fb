"""Naming the clusters of a first guess."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHeaderView,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.canvas.overlays import CLUSTERS
from napari_unisemalign.session.dock_items import ClassItem, ClusterItem
from napari_unisemalign.session.dock_state import DockState
from napari_unisemalign.widgets.buttons import ActionButton, button_row, color_icon
from unisemalign.project import NO_CLASS

CLUSTER, SHARE, CLASS = 0, 1, 2
ROW_PX = 26
ROWS_SHOWN = 8
FIRST_COUNT = 5


class GuessPanelWidget(QWidget):
    """A table of clusters, each with the class it stands for."""

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self.controller = controller
        self.table = QTableWidget(0, 3)
        self.table.setHorizontalHeaderLabels(["Cluster", "Tissue", "Class"])
        self.table.verticalHeader().hide()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(CLASS, QHeaderView.ResizeMode.Stretch)
        self.table.setToolTip("What looks alike, in the colours of the layer 'clusters'.")
        self.use = ActionButton("Use these names", self._on_use)
        self.show_clusters = QPushButton("Clusters")
        self.show_clusters.setCheckable(True)
        self.show_clusters.setToolTip("Show or hide the clusters.")
        self.show_clusters.clicked.connect(self._on_show)
        self.count = QSpinBox()
        self.count.setRange(2, 12)
        self.count.setValue(FIRST_COUNT)
        self.count.setToolTip("How many clusters to look for.")
        self.count.setSuffix(" clusters")
        self.again = ActionButton("Look for them anew", self._on_again)
        self.combos: dict[int, QComboBox] = {}
        self._shown: tuple[tuple[ClusterItem, ...], tuple[tuple[int, str], ...]] | None = None
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        rows.addWidget(self.table)
        first = button_row(self.use, self.show_clusters)
        first.setStretch(0, 2)
        rows.addLayout(first)
        rows.addLayout(button_row(self.count, self.again))

    def follow(self, state: DockState) -> None:
        """Show ``state``."""
        self.setVisible(state.guessed)
        for widget in (self.table, self.use, self.show_clusters):
            widget.setVisible(bool(state.clusters))
        self.use.follow(state.can.name_clusters)
        self.again.follow(state.can.segment_view)
        if state.can.segment_view.possible:
            self.again.setToolTip("Look for that many clusters in what the window shows.")
        layer = self.controller.layers.layer(CLUSTERS)
        self.show_clusters.setEnabled(layer is not None)
        self.show_clusters.setChecked(layer is not None and bool(layer.visible))
        shown = state.clusters, tuple((each.value, each.name) for each in state.classes)
        if shown == self._shown:
            return
        self._shown = shown
        self._fill(state.clusters, state.classes)

    def names(self) -> dict[int, str]:
        """Return what is chosen: number of the cluster → class name, or ``none``."""
        return {number: str(combo.currentText()) for number, combo in self.combos.items()}

    def _fill(self, clusters: tuple[ClusterItem, ...], classes: tuple[ClassItem, ...]) -> None:
        self.count.setValue(len(clusters) or self.count.value())
        self.table.setRowCount(len(clusters))
        self.combos = {}
        for row, each in enumerate(clusters):
            self.table.setItem(
                row, CLUSTER, QTableWidgetItem(color_icon(each.color), str(each.number))
            )
            share = QTableWidgetItem(f"{100 * each.share:.0f} %")
            share.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
            self.table.setItem(row, SHARE, share)
            combo = QComboBox()
            combo.addItem(NO_CLASS)
            for known in classes:
                combo.addItem(color_icon(known.color), known.name)
            combo.setCurrentIndex(each.value or 0)
            self.combos[each.number] = combo
            self.table.setCellWidget(row, CLASS, combo)
            self.table.setRowHeight(row, ROW_PX)
        self.table.setFixedHeight(30 + ROW_PX * min(ROWS_SHOWN, max(1, len(clusters))))

    def _on_use(self) -> None:
        self.controller.guesser.name_clusters(self.names())

    def _on_again(self) -> None:
        self.controller.guesser.guess_again(int(self.count.value()))

    def _on_show(self) -> None:
        self.controller.layers.toggle(CLUSTERS)
