"""The reader that napari asks for slides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_unisemalign.canvas.slide_layer import LayerData, slide_layer
from unisemalign.errors import SlideError
from unisemalign.slides import SLIDE_SUFFIXES, open_slide


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


def _openable(path: Path) -> bool:
    if not str(path).lower().endswith(tuple(SLIDE_SUFFIXES)):
        return False
    try:
        open_slide(path).close()
    except (SlideError, OSError):
        return False
    return True
