"""Sample data: a slide drawn by this package, kept in the person's cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from napari_unisemalign.canvas.reader import read_slides
from napari_unisemalign.canvas.slide_layer import LayerData

SAMPLE_SIZE_PX = 2048


def open_drawn_slide() -> list[LayerData]:
    """Draw the sample slide once, keep it in the person's cache, and show it."""
    return read_slides(str(drawn_slide()))


def drawn_slide(size_px: int = SAMPLE_SIZE_PX) -> Path:
    """Return the path of the drawn slide; the first call draws it."""
    from unisemalign.slides.synthetic import draw_slide

    path = cache_folder() / f"drawn-{size_px}.tif"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.stem}.{os.getpid()}.part.tif")
        try:
            draw_slide(part, size_px=size_px)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def cache_folder() -> Path:
    """Return the folder of this person's cache; ``UNISEMALIGN_CACHE`` overrides it."""
    if chosen := os.environ.get("UNISEMALIGN_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "napari-unisemalign"
