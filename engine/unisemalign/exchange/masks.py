"""Masks in: class indices, 0/255 and 1-bit images become labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from unisemalign.errors import DataError
from unisemalign.exchange.pixels import present
from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE
from unisemalign.project import LabelEdit, Origin, Project, Region, RegionState

INDEX_NOTE = "class index, 255 = ignore"
"""Written into exported masks, so that one of 0 and 255 alone is not taken for black and white."""

_BAND_AREA_PX = 64_000_000


def import_mask(
    project: Project,
    slide_name: str,
    mask_path: Path | str,
    *,
    values: Mapping[int, int] | None = None,
    state: RegionState = RegionState.ACCEPTED,
) -> Region:
    """Take a mask of a whole slide as labels of origin ``imported``.

    What the mask ignores keeps the labels it had. Labels and region are one act: whole, also after
    a kill, and one to undo.

    Parameters
    ----------
    project, slide_name
        Where the labels go.
    mask_path
        PNG, TIFF or another image of one channel, as large as the slide at working spacing or at
        its finest level. Values are class indices 0…C−1, 255 is ignored. In a project of two
        classes an image of 0 and 255, or of 1 bit, means class 1 and class 2.
    values
        File value → label value (0 not labelled, 1…C), instead of the rule above.
    state
        State of the region.

    Returns
    -------
    Region
        The rectangle around the labels.

    Raises
    ------
    DataError
        If the file is no mask, has another size or an unknown value, or labels nothing.
    """
    slide = project.slide(slide_name)
    labels = check_mask(
        project,
        mask_path,
        slide.name,
        slide.shape_yx,
        partial(_level_0, project, slide_name),
        values=values,
    )
    (region,) = project.accept(
        slide_name, labels.iter_edits(), action="import", state=state, reason="imported"
    )
    return region


@dataclass(frozen=True)
class MaskLabels:
    """What a mask says of a slide, at working spacing.

    Attributes
    ----------
    pixels
        ``(Y, X)`` uint8, as the file has them.
    table
        The label value of every file value, ``(256,)`` uint8; 0 is not labelled.
    rect
        The rectangle around the labels.
    """

    pixels: NDArray[np.uint8]
    table: NDArray[np.uint8]
    rect: Rect

    def iter_edits(self) -> Iterator[LabelEdit]:
        """Yield the labels band by band; the last one accepts the region."""
        rect = self.rect
        rows = max(1, _BAND_AREA_PX // rect.w)
        for y in range(rect.y, rect.y1, rows):
            band = Rect(y, rect.x, min(rows, rect.y1 - y), rect.w)
            labels = self.table[self.pixels[band.slices]]
            new = labels > 0
            # The last row of all holds labels.
            if new.any():
                regions = (rect,) if band.y1 == rect.y1 else ()
                yield LabelEdit(band, labels, Origin.IMPORTED, new, regions)


def check_mask(
    project: Project,
    mask_path: Path | str,
    name: str,
    shape_yx: tuple[int, int],
    level_0: Callable[[], tuple[int, int]],
    *,
    values: Mapping[int, int] | None = None,
) -> MaskLabels:
    """Return the labels in a mask of a slide; :class:`DataError` as :func:`import_mask` raises.

    Nothing is written, and the slide need not be in the project yet: ``name`` is for sentences,
    ``shape_yx`` its size at working spacing, and ``level_0`` returns the one at its finest level.
    """
    path = Path(mask_path)
    mask = read_mask(path)
    table = _label_table(mask, values, len(project.info.classes), path)
    pixels = _fitted(mask.pixels, name, shape_yx, level_0, project.info.spacing_um, path)
    rect = _bounds(pixels, table)
    if rect is None:
        raise DataError(
            f"The mask '{path.name}' wants at least one pixel with a class, found none. "
            f"Choose another file."
        )
    return MaskLabels(pixels, table, rect)


def _level_0(project: Project, name: str) -> tuple[int, int]:
    spaced = project.open_slide(name)
    spaced.slide.close()
    return spaced.slide.shape_yx


@dataclass(frozen=True)
class MaskFile:
    """Pixels ``(Y, X)`` as the file has them.

    Attributes
    ----------
    bits
        Whether they are 0 and 1 because the file knows no other values.
    indexed
        Whether the file says that they are class indices.
    """

    pixels: NDArray[np.uint8]
    bits: bool
    indexed: bool


def read_mask(path: Path) -> MaskFile:
    """Read an image of one channel; :class:`DataError` when it is something else."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise DataError(
            f"A mask wants to be an image file, found {found} at '{path}'. Choose the mask's file."
        )
    try:
        return _read_tiff(path)
    except tifffile.TiffFileError:
        return _read_image(path)


