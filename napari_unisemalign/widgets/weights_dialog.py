"""Published weights: what is here, under which terms, and fetching them."""

from __future__ import annotations

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QProgressBar,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_unisemalign.actions.controller import Controller
from napari_unisemalign.engine.lines import FINAL
from napari_unisemalign.widgets.buttons import ActionButton, button_row
from napari_unisemalign.widgets.colors import ERROR
from napari_unisemalign.widgets.sentence import SentenceWidget
from unisemalign.protocol import Cancelled, Event, Failed, Progress, Start, WeightsGetDone
from unisemalign.weights import PUBLISHED, Published, find_published, find_weights, is_here
from unisemalign.weights.places import tokenizer_sentence

COLUMNS = ("Name", "Model", "Licence", "MB", "Speed", "State")
KINDS = {
    "encoder": "Encoders: what turns pixels into features",
    "text": "Words: what reads classes",
}
SPEEDS = {
    "fast": "fast: fine on two processor cores",
    "medium": "medium: patience on a processor, quick on a GPU",
    "slow": "slow: needs a GPU",
}
SIZE_PX = (820, 620)


class WeightsDialog(QDialog):
    """Lists encoders and text towers, and fetches the chosen one once its terms are accepted."""

    def __init__(self, controller: Controller, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controller = controller
        self.setWindowTitle("Weights")
        self.resize(*SIZE_PX)
        self.list = QTreeWidget()
        self.list.setHeaderLabels(list(COLUMNS))
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = self.list.header()
        header.setStretchLastSection(True)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.items: dict[str, QTreeWidgetItem] = {}
        self._fill()
        self.about = SentenceWidget()
        self.accepted_terms = QCheckBox("I have read these terms and accept them.")
        self.accepted_terms.toggled.connect(self._follow)
        self.page = ActionButton("Open its page", self._on_page)
        self.page.setToolTip("Shows the terms in your browser.")
        self.fetch = ActionButton("Fetch", self._on_fetch)
        self.cancel = ActionButton("Cancel", controller.weights.cancel)
        self.cancel.setToolTip("Stop; what arrived is kept, and gone on with the next time.")
        self.progress = QProgressBar()
        self.status = SentenceWidget()
        self.problem = SentenceWidget(color=ERROR)
        self._build()
        self.list.currentItemChanged.connect(self._on_chosen)
        controller.weights.changed.connect(self._on_fetch_event)
        self.list.setCurrentItem(self.items[controller.weights.fetching or PUBLISHED[0].name])
        self._follow()

    def _build(self) -> None:
        intro = QLabel(
            "Nothing is fetched until you press Fetch. Weights keep their publisher's licence; "
            "your slides are never sent anywhere."
        )
        intro.setWordWrap(True)
        close = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        close.rejected.connect(self.reject)
        row = button_row(self.accepted_terms, self.page, self.fetch, self.cancel)
        row.setStretch(0, 1)
        outer = QVBoxLayout(self)
        outer.addWidget(intro)
        outer.addWidget(self.list, 1)
        outer.addWidget(self.about)
        outer.addLayout(row)
        for widget in (self.progress, self.status, self.problem, close):
            outer.addWidget(widget)

    def chosen(self) -> Published | None:
        """Return the entry that is chosen."""
        item = self.list.currentItem()
        return None if item is None else find_published(str(item.data(0, Qt.ItemDataRole.UserRole)))

    def choose(self, name: str) -> None:
        """Choose an entry by its name."""
        self.list.setCurrentItem(self.items[name])

    def _fill(self) -> None:
        for kind, title in KINDS.items():
            group = QTreeWidgetItem([title])
            group.setFlags(Qt.ItemFlag.ItemIsEnabled)
            self.list.addTopLevelItem(group)
            group.setFirstColumnSpanned(True)
            for entry in PUBLISHED:
                if entry.kind == kind:
                    item = QTreeWidgetItem(_cells(entry))
                    item.setData(0, Qt.ItemDataRole.UserRole, entry.name)
                    item.setTextAlignment(3, Qt.AlignmentFlag.AlignRight)
                    self.items[entry.name] = item
                    group.addChild(item)
            group.setExpanded(True)

    def _follow(self) -> None:
        """Show what can be done with the chosen entry."""
        entry, running = self.chosen(), self.controller.weights.fetching is not None
        fetchable = entry is not None and entry.repo is not None and not is_here(entry)
        accepted = self.accepted_terms.isChecked()
        self.about.say("" if entry is None else _about(entry))
        self.accepted_terms.setVisible(fetchable)
        self.page.setVisible(entry is not None and entry.page is not None)
        self.fetch.setVisible(fetchable and not running)
        self.fetch.setEnabled(accepted)
        self.fetch.setToolTip("" if accepted else "Accept the terms first: tick the box.")
        self.cancel.setVisible(running)
        self.progress.setVisible(running)

    def _on_chosen(self) -> None:
        self.accepted_terms.setChecked(False)
        self.problem.say("")
        if self.controller.weights.fetching is None:
            self.status.say("")
        self._follow()

    def _on_page(self) -> None:
        entry = self.chosen()
        if entry is not None and entry.page is not None:
            QDesktopServices.openUrl(QUrl(entry.page))

    def _on_fetch(self) -> None:
        entry = self.chosen()
        if entry is not None and self.accepted_terms.isChecked():
            self.problem.say("")
            self.progress.setRange(0, 0)
            self.progress.setFormat("Starting")
            self.controller.weights.fetch(entry.name)

    def _on_fetch_event(self, event: Event | None) -> None:
        if isinstance(event, Start):
            self.status.say(f"Fetching {event.what}.")
        elif isinstance(event, Progress):
            done, total = event.done, event.total
            self.progress.setRange(0, 1000 if total else 0)
            self.progress.setValue(round(1000 * done / total) if total else 0)
            self.progress.setFormat(f"{done:.0f} of {total:.0f} MB")
        elif isinstance(event, FINAL):
            self._finish(event)
        if event is None or isinstance(event, FINAL):
            self._follow()

    def _finish(self, event: Event) -> None:
        self.status.say("")
        for entry in PUBLISHED:
            for column, text in enumerate(_cells(entry)):
                self.items[entry.name].setText(column, text)
        if isinstance(event, Failed):
            self.problem.say(_refusal(event))
        elif isinstance(event, Cancelled):
            self.status.say("Stopped. What arrived is kept: Fetch goes on from there.")
        elif isinstance(event, WeightsGetDone):
            fetched = find_published(event.name)
            missing = fetched is not None and not is_here(fetched)
            self.status.say(
                tokenizer_sentence(fetched, find_weights(fetched))
                if fetched is not None and missing
                else f"'{event.name}' is here now, and works offline from now on. Choose it "
                f"when you make a project."
            )


def _cells(entry: Published) -> list[str]:
    return [
        entry.name,
        entry.title,
        entry.licence,
        f"{entry.megabytes:.0f}" if entry.megabytes else "",
        entry.speed or "",
        _state(entry),
    ]


def _state(entry: Published) -> str:
    if is_here(entry):
        return "here"
    if find_weights(entry) is not None:
        return "tokenizer missing"
    return "licence to accept on its page" if entry.gated else "to fetch"


def _about(entry: Published) -> str:
    """Return the licence notice and what the model needs."""
    parts = [f"{entry.title}: licence {entry.licence}."]
    if entry.page is None:
        return f"{parts[0]} It comes with this package."
    parts.append(f"Its terms: {entry.page}.")
    if entry.gated:
        parts.append(
            "Its publisher gives it to those alone who have accepted the terms there, logged in."
        )
    if entry.memory_megabytes:
        parts.append(f"It takes {entry.memory_megabytes:.0f} MB of memory.")
    if entry.speed:
        parts.append(f"Speed: {SPEEDS[entry.speed]}.")
    if entry.image_tower is not None:
        parts.append("With it, class words alone make a first guess.")
    return " ".join(parts)


def _refusal(event: Failed) -> str:
    """Return why it failed; steps stand below one another."""
    if not event.steps:
        return event.text
    lines = [f"{k}. {step[0].upper()}{step[1:]}." for k, step in enumerate(event.steps, start=1)]
    head = event.text.partition(" Three steps:")[0]
    return "\n".join([head, *lines, "Some publishers answer a request only after days."])
