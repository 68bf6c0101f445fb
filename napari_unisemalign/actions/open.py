"""Opening projects, and choosing what of them is on show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_unisemalign.actions.error_reporter import ErrorReporter
from napari_unisemalign.actions.persons import own_name
from napari_unisemalign.actions.recent import remember_project
from napari_unisemalign.canvas.layer_manager import LayerManager
from napari_unisemalign.canvas.slide_layer import METADATA_KEY
from napari_unisemalign.session.session import Session
from unisemalign.project import ClassInfo


class Opener:
    """Opens and makes projects, shows slides, and knows the slides that belong to none."""

    def __init__(self, session: Session, layers: LayerManager, errors: ErrorReporter) -> None:
        self._session = session
        self._layers = layers
        self._errors = errors
        layers.shown_changed.connect(self._find_loose_slides)
        self._find_loose_slides()

    def open_project(self, root: Path) -> None:
        """Open a project and show its first slide; say what is to be known of it."""
        with self._errors.reporting("open"):
            self._session.open(root)
            self._remember()
            if self._session.project is not None and self._session.project.remarks:
                self._errors.report("open", " ".join(self._session.project.remarks))

    def create_project(self, root: Path, **choices: Any) -> bool:
        """Make a project and return whether it was made; ``choices`` are :meth:`Session.create`'s.

        Slides opened before are its first.
        """
        before = self._session.project
        with self._errors.reporting("open"):
            self._session.create(root, **choices)
            self._remember()
        return self._session.project is not before

    def _remember(self) -> None:
        if self._session.project is not None:
            remember_project(self._session.project.root)
            self._session.set_person(own_name())

    def set_classes(self, classes: Sequence[ClassInfo]) -> bool:
        """Rename, recolour, add or take away classes; return whether that could be done."""
        with self._errors.reporting("open"):
            self._session.set_classes(classes)
        project = self._session.project
        return project is not None and project.info.classes == tuple(classes)

    def merge_classes(self, value: int, into: int) -> None:
        """Make every label of one class one of another."""
        with self._errors.reporting("open"):
            self._session.merge_classes(value, into)

    def show_slide(self, name: str) -> None:
        """Show a slide of the project; deleted layers of the one on show come back."""
        with self._errors.reporting("open"):
            if name == self._session.slide:
                self._layers.recreate_layers()
            self._session.show_slide(name)

    def _find_loose_slides(self) -> None:
        facts = [layer.metadata.get(METADATA_KEY, {}) for layer in self._layers.viewer.layers]
        self._session.set_loose_slides(
            tuple(Path(each["path"]) for each in facts if "path" in each and "role" not in each)
        )
