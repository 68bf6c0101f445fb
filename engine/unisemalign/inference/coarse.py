"""A coarse answer first, where more tissue is on the screen than can be labelled at once."""

from __future__ import annotations

import math

import numpy as np

from unisemalign.geometry import Rect
from unisemalign.inference.blending import Band
from unisemalign.inference.plan import Plan
from unisemalign.settings import InferenceSettings
from unisemalign.slides import SpacedSlide, TissueMask

COARSEST = 2
"""Working pixels across a pixel of the coarsest answer: accuracy collapses beyond."""


def coarse_factor(downsample: float) -> int:
    """Return the power of two, up to :data:`COARSEST`, nearest to ``downsample``.

    ``downsample`` is working pixels across a pixel of the screen.
    """
    return int(2 ** round(math.log2(min(max(downsample, 1.0), COARSEST))))


class CoarseLook:
    """A target as it is labelled ``factor`` times coarser: the slide, its tissue and the windows.

    Windows lie side by side: it is to be quick, and better labels follow.

    Parameters
    ----------
    slide
        At working spacing.
    tissue
        Where windows are labelled; ``None``: everywhere.
    inference
        Windows and stride.
    factor
        Working pixels across a pixel of this look.
    target, focus
        As for :class:`Plan`, in working pixels.

    Attributes
    ----------
    factor, slide, tissue, plan
        What is read, and what is labelled of it, in pixels of this look.
    """

    def __init__(
        self,
        slide: SpacedSlide,
        tissue: TissueMask | None,
        inference: InferenceSettings,
        factor: int,
        target: Rect,
        focus: tuple[int, int] | None,
    ) -> None:
        self.factor = factor
        self.slide = SpacedSlide(slide.slide, factor * slide.spacing_um)
        self.tissue = None if tissue is None else tissue.at_spacing(self.slide.spacing_um)
        self.plan = Plan(
            self.slide.shape_yx,
            inference,
            target.scaled(1 / factor),
            focus=None if focus is None else (focus[0] // factor, focus[1] // factor),
            sketch=True,
        )
        self._whole = Rect(0, 0, *slide.shape_yx)
        self._working_tissue = tissue
        self._inference = inference

    def at_working(self, rect: Rect) -> Rect:
        """Return the working pixels under ``rect``, which is in pixels of this look."""
        return rect.scaled(self.factor).intersect(self._whole)

    def without_glass(self, band: Band) -> Band:
        """Return ``band``, unlabelled wherever labelling at working spacing will leave glass.

        A window of this look is large: it would label much glass around the tissue it met.
        """
        tissue = self._working_tissue
        if tissue is None or not band.classes.any():
            return band
        seen = np.zeros(band.rect.shape, bool)
        plan = Plan(self._whole.shape, self._inference, self.at_working(band.rect))
        for window in (window for run in plan.runs() for row in run.rows for window in row):
            inside = window.intersect(self._whole)
            if tissue.fraction(inside) > 0:
                part = inside.scaled(1 / self.factor).intersect(band.rect)
                seen[part.relative_to(band.rect).slices] = True
        for plane in (band.classes, band.confidence, band.disagreement):
            plane[~seen] = 0
        return band
