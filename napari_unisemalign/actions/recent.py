"""The projects a person opened last, kept from one start of the program to the next."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from qtpy.QtCore import QStandardPaths

from unisemalign.errors import ProjectError
from unisemalign.protocol import PROJECT_FILE
from unisemalign.runtime.files import read_json, write_json

MOST = 8
_FILE = "napari-unisemalign/recent.json"


def recent_projects() -> list[Path]:
    """Return the projects opened last that are still there, the newest first."""
    found: object = None
    with suppress(OSError):
        found = read_json(_place())
    listed = found if isinstance(found, list) else []
    paths = [Path(each) for each in listed if isinstance(each, str)]
    return [path for path in paths if (path / PROJECT_FILE).is_file()][:MOST]


def remember_project(root: Path) -> None:
    """Put a project first. Where nothing can be written, nothing is remembered."""
    others = [path for path in recent_projects() if path != root]
    with suppress(OSError, ProjectError):
        write_json(_place(), [str(path) for path in (root, *others)][:MOST])


def _place() -> Path:
    """Return the file, in the person's own folder of settings."""
    config = QStandardPaths.StandardLocation.GenericConfigLocation
    return Path(QStandardPaths.writableLocation(config)) / _FILE
