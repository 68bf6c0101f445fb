"""What a person said other programs' classes mean, kept from one start to the next."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QStandardPaths

from unisemalign.errors import ProjectError
from unisemalign.runtime.files import read_json, write_json

MOST = 500
_FILE = "napari-unisemalign/class-map.json"


def remembered_classes() -> dict[str, str]:
    """Return their class → our class, ``""`` for those left out. A suggestion, nothing more."""
    found: object = None
    with suppress(OSError):
        found = read_json(_place())
    if not isinstance(found, dict):
        return {}
    kept = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, str)}
    return dict(list(kept.items())[-MOST:])


def remember_classes(mapping: Mapping[str, str]) -> None:
    """Keep ``mapping`` beside what was said before. Where nothing can be written, nothing is."""
    kept = {k: v for k, v in remembered_classes().items() if k not in mapping}
    with suppress(OSError, ProjectError):
        write_json(_place(), dict(list({**kept, **mapping}.items())[-MOST:]))


def _place() -> Path:
    """Return the file, in the person's own folder of settings."""
    config = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(config)) / _FILE
