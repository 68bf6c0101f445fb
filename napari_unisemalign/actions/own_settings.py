"""Small files in the person's own folder of settings, kept from one start to the next."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QStandardPaths

from unisemalign.errors import ProjectError
from unisemalign.runtime.files import read_json, write_json


def read_own(name: str) -> object:
    """Return what the file ``name`` holds; ``None`` where it is missing or damaged."""
    found: object = None
    with suppress(OSError):
        found = read_json(_place(name))
    return found


def write_own(name: str, content: object) -> None:
    """Keep ``content`` (of JSON). Where nothing can be written, nothing is kept."""
    with suppress(OSError, ProjectError):
        write_json(_place(name), content)


def _place(name: str) -> Path:
    config = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(config)) / "napari-unisemalign" / name
