"""Reader and sample data: slides as multiscale RGB layers in micrometres."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unisemalign.errors import SlideError
from unisemalign.slides import SLIDE_SUFFIXES, Slide, open_slide, pyramid_levels

LayerData = tuple[Any, dict[str, Any], str]
SAMPLE_SIZE_PX = 2048
METADATA_KEY = "unisemalign"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return a reader for slides this package can open, ``None`` for everything else.

    The file is opened once here, so that whatever cannot be read as a slide is left to others.
    """
    paths = [path] if isinstance(path, str) else list(path)
    if not paths or not all(_openable(Path(one)) for one in paths):
        return None
    return read_slides


def read_slides(path: str | Sequence[str]) -> list[LayerData]:
    """Return one multiscale RGB layer a path."""
    paths = [path] if isinstance(path, str) else list(path)
    return [slide_layer(open_slide(Path(one))) for one in paths]


def slide_layer(slide: Slide, *, name: str | None = None) -> LayerData:
    """Return the layer that shows ``slide``: world units are µm, its top-left edge is at 0, 0.

    A slide that does not say how large its pixels are is shown in pixels.
    """
    spacing = slide.spacing_um or 1.0
    keywords: dict[str, Any] = {
        "name": name or slide.path.stem,
        "rgb": True,
        "multiscale": True,
        "scale": (spacing, spacing),
        "translate": (spacing / 2, spacing / 2),
        "metadata": {METADATA_KEY: {"path": str(slide.path)}},
    }
    if slide.spacing_um is not None:
        keywords["units"] = ("um", "um")
    return pyramid_levels(slide), keywords, "image"


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


def _openable(path: Path) -> bool:
    if not str(path).lower().endswith(tuple(SLIDE_SUFFIXES)):
        return False
    try:
        open_slide(path).close()
    except (SlideError, OSError):
        return False
    return True
