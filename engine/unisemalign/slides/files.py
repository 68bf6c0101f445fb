"""The gate every image file comes through: regular files of named formats, nothing else."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from unisemalign.errors import SlideError, UnisemalignError

PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
"""What Pillow may decode. It knows many more, and opens some of them by starting a program."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open an everyday image by its content, whatever its name says.

    Raises
    ------
    PIL.UnidentifiedImageError
        If it is in none of :data:`PICTURE_FORMATS`.
    PIL.Image.DecompressionBombError
        If it has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS`` allows.
    """
    with warnings.catch_warnings():
        # Pillow warns of half the size it refuses; what is refused says so itself.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path, formats=PICTURE_FORMATS) as image:
            yield image


def check_regular(
    path: Path, what: str = "slide", error_type: type[UnisemalignError] = SlideError
) -> None:
    """See that ``path`` is a file or a folder: a pipe would be waited for, a device never ends.

    Parameters
    ----------
    what
        Names it in the sentence.
    error_type
        What is raised unless it is one.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise error_type(
            f"There is no {what} at '{path}': found nothing. Check the path, or that its disk is "
            f"connected."
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise error_type(
            f"The {what} '{path}' cannot be opened ({reason}). "
            f"Check that you may read it and that its disk is connected."
        ) from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        found = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise error_type(
            f"A {what} needs to be a file or a folder; '{path}' is {found}. Choose an image file."
        )


def check_regular_folder(folder: Path) -> None:
    """See that a folder whose files a library opens by itself holds no pipe or device."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.is_file() or entry.is_dir() or entry.is_symlink()):
                check_regular(Path(entry.path))
