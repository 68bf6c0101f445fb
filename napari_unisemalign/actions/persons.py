"""One's own name, kept from one start to the next."""

from __future__ import annotations

from napari_unisemalign.actions.own_settings import read_own, write_own

_FILE = "person.json"


def own_name() -> str:
    """Return the name that was given last; "" where none was."""
    found = read_own(_FILE)
    name = found.get("name") if isinstance(found, dict) else ""
    return name if isinstance(name, str) else ""


def remember_name(name: str) -> None:
    """Keep one's own name."""
    write_own(_FILE, {"name": name})
