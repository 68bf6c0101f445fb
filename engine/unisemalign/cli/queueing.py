"""Which regions are most worth a look: the verb ``queue``, typed or asked by a viewer."""

from __future__ import annotations

from unisemalign.active import rank_regions
from unisemalign.errors import DataError
from unisemalign.project import Project
from unisemalign.protocol import QueueDone, QueuedRegion
from unisemalign.runtime import Events


def rank(project: Project, *, count: int, size_px: int, events: Events) -> QueueDone:
    """Rank ``count`` regions of ``size_px`` by what the newest map of each slide doubts.

    Raises
    ------
    DataError
        If there is neither a trained round nor a first guess.
    ProjectError
        If no slide for training is segmented.
    """
    if not project.rounds():
        raise DataError(
            "The queue needs a segmented slide, this project has no trained round yet. Label a "
            "region, train, then segment; or make a first guess and name its clusters: "
            "unisemalign guess."
        )
    regions = rank_regions(project, count=count, size_px=size_px, events=events)
    return QueueDone(
        round=max((r.round for r in regions if r.round is not None), default=None),
        regions=tuple(
            QueuedRegion(
                id=r.id, slide=r.slide, rect=r.rect, score=r.score, reason=r.reason, round=r.round
            )
            for r in regions
        ),
    )
