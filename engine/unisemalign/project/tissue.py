"""Where a project's slides hold tissue: what was found, with a person's correction on top.

A correction is ``tissue/SLIDE.npz``, a small array at the mask's spacing. What was found is kept in
``cache/tissue``: a large slide takes seconds, and viewer, engine and training all ask.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import DataError, ProjectError
from unisemalign.protocol import ProjectLayout
from unisemalign.runtime.files import BAD_ARCHIVE, check_archive, remove_file, write_atomically
from unisemalign.slides import SpacedSlide, TissueMask, tissue_mask
from unisemalign.slides.tissue import FOUND_VERSION


class TissueChange(IntEnum):
    """What a person says of a pixel of the tissue mask."""

    AS_FOUND = 0
    TISSUE = 1
    NOT_TISSUE = 2


class TissueStore:
    """The tissue of a project's slides, on disk. Slides are known by name, as the project gave it.

    Needs no open project: the last stroke can be kept while one is being closed.
    """

    def __init__(self, root: Path) -> None:
        self._layout = ProjectLayout(root)

    def mask(self, name: str, slide: SpacedSlide) -> TissueMask:
        """Return the tissue of a slide as the person needs it.

        Raises
        ------
        SlideError
            If the slide cannot be read.
        ProjectError
            If the correction is damaged, or does not fit the slide.
        """
        found = self.found(name, slide)
        return corrected(found, self.correction(name, found))

    def found(self, name: str, slide: SpacedSlide) -> TissueMask:
        """Return what :func:`tissue_mask` finds, or found when the file was this one.

        Raises
        ------
        SlideError
            If the slide cannot be read.
        """
        path = self._layout.tissue_cache(name)
        stamp = _stamp(slide)
        if stamp is not None and (kept := _kept(path, stamp)) is not None:
            mask, spacing_um = kept
            return TissueMask(mask, spacing_um, slide.spacing_um)
        found = tissue_mask(slide)
        if stamp is not None:
            # Nothing is lost where the disk is full or must not be written: it is found again.
            with contextlib.suppress(OSError, ProjectError):
                _write(
                    path,
                    shape=np.array(found.mask.shape),
                    spacing_um=np.array(found.spacing_um),
                    tissue=np.packbits(found.mask),
                    stamp=np.array(stamp),
                )
        return found

    def correction(self, name: str, found: TissueMask) -> NDArray[np.uint8]:
        """Return :class:`TissueChange` values ``(Y, X)`` in the pixels of ``found``.

        A correction made at another spacing is resampled (nearest pixel).

        Raises
        ------
        ProjectError
            If it is damaged, or of a slide of another size.
        """
        path = self._correction_path(name)
        if not path.exists():
            return np.zeros(found.mask.shape, np.uint8)
        try:
            check_archive(path)
            with np.load(path, allow_pickle=False) as kept:
                spacing_um = float(kept["spacing_um"])
                if not 0 < spacing_um < math.inf:
                    raise ValueError(f"its pixel size is {spacing_um}")
                values = _unpacked(kept, "tissue") * np.uint8(TissueChange.TISSUE)
                values += _unpacked(kept, "skipped") * np.uint8(TissueChange.NOT_TISSUE)
            _check(values)
        except (*BAD_ARCHIVE, DataError) as error:
            raise ProjectError(
                f"The tissue correction '{path}' is damaged. Take that file from a backup, or "
                f"delete it to have the tissue as it is found."
            ) from error
        if values.shape == found.mask.shape and spacing_um == found.spacing_um:
            return np.asarray(values)
        return _resampled(values, spacing_um, found, name, path)

    def correct(self, name: str, values: NDArray[np.uint8], spacing_um: float) -> None:
        """Keep a correction, atomically, in place of the one before; all 0 forgets it.

        Parameters
        ----------
        values
            :class:`TissueChange` values ``(Y, X)``, uint8.
        spacing_um
            µm per pixel of ``values``, whose origin is the slide's top left.

        Raises
        ------
        DataError
            If ``values`` is something else.
        ProjectError
            If the disk is full; the correction before is then unchanged.
        FileNotFoundError
            If the project's folder is gone.
        """
        _check(values)
        path = self._correction_path(name)
        if not values.any():
            remove_file(path)
            return
        self._layout.root.stat()  # a project that is gone is not made anew
        # As bits: a tenth of the time, and the viewer waits for it after every stroke.
        _write(
            path,
            shape=np.array(values.shape),
            spacing_um=np.array(spacing_um),
            tissue=np.packbits(values == TissueChange.TISSUE),
            skipped=np.packbits(values == TissueChange.NOT_TISSUE),
        )

    def stamp(self, name: str) -> int | None:
        """Return what changes with every correction; ``None`` when there is none."""
        try:
            return self._correction_path(name).stat().st_mtime_ns
        except FileNotFoundError:
            return None

    def forget(self, name: str) -> None:
        """Forget a slide that leaves the project."""
        for path in (self._layout.tissue_cache(name), self._correction_path(name)):
            remove_file(path)

    def _correction_path(self, name: str) -> Path:
        return self._layout.tissue(name)


def corrected(found: TissueMask, values: NDArray[np.uint8]) -> TissueMask:
    """Return ``found`` with :class:`TissueChange` values of the same ``(Y, X)`` on top."""
    if not values.any():
        return found
    skipped = values == TissueChange.NOT_TISSUE
    mask = (found.mask | (values == TissueChange.TISSUE)) & ~skipped
    return TissueMask(
        mask, found.spacing_um, found.working_spacing_um, skipped if skipped.any() else None
    )


def _check(values: NDArray[np.uint8]) -> None:
    if values.ndim != 2 or values.dtype != np.uint8 or not values.size:
        raise DataError(
            f"A tissue correction needs uint8 pixels (Y, X), found {values.dtype} of shape "
            f"{values.shape}."
        )
    if values.max() > max(TissueChange):
        raise DataError(
            f"A tissue correction needs 0 (as found), 1 (tissue) or 2 (not tissue), found "
            f"{values.max()}."
        )


def _resampled(
    values: NDArray[np.uint8], spacing_um: float, found: TissueMask, name: str, path: Path
) -> NDArray[np.uint8]:
    ratio = found.spacing_um / spacing_um
    extents = [
        (size * spacing_um, wanted * found.spacing_um)
        for size, wanted in zip(values.shape, found.mask.shape, strict=True)
    ]
    # Each grid ends within a pixel of the slide's edge.
    if any(abs(has - wanted) > spacing_um + found.spacing_um for has, wanted in extents):
        raise ProjectError(
            f"The tissue correction of slide '{name}' needs a slide of {extents[0][0]:.0f} × "
            f"{extents[1][0]:.0f} µm, found one of {extents[0][1]:.0f} × {extents[1][1]:.0f} µm. "
            f"Put the slide back that it was made on, or delete '{path}'."
        )
    rows, columns = (
        ((np.arange(wanted) + 0.5) * ratio).astype(np.int64).clip(0, size - 1)
        for size, wanted in zip(values.shape, found.mask.shape, strict=True)
    )
    return np.asarray(values[rows[:, None], columns])


def _stamp(slide: SpacedSlide) -> str | None:
    """Return what tells this file, seen in this way; ``None`` for a folder, which has no date."""
    try:
        about = slide.slide.path.stat()
    except OSError:
        return None
    if slide.slide.path.is_dir():
        return None
    seen = f"{slide.slide.spacing_um} {slide.spacing_um}"
    return f"{FOUND_VERSION} {about.st_size} {about.st_mtime_ns} {seen}"


def _kept(path: Path, stamp: str) -> tuple[NDArray[np.bool_], float] | None:
    try:
        check_archive(path)
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["stamp"]) != stamp:
                return None
            return _unpacked(kept, "tissue"), float(kept["spacing_um"])
    except BAD_ARCHIVE:
        return None


def _unpacked(kept: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.bool_]:
    """Return a plane that was kept as bits; ValueError when it is not whole."""
    shape = tuple(int(size) for size in kept["shape"])
    bits = np.unpackbits(kept[name])
    count = math.prod(shape)
    if not 0 <= bits.size - count < 8:
        raise ValueError(f"{count} pixels were said to be kept, found {bits.size}")
    return bits[:count].reshape(shape).view(bool)


def _write(path: Path, **arrays: Any) -> None:
    with write_atomically(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)
