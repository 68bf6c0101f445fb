"""The size of a pixel, as files state it."""

from __future__ import annotations

import math

from unisemalign.errors import SpacingError

# What the OME model, OME-Zarr and TIFF writers call lengths, in µm.
UNIT_UM = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter beside the micro sign: files use both
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micrometers": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "centimetre": 1e4,
    "inch": 25400.0,
    "inches": 25400.0,
    "in": 25400.0,
    "m": 1e6,
    "meter": 1e6,
    "å": 1e-4,
    "angstrom": 1e-4,
}

FINEST_UM, COARSEST_UM = 0.01, 100.0
"""What a slide's pixels can be: finer than light shows, or coarser than a macro photograph, is a
slip of units."""
# 72, 96, 300 and 600 dpi are a printer's or screen's default, not a microscope's pixel. 1000 dpi is
# 25 µm, coarser than any slide scanner's base level and finer than any such default.
_COARSEST_TAG_UM = 25.0
_TOLD_SHARE, _REFUSED_SHARE = 0.01, 0.05

Sizes = tuple[float, float]
"""Height and width of a pixel in µm, as a file states them; they may be absurd."""


def sizes_um(y: float | None, x: float | None, unit_y: str, unit_x: str) -> Sizes | None:
    """Return a pixel's height and width in µm, or ``None`` if they are no sizes."""
    factor_y, factor_x = (UNIT_UM.get(_plain(unit)) for unit in (unit_y, unit_x))
    if y is None or x is None or factor_y is None or factor_x is None:
        return None
    found = y * factor_y, x * factor_x
    return found if all(math.isfinite(size) and size > 0 for size in found) else None


def sizes_from_resolution(per_unit_y: float, per_unit_x: float, unit: str) -> Sizes | None:
    """Return a pixel's sizes from pixels per ``unit``, or ``None`` if that is no microscope's."""
    if per_unit_y <= 0 or per_unit_x <= 0:
        return None
    found = sizes_um(1 / per_unit_y, 1 / per_unit_x, unit, unit)
    return found if found and FINEST_UM <= max(found) < _COARSEST_TAG_UM else None


def settle(name: str, sizes: Sizes | None) -> tuple[float | None, list[str]]:
    """Return µm per pixel and remarks from what a file called ``name`` states.

    Returns
    -------
    tuple
        ``None`` where it states nothing, or what no microscope makes.

    Raises
    ------
    SpacingError
        If pixels are so far from square that shapes would be distorted.
    """
    if sizes is None:
        return None, []
    y, x = sizes
    mean = (y + x) / 2
    if not FINEST_UM <= mean <= COARSEST_UM:
        return None, [
            f"It states {mean:.6g} µm a pixel, which no microscope makes: that is not used."
        ]
    off = abs(y - x) / mean
    if off > _REFUSED_SHARE:
        raise SpacingError(
            f"A slide needs square pixels; those of '{name}' are {y:.4g} µm high and {x:.4g} µm "
            f"wide. Resample it to square pixels, for example with vips resize, or correct the "
            f"pixel size in the file, then open that."
        )
    if off > _TOLD_SHARE:
        return mean, [
            f"Its pixels are {y:.4g} µm high and {x:.4g} µm wide: the mean, {mean:.4g} µm, is used."
        ]
    return mean, []


def check_spacing(spacing_um: float, name: str) -> None:
    """Raise :class:`SpacingError` unless a person's ``spacing_um`` is possible."""
    if not FINEST_UM <= spacing_um <= COARSEST_UM:
        raise SpacingError(
            f"A pixel size needs to be {FINEST_UM:g} to {COARSEST_UM:g} µm; {spacing_um} was given "
            f"for '{name}'. Pass --spacing-um 0.5."
        )


def mean_um(sizes: Sizes | None) -> float | None:
    """Return the mean of a pixel's height and width."""
    return None if sizes is None else sum(sizes) / 2


def _plain(unit: str) -> str:
    # ImageJ writes the micro sign as the six characters of its escape.
    return unit.strip().lower().replace("\\u00b5", "µ").replace("\\u03bc", "µ").rstrip(".")
