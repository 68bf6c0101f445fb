"""One's own name, kept from one start to the next."""

from __future__ import annotations

from napari_unisemalign.actions.own_settings import read_own, write_own
from unisemalign.errors import DataError
from unisemalign.project.names import check_person

_FILE = "person.json"


def own_name() -> str:
    """Return the name that was given last; "" where none was, or the file holds something else."""
    found = read_own(_FILE)
    name = found.get("name") if isinstance(found, dict) else None
    if not isinstance(name, str):
        return ""
    try:
        return check_person(name)
    except DataError:
        return ""


def remember_name(name: str) -> None:
    """Keep one's own name."""
    write_own(_FILE, {"name": name})
