"""Rounds in a session: which is used, shown and compared, and what the one on show covers."""

from __future__ import annotations

import numpy as np

from napari_unisemalign.session.acts import History, RoundAct
from napari_unisemalign.session.change import Change
from napari_unisemalign.session.region_edit import Pixels
from napari_unisemalign.session.session_state import SessionState
from unisemalign.project import Region


class SessionRounds(SessionState):
    """Chooses the round that is used, shown or compared; notes what its predictions cover."""

    def __init__(self) -> None:
        super().__init__()
        self._history = History()

    def use_round(self, number: int) -> None:
        """Go back, or forward, to a round; newer ones are set aside. It can be taken back."""
        before = self._aside()
        self._writable().use_round(number)
        self._tell_used()
        self._history.add(RoundAct(before, self._aside(), self._set_aside))

    def show_round(self, number: int | None) -> None:
        """Show what another round says; ``None``: the newest in use. What is used stays."""
        self._round_on_show = number
        self._tell(Change.PREDICTION)
        self.prediction_changed.emit()
        self._note_changes()
        self.refresh_area()

    def compare_round(self, number: int | None) -> None:
        """Show where the round on show says something else than round ``number``."""
        self._compared_round = number
        self._note_changes()
        self._tell(Change.PREDICTION)
        self.prediction_changed.emit()

    def predicted(self) -> None:
        """Note that pixels of a prediction were written; the open region shows them."""
        self._tell(Change.PREDICTION)
        self._show_prediction()

    def guess_changed(self) -> None:
        """Note that there is another first guess on disk."""
        self._tell(Change.GUESS | Change.ROUNDS | Change.PREDICTION)
        self._show_prediction()
        self.refresh_area()

    def refresh_area(self, area: dict[str, float] | None = None) -> None:
        """Take the area per class from a finished job, or measure it."""
        shown = self.shown_prediction()
        number = None if shown is None else shown[0]
        if area is not None and number == self.prediction_round():
            self._area = area
        elif self.project is not None and self.slide is not None and number is not None:
            # Polygons and masks are another room's tools: not needed to open a viewer.
            from unisemalign.exchange import area_by_class

            self._area = area_by_class(self.project, self.slide, number)
        else:
            self._area = {}
        self._tell(Change.AREA)

    def _predicted(self, region: Region) -> Pixels:
        store = self.prediction(region.slide)
        if store is None:
            return np.zeros(region.rect.shape, np.uint8)
        return store.read(region.rect, "class")

    def _show_prediction(self) -> None:
        edit = self._edit
        if edit is not None and edit.take_prediction(self._predicted(edit.region)):
            self._tell(Change.EDIT)
        self.prediction_changed.emit()

    def _aside(self) -> frozenset[int]:
        return frozenset(each.number for each in self.rounds() if each.set_aside)

    def _set_aside(self, numbers: frozenset[int]) -> None:
        self._writable().set_rounds_aside(numbers)
        self._tell_used()

    def _tell_used(self) -> None:
        self._round_on_show = None
        self._tell(Change.ROUNDS | Change.PREDICTION | Change.REGIONS)
        self._show_prediction()
        self._note_changes()
        self.refresh_area()

    def _note_changes(self) -> None:
        """Say how much changed from the compared round to the one on show."""
        shown, number = self.shown_prediction(), self._compared_round
        self._change_note = ""
        if number is None or shown is None or self.project is None or self.slide is None:
            return
        if self.compared_predictions() is None:
            return
        from unisemalign.exchange import count_changes

        found = count_changes(self.project, self.slide, number, shown[0])
        gained = ", ".join(
            f"{name} {um2 / 1e6:+.3f}\u00a0mm²" for name, um2 in found.gained().items()
        )
        self._change_note = (
            f"From round {number} to round {shown[0]} {100 * found.share:.1f}\u00a0% of what both "
            f"labelled changed its class: {gained}."
        )
