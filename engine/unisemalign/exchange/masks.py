"""Masks in: class indices, 0/255 and 1-bit images become labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError
from unisemalign.exchange.mask_files import MaskFile, open_mask
from unisemalign.exchange.pixels import level_0_shape, present
from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE
from unisemalign.project import LabelEdit, Origin, Project, Region, RegionState

_BAND_AREA_PX = 64_000_000
_BLACK_AND_WHITE = {0, IGNORE}


@dataclass(frozen=True)
class MaskConvention:
    """What the numbers in masks mean: decided over all masks that belong together.

    Attributes
    ----------
    white
        In a project of two classes: 255 is the second class; else it is ignored.
    shown
        Where a file's numbers are not the grey that viewers show (a palette, white as zero, few
        bits), the grey counts; else the stored number.
    remark
        A sentence for the person; empty where nothing was to be decided.
    """

    white: bool = False
    shown: bool = True
    remark: str = ""


def find_convention(paths: Iterable[Path], class_names: Sequence[str]) -> MaskConvention:
    """Return what the numbers mean in the masks of one call.

    Raises
    ------
    DataError
        If one of them is no mask.
    """
    stored: set[int] = set()
    shown: set[int] = set()
    plain: set[int] = set()
    for path in paths:
        mask = open_mask(path)
        if mask.bits or not mask.grey or (mask.plain and len(class_names) != 2):
            continue  # nothing to be decided
        found = _numbers(mask)
        if mask.plain:
            plain |= set() if mask.indexed else found
        else:
            stored |= found
            shown |= {int(mask.shown[number]) for number in found}
    as_shown = not shown or _fit(shown, len(class_names))
    values = plain | (shown if as_shown else stored)
    white = len(class_names) == 2 and IGNORE in values <= _BLACK_AND_WHITE
    return MaskConvention(white, as_shown, _remark(values, white, class_names))


def _remark(values: set[int], white: bool, class_names: Sequence[str]) -> str:
    if white:
        return (
            f"The masks hold 0 and 255 alone: 255 is read as '{class_names[1]}', 0 as "
            f"'{class_names[0]}'. Where 255 is to be ignored, write 0 and 1 for the classes."
        )
    if IGNORE in values and len(class_names) == 2:
        return (
            "The masks hold class indices: 255 is read as ignored in all of them, since some hold "
            "other numbers."
        )
    return ""


def _fit(values: set[int], n_classes: int) -> bool:
    """Tell whether values are class indices, or black and white for two classes."""
    black_and_white = n_classes == 2 and values <= _BLACK_AND_WHITE
    return black_and_white or values <= {*range(n_classes), IGNORE}


def import_mask(
    project: Project,
    slide_name: str,
    mask_path: Path | str,
    *,
    values: Mapping[int, int] | None = None,
    state: RegionState = RegionState.ACCEPTED,
    convention: MaskConvention | None = None,
) -> Region:
    """Take a mask of a whole slide as labels of origin ``imported``.

    What the mask ignores keeps the labels it had. Labels and region are one act: whole, also after
    a kill, and one to undo.

    Parameters
    ----------
    project, slide_name
        Where the labels go.
    mask_path
        PNG, TIFF, OME-Zarr or another image of one channel, as large as the slide at working
        spacing or at its finest level. Values are class indices 0…C−1, 255 is ignored. In a project
        of two classes an image of 0 and 255, or of 1 bit, means class 1 and class 2. Of a palette
        of greys the grey counts, of one of colours the number.
    values
        File value → label value (0 not labelled, 1…C), instead of the rule above.
    state
        State of the region.
    convention
        Of the masks this one belongs to; found from this one alone when ``None``.

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
        partial(level_0_shape, project, slide_name),
        values=values,
        convention=convention,
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
    mask
        Where its numbers come from.
    table
        The label value of every stored number, ``(256,)`` uint8; 0 is not labelled.
    rows, columns
        Which row and column of the mask each row and column of the slide is.
    """

    mask: MaskFile
    table: NDArray[np.uint8]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    def iter_bands(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield the first row and the labels, ``(h, width)`` uint8, of bands from top to bottom."""
        top = 0
        all_columns = len(self.columns) == self.mask.shape_yx[1]
        for band in self.mask.iter_bands():
            first, last = np.searchsorted(self.rows, (top, top + len(band)))
            if first < last:
                picked = band[self.rows[first:last] - top]
                yield int(first), self.table[picked if all_columns else picked[:, self.columns]]
            top += len(band)

    def bounds(self) -> Rect | None:
        """Return the rectangle around what is labelled."""
        labelled_rows = np.zeros(len(self.rows), bool)
        labelled_columns = np.zeros(len(self.columns), bool)
        for y, labels in self.iter_bands():
            for start in range(0, len(labels), 64):
                part = labels[start : start + 64] > 0
                labelled_rows[y + start : y + start + len(part)] = part.any(axis=1)
                labelled_columns |= part.any(axis=0)
        ys, xs = np.flatnonzero(labelled_rows), np.flatnonzero(labelled_columns)
        if not len(ys):
            return None
        return Rect(int(ys[0]), int(xs[0]), int(ys[-1] - ys[0]) + 1, int(xs[-1] - xs[0]) + 1)

    def iter_edits(self) -> Iterator[LabelEdit]:
        """Yield the labels band by band; the last one accepts the region."""
        rect = self.bounds()
        if rect is None:
            return
        for y, labels in self.iter_bands():
            rows = max(1, _BAND_AREA_PX // rect.w)
            for start in range(0, len(labels), rows):
                band = Rect(y + start, rect.x, min(rows, len(labels) - start), rect.w)
                inside = band.intersect(rect)
                part = labels[inside.y - y : inside.y1 - y, rect.x : rect.x1]
                # The last row of all holds labels.
                if part.any():
                    regions = (rect,) if inside.y1 == rect.y1 else ()
                    yield LabelEdit(inside, part, Origin.IMPORTED, part > 0, regions)


def check_mask(
    project: Project,
    mask_path: Path | str,
    name: str,
    shape_yx: tuple[int, int],
    level_0: Callable[[], tuple[int, int]],
    *,
    values: Mapping[int, int] | None = None,
    convention: MaskConvention | None = None,
) -> MaskLabels:
    """Return the labels in a mask of a slide; :class:`DataError` as :func:`import_mask` raises.

    Nothing is written, and the slide need not be in the project yet: ``name`` is for sentences,
    ``shape_yx`` its size at working spacing, and ``level_0`` returns the one at its finest level.
    The size is compared before any pixel is read.
    """
    path = Path(mask_path)
    mask = open_mask(path)
    rows, columns = _fitted(mask, name, shape_yx, level_0, project.info.spacing_um)
    if convention is None:
        convention = find_convention([path], project.info.class_names)
    table = _label_table(mask, values, len(project.info.classes), convention)
    labels = MaskLabels(mask, table, rows, columns)
    if labels.bounds() is None:
        raise DataError(
            f"The mask '{path.name}' needs at least one pixel with a class, found none. "
            f"Choose another file."
        )
    return labels


def _numbers(mask: MaskFile) -> set[int]:
    """Return the stored numbers that occur."""
    found: set[int] = set()
    for band in mask.iter_bands():
        found |= present(band)
    return found


def _label_table(
    mask: MaskFile,
    values: Mapping[int, int] | None,
    n_classes: int,
    convention: MaskConvention,
) -> NDArray[np.uint8]:
    """Return the label value of every stored number, ``(256,)``."""
    numbers = _numbers(mask)
    as_shown = mask.bits or (mask.grey and convention.shown)
    value_of = mask.shown if as_shown else np.arange(256, dtype=np.uint8)
    known = _known_values(mask, values, n_classes, convention)
    found = {int(value_of[number]) for number in numbers}
    unknown = sorted(found - set(known) - {IGNORE})
    if unknown:
        wanted = ", ".join(str(value) for value in sorted({*known, IGNORE}))
        raise DataError(
            f"The mask '{mask.path.name}' needs the values {wanted} (255 = ignore), found "
            f"{', '.join(str(value) for value in unknown[:5])}. Correct the file, or say which "
            f"class each value means."
        )
    labels = np.zeros(256, np.uint8)
    for value, label in known.items():
        if 0 <= value < 256:
            labels[value] = label
    return labels[value_of]


def _known_values(
    mask: MaskFile,
    values: Mapping[int, int] | None,
    n_classes: int,
    convention: MaskConvention,
) -> dict[int, int]:
    """Return the label of each value a mask may hold."""
    if values is not None:
        wrong = [label for label in values.values() if not 0 <= label <= n_classes]
        if wrong:
            raise DataError(
                f"Label values need 0…{n_classes}, found {wrong[0]}. Map each value of the mask "
                f"to one of the project's classes."
            )
        return {int(value): int(label) for value, label in values.items()}
    if mask.bits:
        if n_classes != 2:
            raise DataError(
                f"The 1-bit mask '{mask.path.name}' needs a project of two classes, found "
                f"{n_classes}. Save it as 8-bit grey with class indices 0…{n_classes - 1}."
            )
        return {0: 1, IGNORE: 2}
    if n_classes == 2 and convention.white and mask.grey and not mask.indexed:
        return {0: 1, IGNORE: 2}
    return {index: index + 1 for index in range(n_classes)}


def _fitted(
    mask: MaskFile,
    name: str,
    shape_yx: tuple[int, int],
    level_0: Callable[[], tuple[int, int]],
    spacing_um: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which rows and columns of the mask are those of the slide at working spacing."""
    if mask.shape_yx == shape_yx:
        rows, columns = (np.arange(side) for side in shape_yx)
        return rows, columns
    finest = level_0()
    if mask.shape_yx != finest:
        raise DataError(
            f"The mask '{mask.path.name}' needs the size of slide '{name}', "
            f"{shape_yx[0]} × {shape_yx[1]} at {spacing_um:g} µm or "
            f"{finest[0]} × {finest[1]} at level 0, found "
            f"{mask.shape_yx[0]} × {mask.shape_yx[1]}. Choose the mask of this slide."
        )
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * full / n).astype(np.int64), full - 1)
        for n, full in zip(shape_yx, finest, strict=True)
    )
    return rows, columns
