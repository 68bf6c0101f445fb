"""Where there is tissue worth looking at: glass, pen marks and folds left out."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

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
# Dim glass: this bright at least, and its channels this much alike. Pale eosin is not.
_DIM, _GREY_SHARE = 120, 0.94
# So dark, beside it, is what lies under that lamp and is no glass.
_DARK_SHARE = 0.85
_SPECK_MM2 = 0.004
_HOLE_MM2 = 0.05
_PEN_RIM_UM = 24.0

_APPLIED = "each pixel"
"""How maps are cut by the mask: those that were cut another way are made anew."""
FOUND_VERSION = 2
"""Goes up whenever :func:`tissue_mask` finds something else: masks kept till then are stale."""


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
        µm per pixel of the rectangles that the methods take.
    skipped
        ``(Y, X)`` bool: what a person marked as not to be looked at, none of it in ``mask``.
        ``None``: nothing.
    """

    mask: NDArray[np.bool_]
    spacing_um: float
    working_spacing_um: float
    skipped: NDArray[np.bool_] | None = None

    def fraction(self, rect: Rect) -> float:
        """Return the share (0…1) of ``rect`` (working pixels) that is tissue; outside is none."""
        if rect.area == 0:
            return 0.0
        rows, columns = self._rows(rect), self._columns(rect)
        here = self.mask[_span(rows), _span(columns)]
        # Of these pixels alone: what lies elsewhere on the slide changes no bit of the answer.
        covered = float(_overlaps(rows) @ here @ _overlaps(columns))
        return min(1.0, covered / (rect.area * self._scale**2))

    def at_spacing(self, working_spacing_um: float) -> TissueMask:
        """Return the same map for rectangles in pixels of another spacing."""
        return replace(self, working_spacing_um=working_spacing_um)

    def skipped_in(self, rect: Rect) -> NDArray[np.bool_] | None:
        """Return which of the working pixels of ``rect`` are skipped, ``(h, w)``.

        ``None`` where none is.
        """
        return None if self.skipped is None else self._pixels(self.skipped, rect)

    def glass_in(self, rect: Rect) -> NDArray[np.bool_] | None:
        """Return which of the working pixels of ``rect`` are no tissue, ``(h, w)``.

        Glass that tissue encloses (a lumen) is tissue here. ``None`` where all of it is.
        """
        return self._pixels(~self.mask, rect)

    def _pixels(self, plane: NDArray[np.bool_], rect: Rect) -> NDArray[np.bool_] | None:
        """Return the nearest pixels of ``plane`` under ``rect``; ``None`` where none is set."""
        if not plane[_span(self._rows(rect)), _span(self._columns(rect))].any():
            return None
        # A slide ends up to half a pixel of the mask beyond it: there the last pixel counts.
        rows, columns = (
            ((np.arange(start, start + length) + 0.5) * self._scale)
            .astype(np.int64)
            .clip(0, size - 1)
            for start, length, size in (
                (rect.y, rect.h, plane.shape[0]),
                (rect.x, rect.w, plane.shape[1]),
            )
        )
        return np.asarray(plane[rows[:, None], columns])

    def digest(self, rect: Rect) -> str:
        """Return 16 hexadecimal digits that tell this mask under ``rect`` from any other one."""
        rows, columns = _span(self._rows(rect)), _span(self._columns(rect))
        about = f"{_APPLIED} {self.spacing_um} {rows} {columns}"
        digest = hashlib.blake2b(about.encode(), digest_size=8)
        for plane in (self.mask, self.skipped):
            if plane is not None and (here := plane[rows, columns]).any():
                digest.update(np.packbits(here).tobytes())
            digest.update(b";")
        return digest.hexdigest()

    @property
    def _scale(self) -> float:
        return self.working_spacing_um / self.spacing_um

    def _rows(self, rect: Rect) -> tuple[float, float]:
        return _cut(rect.y, rect.y1, self._scale, self.mask.shape[0])

    def _columns(self, rect: Rect) -> tuple[float, float]:
        return _cut(rect.x, rect.x1, self._scale, self.mask.shape[1])


def _cut(start: int, end: int, scale: float, length: int) -> tuple[float, float]:
    """Return where ``start`` and ``end`` lie in mask pixels, inside ``0…length``."""
    return min(max(start * scale, 0.0), length), min(max(end * scale, 0.0), length)


def _span(cut: tuple[float, float]) -> slice:
    """Return the mask pixels that a stretch has a share in."""
    return slice(math.floor(cut[0]), math.ceil(cut[1]))


def _overlaps(cut: tuple[float, float]) -> NDArray[np.float64]:
    """Return how much of each of them (0…1) lies in the stretch."""
    span = _span(cut)
    return np.diff(np.arange(span.start, span.stop + 1, dtype=np.float64).clip(*cut))


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
    """Return decadic density ``(h, w, 3)`` against the slide's own glass (the brightest pixels).

    Glass is no darker than 235, unless the brightest pixels are grey and the darkest far from them:
    under a dim lamp it may be.
    """
    dark, brightest = np.percentile(rgb.reshape(-1, 3), (5, 99.5), axis=0)
    grey = brightest.min() >= _GREY_SHARE * brightest.max()
    grey &= dark.mean() < _DARK_SHARE * brightest.mean()
    glass = np.clip(brightest, _DIM if grey else 235, 255)
    lit = np.maximum(rgb.astype(np.float32), 1) / glass.astype(np.float32)
    return np.asarray(np.maximum(-np.log10(lit), 0), np.float32)


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
