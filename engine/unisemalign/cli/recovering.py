"""The verb ``recover``: labels that the journal holds and the folder has lost."""

from __future__ import annotations

from unisemalign.project import Project
from unisemalign.protocol import RecoverDone


def recover_labels(project: Project) -> RecoverDone:
    """Put lost labels of every slide back.

    Raises
    ------
    BusyError
        If a viewer has the project open, or another process has been writing labels for long.
    """
    with project.lock_editing():
        found = {record.name: project.recover_labels(record.name) for record in project.slides()}
    return RecoverDone(
        restored={name: len(rects) for name, rects in found.items() if rects},
        remarks=project.remarks,
    )


def sentences(done: RecoverDone) -> list[str]:
    """Return what a person reads."""
    told = [
        f"{name}: labels put back at {count} places of 512 × 512 px."
        for name, count in done.restored.items()
    ]
    return [*(told or ["Nothing is lost that the journal holds."]), *done.remarks]
