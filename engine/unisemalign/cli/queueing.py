"""The verb ``queue``: regions most worth a look, as a result."""

from __future__ import annotations

from collections.abc import Sequence

from unisemalign.project import Region
from unisemalign.protocol import QueueDone, QueuedRegion


def queue_done(number: int, regions: Sequence[Region]) -> QueueDone:
    """Return the result of ranking ``regions`` by what round ``number`` predicts."""
    return QueueDone(
        round=number,
        regions=tuple(
            QueuedRegion(id=r.id, slide=r.slide, rect=r.rect, score=r.score, reason=r.reason)
            for r in regions
        ),
    )
