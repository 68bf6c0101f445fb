"""Plane model and person say of the pixel under the cursor, in the viewer's status bar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from napari.components import ViewerModel

from napari_unisemalign.session.session import Session
from unisemalign.errors import UnisemalignError
from unisemalign.geometry import Rect
from unisemalign.project import Origin, PredictionStore
from unisemalign.project.predictions import Plane

DOUBTERS = {0: "all agree", 1: "prototypes disagree", 2: "{words} disagree"}
"""By a pixel's disagreement; 3 is both."""
ORIGINS = {
    Origin.DRAWN: "drawn",
    Origin.CORRECTED: "corrected",
    Origin.ACCEPTED: "accepted as predicted",
    Origin.IMPORTED: "imported",
}


class CursorNote:
    """Adds to whatever napari says of the cursor, whichever layer is chosen.

    Parameters
    ----------
    viewer, session
        Whose cursor, and what is said of it.
    pressed
        Tells whether a button of the mouse is down.
    """

    def __init__(self, viewer: ViewerModel, session: Session, pressed: Callable[[], bool]) -> None:
        self._pressed = pressed
        self._viewer = viewer
        self._session = session
        self._said = ""
        self._adding = False
        viewer.events.status.connect(self._on_status)

    def shut_down(self) -> None:
        """Follow the viewer no longer."""
        self._viewer.events.status.disconnect(self._on_status)

    def text(self) -> str:
        """Return what is said of the pixel under the cursor; empty outside the slide."""
        session = self._session
        project, slide = session.project, session.slide
        if project is None or slide is None:
            return ""
        pixel = np.floor(np.asarray(self._viewer.cursor.position)[-2:] / project.info.spacing_um)
        rect = Rect(int(pixel[0]), int(pixel[1]), 1, 1)
        try:
            whole = Rect(0, 0, *session.spaced_slide(slide).shape_yx)
            if min(pixel) < 0 or not whole.contains(rect):
                return ""
            return " · ".join(filter(None, (self._predicted(rect), self._labelled(slide, rect))))
        except UnisemalignError:
            return ""  # said where the slide or the map is used

    def _predicted(self, rect: Rect) -> str:
        shown = self._session.shown_prediction()
        if shown is None:
            return ""
        number, store = shown
        value = _pixel(store, rect, "class")
        if not value:
            return ""
        sure = 100 * _pixel(store, rect, "confidence") / 255
        said = f"round {number}: {self._name(value)}, {sure:.0f} % sure"
        return said if number == 0 else f"{said}, {self._doubters(store, rect)}"

    def _doubters(self, store: PredictionStore, rect: Rect) -> str:
        project = self._session.project
        read = project is not None and project.info.text != "free"
        words = "words" if read else "class vectors"
        value = _pixel(store, rect, "disagreement")
        return DOUBTERS.get(value, "prototypes and {words} disagree").format(words=words)

    def _labelled(self, slide: str, rect: Rect) -> str:
        project = self._session.project
        if project is None:
            return ""
        labels = project.labels(slide)
        value = int(labels.read(rect)[0, 0])
        if not value:
            return ""
        origin = ORIGINS.get(Origin(int(labels.read_origin(rect)[0, 0])), "of unknown origin")
        return f"labelled {self._name(value)}, {origin}"

    def _name(self, value: int) -> str:
        project = self._session.project
        names = () if project is None else project.info.class_names
        return names[value - 1] if 0 < value <= len(names) else f"label {value}"

    def _on_status(self) -> None:
        # A stroke or a pan is being made: reading for every move would make it stutter.
        if self._adding or self._pressed():
            return
        status = self._viewer.status
        text = status.get("coordinates", "") if isinstance(status, dict) else status
        # napari may hand back a text that ends with our earlier words.
        text = text.removesuffix(self._said).rstrip() if self._said else text
        self._said = self.text()
        longer = f"{text} {self._said}".strip()
        self._adding = True
        try:
            changed = {**status, "coordinates": longer} if isinstance(status, dict) else longer
            self._viewer.status = changed
        finally:
            self._adding = False


def _pixel(store: PredictionStore, rect: Rect, what: Plane) -> int:
    return int(store.read(rect, what)[0, 0])
