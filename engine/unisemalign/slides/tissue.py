"""Where there is tissue worth looking at: glass, pen marks and folds left out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from unisemalign.geometry import Rect
from unisemalign.slides.slide import UnreadableTileError
from unisemalign.slides.spaced import SpacedSlide

# Optical densities (decadic). Glass lies below 0.04; the palest eosin above 0.065. Otsu chooses
# between those two, so an image without any glass is not cut in half.
_TISSUE_OD = (0.045, 0.065)
_FOLD_OD = 0.6
_SPECK_MM2 = 0.004
_HOLE_MM2 = 0.05
_PEN_RIM_UM = 24.0


@dataclass(frozen=True)
class TissueMask:
    """A low-power map of tissue.

    Attributes
    ----------
    mask
        ``(Y, X)`` bool at ``spacing_um``, origin at the slide's top left.
    spacing_um
        µm per mask pixel.
    working_spacing_um
        µm per pixel of the rectangles that :meth:`fraction` takes.
    """

    mask: NDArray[np.bool_]
    spacing_um: float
    working_spacing_um: float

    def fraction(self, rect: Rect) -> float:
        """Return the share (0…1) of ``rect`` (working pixels) that is tissue; outside is none."""
        if rect.area == 0:
            return 0.0
        scale = self.working_spacing_um / self.spacing_um
        rows = np.clip(np.array([rect.y, rect.y1]) * scale, 0, self.mask.shape[0])
        columns = np.clip(np.array([rect.x, rect.x1]) * scale, 0, self.mask.shape[1])
        corners = ndimage.map_coordinates(
            self._integral, np.meshgrid(rows, columns, indexing="ij"), order=1
        )
        inside = corners[1, 1] - corners[0, 1] - corners[1, 0] + corners[0, 0]
        return float(np.clip(inside / (rect.area * scale**2), 0.0, 1.0))

    def at_spacing(self, working_spacing_um: float) -> TissueMask:
        """Return the same map for rectangles in pixels of another spacing."""
        other = replace(self, working_spacing_um=working_spacing_um)
        other.__dict__["_integral"] = self._integral  # of a large slide: a tenth of a second
        return other

    @cached_property
    def _integral(self) -> NDArray[np.float64]:
        """Sum of the mask above and left of every corner: linear between corners, so exact."""
        return np.pad(self.mask.cumsum(0).cumsum(1), ((1, 0), (1, 0))).astype(np.float64)


def tissue_mask(slide: SpacedSlide, mask_spacing_um: float = 8.0) -> TissueMask:
    """Find the tissue of a slide at low power.

    Tissue absorbs and is coloured; glass does neither. Ink absorbs red more than green, or all
    colours alike, which haematoxylin and eosin never do. Folds are far denser than the rest. What
    cannot be decoded at low power counts as tissue: it may be readable at full power.

    Raises
    ------
    SlideError
        If the slide cannot be read.
    """
    low = SpacedSlide(slide.slide, max(mask_spacing_um, slide.spacing_um))
    unreadable: list[UnreadableTileError] = []
    density = optical_density(low.read(Rect(0, 0, *low.shape_yx), unreadable))
    density = ndimage.gaussian_filter(density, (1, 1, 0))
    pixel_mm2 = (low.spacing_um / 1000) ** 2
    pen = _pen(density, max(1, round(_PEN_RIM_UM / low.spacing_um)))
    # Ink joins the glass on both its sides: what a stroke cuts off is then no hole to fill.
    tissue = _absorbing(density, ~pen) & ~pen
    tissue = _without_small(tissue, _SPECK_MM2 / pixel_mm2)
    tissue = ~_without_small(~tissue, _HOLE_MM2 / pixel_mm2)
    mask = tissue & ~pen & ~_folds(density, tissue)
    for error in unreadable:
        mask[error.rect.slices] = True
    return TissueMask(mask, low.spacing_um, slide.spacing_um)


def optical_density(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return decadic density ``(h, w, 3)`` against the slide's own glass (the brightest pixels)."""
    glass = np.clip(np.percentile(rgb.reshape(-1, 3), 99.5, axis=0), 235, 255)
    lit = np.maximum(rgb.astype(np.float32), 1) / glass.astype(np.float32)
    return np.maximum(-np.log10(lit), 0)


def _absorbing(density: NDArray[np.float32], considered: NDArray[np.bool_]) -> NDArray[np.bool_]:
    score = 0.5 * density.mean(-1) + density.max(-1) - density.min(-1)
    values = score[considered]
    # One colour only: nothing to split.
    otsu = threshold_otsu(values) if values.size and np.ptp(values) > 0 else 0.0
    found: NDArray[np.bool_] = score > np.clip(otsu, *_TISSUE_OD)
    return found


def _pen(density: NDArray[np.float32], rim_px: int) -> NDArray[np.bool_]:
    red, green, blue = np.moveaxis(density, -1, 0)
    mean = density.mean(-1)
    black_ink = (mean > 0.4) & (np.ptp(density, axis=-1) < 0.3 * mean)
    coloured = np.maximum(red - green, blue - green) * (red > 0.3)
    sure = ndimage.binary_opening((coloured > 0.1) | black_ink)
    # Over tissue the ink's colour is mixed with the stains': follow the stroke there.
    pen = ndimage.binary_propagation(sure, mask=sure | (coloured > 0.02))
    pen = ndimage.binary_closing(np.pad(pen, rim_px), iterations=rim_px)
    pen = ndimage.binary_dilation(pen, iterations=rim_px)
    return np.asarray(pen[rim_px:-rim_px, rim_px:-rim_px])


def _folds(density: NDArray[np.float32], tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mean = density.mean(-1)
    usual = float(np.median(mean[tissue])) if tissue.any() else 0.0
    return np.asarray(mean > max(_FOLD_OD, 2 * usual))


def _without_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    large = np.bincount(pieces.ravel()) >= least_px
    large[0] = False
    kept: NDArray[np.bool_] = large[pieces]
    return kept