def _read_tiff(path: Path) -> MaskFile:
    with tifffile.TiffFile(path) as tiff:
        try:
            indexed = INDEX_NOTE in (tiff.pages.first.description or "")
            return _mask(np.squeeze(tiff.series[0].asarray()), indexed, path)
        except (ValueError, RuntimeError, LookupError) as error:
            raise _unreadable(path, error) from error


def _read_image(path: Path) -> MaskFile:
    try:
        with _any_size(), Image.open(path) as image:
            if len(image.getbands()) > 1:
                raise DataError(
                    f"The mask '{path.name}' wants one channel, found {image.mode}. Save it as an "
                    f"8-bit grey image of class indices; colours do not tell which class is meant."
                )
            indexed = INDEX_NOTE in str(image.info.get("Description", ""))
            return _mask(np.asarray(image), indexed, path)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise _unreadable(path, error) from error


def _mask(pixels: NDArray[np.generic], indexed: bool, path: Path) -> MaskFile:
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui" or not pixels.size:
        raise DataError(
            f"The mask '{path.name}' wants one channel of whole numbers, found "
            f"{pixels.dtype} of shape {pixels.shape}. Save it as an 8-bit grey image of class "
            f"indices."
        )
    wrong = [value for value in (int(pixels.max()), int(pixels.min())) if not 0 <= value <= IGNORE]
    if wrong:
        raise DataError(
            f"The mask '{path.name}' wants values 0…255, found {wrong[0]}. Is it an image of "
            f"instances? Save one of class indices."
        )
    return MaskFile(pixels.astype(np.uint8), pixels.dtype == bool, indexed)


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"The mask '{path.name}' cannot be read as an image: {error}. Save it as PNG or TIFF."
    )


@contextmanager
def _any_size() -> Iterator[None]:
    # Pillow refuses images as large as slides. The mask's size is compared with the slide's.
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _label_table(
    mask: MaskFile, values: Mapping[int, int] | None, n_classes: int, path: Path
) -> NDArray[np.uint8]:
    """Return the label value of every file value, ``(256,)``."""
    found = present(mask.pixels)
    if values is not None:
        wrong = [label for label in values.values() if not 0 <= label <= n_classes]
        if wrong:
            raise DataError(f"Label values want 0…{n_classes}, found {wrong[0]}.")
        known = {int(value): int(label) for value, label in values.items()}
    elif mask.bits:
        if n_classes != 2:
            raise DataError(
                f"The 1-bit mask '{path.name}' wants a project of two classes, found {n_classes}. "
                f"Save it as 8-bit grey with class indices 0…{n_classes - 1}."
            )
        known = {0: 1, 1: 2}
    elif n_classes == 2 and not mask.indexed and 255 in found <= {0, 255}:
        known = {0: 1, 255: 2}
    else:
        known = {index: index + 1 for index in range(n_classes)}
    unknown = sorted(found - set(known) - {IGNORE})
    if unknown:
        wanted = ", ".join(str(value) for value in sorted({*known, IGNORE}))
        raise DataError(
            f"The mask '{path.name}' wants the values {wanted} (255 = ignore), found "
            f"{', '.join(str(value) for value in unknown[:5])}. Correct the file, or say which "
            f"class each value means."
        )
    table = np.zeros(256, np.uint8)
    for value, label in known.items():
        if 0 <= value < 256:
            table[value] = label
    return table


def _fitted(
    pixels: NDArray[np.uint8],
    name: str,
    shape_yx: tuple[int, int],
    level_0: Callable[[], tuple[int, int]],
    spacing_um: float,
    path: Path,
) -> NDArray[np.uint8]:
    """Return the mask at working spacing, ``(Y, X)`` uint8."""
    if pixels.shape == shape_yx:
        return pixels
    finest = level_0()
    if pixels.shape != finest:
        raise DataError(
            f"The mask '{path.name}' wants the size of slide '{name}', "
            f"{shape_yx[0]} × {shape_yx[1]} at {spacing_um:g} µm or "
            f"{finest[0]} × {finest[1]} at level 0, found "
            f"{pixels.shape[0]} × {pixels.shape[1]}. Choose the mask of this slide."
        )
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * full / n).astype(np.int64), full - 1)
        for n, full in zip(shape_yx, finest, strict=True)
    )
    return pixels[rows[:, None], columns]


def _bounds(pixels: NDArray[np.uint8], table: NDArray[np.uint8]) -> Rect | None:
    """Return the rectangle around the pixels that mean a class."""
    rows = np.array([table[row].any() for row in pixels])
    if not rows.any():
        return None
    columns = np.zeros(pixels.shape[1], bool)
    for row in np.flatnonzero(rows):
        columns |= table[pixels[row]] > 0
    y, x = np.flatnonzero(rows), np.flatnonzero(columns)
    return Rect(int(y[0]), int(x[0]), int(y[-1] - y[0]) + 1, int(x[-1] - x[0]) + 1)
