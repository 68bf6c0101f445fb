"""What part of the slide the window shows, in pixels at working spacing."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel

from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect

MARGIN = 0.75
"""Share of the window that a rectangle fills when it is looked at."""


class Viewport:
    """The camera of one viewer, in the pixels of the open project."""

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._viewer = viewer
        self._session = session

    @property
    def camera(self) -> ViewerModel:
        """The viewer's camera."""
        return self._viewer.scene.camera

    @property
    def downsample(self) -> float:
        """Working pixels across a pixel of the window."""
        project = self._session.project
        spacing = 1.0 if project is None else project.info.spacing_um
        return 1 / (float(self.camera.zoom) * spacing)

    def visible_rect(self, canvas_yx: tuple[int, int] | None = None) -> Rect:
        """Return what the window shows, at working spacing, cut to the slide.

        ``canvas_yx`` is the size of the canvas in pixels; ``None``: the viewer's.
        """
        session = self._session
        if session.project is None or session.slide is None:
            return Rect(0, 0, 0, 0)
        spacing = session.project.info.spacing_um
        whole = Rect(0, 0, *session.spaced_slide(session.slide).shape_yx)
        canvas = canvas_yx or tuple(self._viewer.canvas.size)
        center = np.asarray(self.camera.center, float)[-2:]
        half = np.asarray(canvas, float) / float(self.camera.zoom) / 2
        low = np.floor((center - half) / spacing).astype(int)
        high = np.ceil((center + half) / spacing).astype(int)
        h, w = np.maximum(high - low, 0)
        return Rect(int(low[0]), int(low[1]), int(h), int(w)).intersect(whole)

    def look_at(self, rect: Rect, canvas_yx: tuple[int, int] | None = None) -> None:
        """Move the camera so that ``rect`` (working spacing) fills most of the window."""
        if self._session.project is None:
            return
        spacing = self._session.project.info.spacing_um
        canvas = canvas_yx or tuple(self._viewer.canvas.size)
        self.camera.center = ((rect.y + rect.h / 2) * spacing, (rect.x + rect.w / 2) * spacing)
        room = min(canvas[0] / max(1, rect.h), canvas[1] / max(1, rect.w))
        self.camera.zoom = MARGIN * room / spacing
