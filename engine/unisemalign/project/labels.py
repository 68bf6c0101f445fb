"""What a person stands behind: a label and its origin for every pixel of a slide."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.chunks import (
    WholeFileStore,
    create_array,
    flat_array,
    flat_shape,
    iter_chunks,
    written_rects,
)
from unisemalign.runtime.files import flush_folder, make_folder, part_beside

BAD_STORE = (OSError, KeyError, ValueError, TypeError, AttributeError, IndexError)
"""What zarr raises over a folder that is not, or no longer, a store of ours."""


class LabelStore:
    """The labels of one slide, at working spacing. Reading only: edits go through the project.

    Attributes
    ----------
    shape_yx
        ``(height, width)`` of the slide.
    folder
        Where the store lies.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._store = WholeFileStore(folder)
            group = zarr.open_group(self._store, mode="r+")
            self._labels = flat_array(group, "labels")
            self._origin = flat_array(group, "origin")
        except (*BAD_STORE, ProjectError) as error:
            raise ProjectError(
                f"The labels in '{folder}' are missing or damaged: {error}. "
                f"Put back what the journal holds with `unisemalign recover`, or take that folder "
                f"from a backup."
            ) from error
        self.shape_yx = flat_shape(self._labels)

    @classmethod
    def create(cls, folder: Path, shape_yx: tuple[int, int]) -> LabelStore:
        """Make an empty store of ``shape_yx``."""
        make_folder(folder.parent)
        store = WholeFileStore(folder)
        group = zarr.open_group(store, mode="w-", zarr_format=3)
        for name in ("labels", "origin"):
            create_array(group, name, shape_yx, ZstdCodec(level=1))
        store.flush()
        flush_folder(folder.parent)
        return cls(folder)

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return label values, ``(h, w)``; 0 is not labelled, and so is what lies outside."""
        return read_padded(self._labels, rect)

    def read_origin(self, rect: Rect) -> NDArray[np.uint8]:
        """Return :class:`Origin` values, ``(h, w)``; 0 outside the slide."""
        return read_padded(self._origin, rect)

    def labelled_rects(self) -> list[Rect]:
        """Return the chunks that hold labels, row by row."""
        return written_rects(self.folder / "labels", self.shape_yx)

    def put(self, rect: Rect, labels: NDArray[np.uint8], origin: NDArray[np.uint8]) -> None:
        """Write pixels, unjournalled: for :mod:`unisemalign.project.edits` alone.

        When it returns they are on the disk, and a power cut takes none of them back.

        One chunk after another: zarr writes several at once, and where one of them fails the others
        would still be on their way, over what the editor puts back meanwhile.
        """
        for part in iter_chunks(rect):
            inside = part.relative_to(rect).slices
            self._labels[part.slices] = labels[inside]
            self._origin[part.slices] = origin[inside]
        self._store.flush()


def read_padded(array: zarr.Array[Any], rect: Rect) -> NDArray[np.uint8]:
    """Return ``array`` under ``rect``, ``(h, w)`` uint8, zero where ``rect`` hangs over.

    Raises
    ------
    ProjectError
        If a chunk is damaged (:func:`check_stored`).
    """
    inside = rect.intersect(Rect(0, 0, *array.shape))
    if inside == rect:
        return np.asarray(array[rect.slices], np.uint8)
    result = np.zeros(rect.shape, np.uint8)
    if inside.area:
        result[inside.relative_to(rect).slices] = array[inside.slices]
    return result


def check_rect(rect: Rect, shape_yx: tuple[int, int], what: str) -> None:
    """Raise :class:`DataError` unless ``rect`` has an area and lies within ``shape_yx``."""
    if rect.area == 0 or not Rect(0, 0, *shape_yx).contains(rect):
        raise DataError(
            f"{what} needs a rectangle inside the slide's {shape_yx[0]} × {shape_yx[1]} pixels, "
            f"found y, x, h, w = {rect}. Cut it at the slide's edge."
        )


def check_pixels(values: NDArray[np.uint8], rect: Rect, what: str) -> None:
    """Raise :class:`DataError` unless ``values`` is a uint8 array of the shape of ``rect``."""
    if values.shape != rect.shape or values.dtype != np.uint8:
        raise DataError(
            f"{what} needs uint8 pixels of shape {rect.shape}, "
            f"found {values.dtype} of shape {values.shape}."
        )


def holds_labels(folder: Path) -> bool:
    """Tell whether a folder holds labels of any pixel."""
    return any((folder / array / "c").exists() for array in ("labels", "origin"))


def make_labels(folder: Path, shape_yx: tuple[int, int]) -> None:
    """Make the empty labels of a new slide; ``folder`` appears when it is complete.

    Only for who holds the lock: an empty store that a killed process left there is replaced.
    """
    part = part_beside(folder)
    try:
        LabelStore.create(part, shape_yx)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
        flush_folder(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
