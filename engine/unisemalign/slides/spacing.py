"""The size of a pixel, as files state it."""

from __future__ import annotations

import math

# What the OME model, OME-Zarr and TIFF writers call lengths, in µm.
UNIT_UM = {
    "nm": 1e-3,
    "nanometer": 1e-3,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter beside the micro sign: files use both
    "um": 1.0,
    "micron": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25400.0,
    "in": 25400.0,
    "m": 1e6,
    "meter": 1e6,
    "å": 1e-4,
    "angstrom": 1e-4,
}

# 72, 96, 300 and 600 dpi are a printer's or screen's default, not a microscope's pixel. 1000 dpi is
# 25 µm, coarser than any slide scanner's base level and finer than any such default.
COARSEST_UM = 25.0


def spacing_from_sizes(y: float | None, x: float | None, unit_y: str, unit_x: str) -> float | None:
    """Return µm per pixel from a pixel's height and width, or ``None`` if they are no sizes."""
    factor_y, factor_x = UNIT_UM.get(unit_y.strip().lower()), UNIT_UM.get(unit_x.strip().lower())
    if y is None or x is None or factor_y is None or factor_x is None:
        return None
    return believable((y * factor_y + x * factor_x) / 2)


def spacing_from_resolution(per_unit_y: float, per_unit_x: float, unit: str) -> float | None:
    """Return µm per pixel from pixels per ``unit``, or ``None`` if that is no microscope's."""
    if per_unit_y <= 0 or per_unit_x <= 0:
        return None
    return spacing_from_sizes(1 / per_unit_y, 1 / per_unit_x, unit, unit)


def believable(spacing_um: float) -> float | None:
    """Return ``spacing_um`` if a microscope can have made such pixels, else ``None``."""
    if not math.isfinite(spacing_um) or not 0 < spacing_um < COARSEST_UM:
        return None
    return spacing_um
