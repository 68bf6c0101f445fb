"""The projects a person opened last, kept from one start of the program to the next."""

from __future__ import annotations

from pathlib import Path

from napari_unisemalign.actions.own_settings import read_own, write_own
from unisemalign.protocol import PROJECT_FILE

MOST = 8
_FILE = "recent.json"


def recent_projects() -> list[Path]:
    """Return the projects opened last that are still there, the newest first."""
    found = read_own(_FILE)
    listed = found if isinstance(found, list) else []
    paths = [Path(each) for each in listed if isinstance(each, str)]
    return [path for path in paths if (path / PROJECT_FILE).is_file()][:MOST]


def remember_project(root: Path) -> None:
    """Put a project first."""
    others = [path for path in recent_projects() if path != root]
    write_own(_FILE, [str(path) for path in (root, *others)][:MOST])
