"""What a person said other programs' classes mean, kept from one start to the next."""

from __future__ import annotations

from collections.abc import Mapping

from napari_unisemalign.actions.own_settings import read_own, write_own

MOST = 500
_FILE = "class-map.json"


def remembered_classes() -> dict[str, str]:
    """Return their class → our class, ``""`` for those left out. A suggestion, nothing more."""
    found = read_own(_FILE)
    if not isinstance(found, dict):
        return {}
    kept = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, str)}
    return dict(list(kept.items())[-MOST:])


def remember_classes(mapping: Mapping[str, str]) -> None:
    """Keep ``mapping`` beside what was said before."""
    kept = {k: v for k, v in remembered_classes().items() if k not in mapping}
    write_own(_FILE, dict(list({**kept, **mapping}.items())[-MOST:]))
