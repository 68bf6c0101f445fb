"""Small pictures of regions: tissue, with the prediction's classes laid over it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_unisemalign.session.session import Session
from unisemalign.errors import UnisemalignError
from unisemalign.project import Region
from unisemalign.project.colors import rgb
from unisemalign.slides import SpacedSlide

SIDE_PX = 80
_OPACITY = 0.4


def draw_thumbnail(session: Session, region: Region) -> NDArray[np.uint8] | None:
    """Return ``(h, w, 3)`` uint8, the longer side :data:`SIDE_PX`; ``None`` if it cannot be read.

    Where pixels are predicted, a part of their class's colour is mixed in.
    """
    project = session.project
    if project is None:
        return None
    factor = max(1.0, max(region.rect.shape) / SIDE_PX)
    try:
        with session.borrowed_slide(region.slide) as slide:
            coarse = SpacedSlide(slide.slide, slide.spacing_um * factor)
            tissue = coarse.read(region.rect.scaled(1 / factor), [])
        store = session.prediction(region.slide)
        classes = None if store is None else store.read(region.rect, "class")
    except UnisemalignError:
        return None  # the slide moved, or a file is damaged: opening the region says so
    if classes is None:
        return tissue
    ys, xs = (
        np.minimum((np.arange(count) + 0.5) * factor, side - 1).astype(int)
        for count, side in zip(tissue.shape[:2], classes.shape, strict=True)
    )
    seen = classes[np.ix_(ys, xs)]
    colors = np.array([(0, 0, 0), *(rgb(each.color) for each in project.info.classes)], np.uint8)
    seen = np.where(seen < len(colors), seen, 0)
    share = _OPACITY * (seen > 0)[..., None]
    return (tissue * (1 - share) + colors[seen] * share).astype(np.uint8)
