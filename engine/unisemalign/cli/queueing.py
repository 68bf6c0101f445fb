"""Which regions are most worth a look: the verb ``queue``, typed or asked by a viewer."""

from __future__ import annotations

from unisemalign.active import rank_regions
from unisemalign.errors import DataError
from unisemalign.project import Project
from unisemalign.protocol import QueueDone, QueuedRegion
from unisemalign.runtime import Events


def rank(project: Project, *, count: int, size_px: int, events: Events) -> QueueDone:
    """Rank ``count`` regions of ``size_px`` by what the newest map doubts.

    Raises
    ------
    DataError
        If there is neither a trained round nor a first guess.
    ProjectError
        If the newest map covers no slide for training.
    """
    found = project.doubting_round()
    if found is None:
        raise DataError(
            "The queue needs a segmented slide, this project has no trained round yet. Label a "
            "region, train, then segment; or make a first guess and name its clusters: "
            "unisemalign guess."
        )
    regions = rank_regions(project, found.number, count=count, size_px=size_px, events=events)
    return QueueDone(
        round=found.number,
        regions=tuple(
            QueuedRegion(id=r.id, slide=r.slide, rect=r.rect, score=r.score, reason=r.reason)
            for r in regions
        ),
    )
