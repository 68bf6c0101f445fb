"""The training settings a person chose last for each project, kept from one start to the next."""

from __future__ import annotations

from pathlib import Path

from napari_unisemalign.actions.own_settings import read_own, write_own
from napari_unisemalign.session.training_choice import TrainingChoice

MOST = 50
_FILE = "training.json"


def restore_choice(choice: TrainingChoice, root: Path) -> None:
    """Choose what was chosen last for the project ``root``; nothing changes where nothing was.

    What another version wrote, and no setting of today takes, counts as nothing.
    """
    choice.restore(_read().get(str(root)))


def remember_choice(choice: TrainingChoice, root: Path) -> None:
    """Keep the choice for the project ``root``."""
    kept = {place: record for place, record in _read().items() if place != str(root)}
    write_own(_FILE, dict(list({**kept, str(root): choice.record()}.items())[-MOST:]))


def _read() -> dict[str, object]:
    found = read_own(_FILE)
    return found if isinstance(found, dict) else {}
