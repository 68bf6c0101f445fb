"""Whether an encoder sees tissue at the pixel size it was trained at."""

from __future__ import annotations

from unisemalign.weights.registry import find_published

_TOLERANCE = 1.5


def spacing_advice(encoder: str, spacing_um: float, zoom: float) -> str | None:
    """Return a sentence when ``encoder`` sees another pixel size than its own, else ``None``.

    Images of the project have ``spacing_um`` µm/px and are scaled by ``zoom`` before the encoder,
    which then sees ``spacing_um / zoom``. Up to a factor of 1.5 nothing is said.
    """
    entry = find_published(encoder.partition("=")[0], "encoder")
    if entry is None or entry.spacing_um is None:
        return None
    seen = spacing_um / zoom
    if 1 / _TOLERANCE <= seen / entry.spacing_um <= _TOLERANCE:
        return None
    better = spacing_um / entry.spacing_um
    return (
        f"{entry.title} was trained at {entry.spacing_um:g} µm/px and sees {seen:.3g} µm/px here "
        f"(the project's {spacing_um:g} at model.zoom {zoom:g}). Its features may be poorer. "
        f"Train with --set model.zoom={better:.2g}, or make a project at another pixel size."
    )
