"""The note beside each result: which model, which settings, which pixels."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from unisemalign.exchange.pixels import ExportPixels
from unisemalign.metrics import IGNORE
from unisemalign.project import Cleaning, Project
from unisemalign.runtime.files import read_note_text
from unisemalign.terms import Source


class RunRecords:
    """Makes what is written beside results; a round's model is hashed once."""

    def __init__(self, project: Project, source: Source, cleaning: Cleaning | None = None) -> None:
        self._project = project
        self._source = source
        self._cleaning = cleaning or Cleaning()
        self._rounds: dict[int, dict[str, Any]] = {}

    def record(self, slides: Sequence[ExportPixels]) -> dict[str, Any]:
        """Return the note of a result that was made from ``slides``."""
        numbers = [each.round for each in slides if each.round is not None]
        return {
            **about_project(self._project),
            "source": self._source,
            "what": slides[0].what if slides else "class",
            "cleaning": asdict(self._cleaning),
            "slides": [
                {
                    "name": each.slide.name,
                    "file": each.slide.path.name,
                    "shape_yx": list(each.shape_yx),
                    "level_0_spacing_um": each.slide.spacing_um,
                    "round": each.round,
                }
                for each in slides
            ],
            **self._round(max(numbers, default=None)),
        }

    def _round(self, number: int | None) -> dict[str, Any]:
        if number is None:
            return {"round": None, "model_sha256": None, "settings": None}
        if number not in self._rounds:
            known = self._project.round(number)
            self._rounds[number] = {
                "round": number,
                "method": known.method,
                "preset": known.preset,
                "model_sha256": _sha256(known.layout.weights),
                "settings": _settings(known.layout.settings),
            }
        return self._rounds[number]


def about_project(project: Project) -> dict[str, Any]:
    """Return what every note says: who wrote it, when, and the project's pixels and classes."""
    return {
        "version": version("napari-unisemalign"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "spacing_um": project.info.spacing_um,
        "ignore": IGNORE,
        "classes": [
            {"value": value, "name": each.name, "color": each.color}
            for value, each in enumerate(project.info.classes)
        ],
    }


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settings(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return tomllib.loads(read_note_text(path))
    except (ValueError, RecursionError) as error:
        return f"{path.name} is damaged: {error}"
