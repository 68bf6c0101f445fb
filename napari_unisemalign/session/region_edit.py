"""The region under the brush: what it started from, what it is now, and its draft on disk."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unisemalign.project import Origin, Region
from unisemalign.runtime import remove_file, write_atomically

Pixels = NDArray[np.uint8]


@dataclass
class RegionEdit:
    """One region being edited; every array is ``(h, w)`` at working spacing.

    Attributes
    ----------
    values
        The labels as they are now. The editing layer paints into this very array.
    labels, origin
        What was labelled before, and where that came from.
    predicted
        What the model said; 0 where it said nothing.
    dirty
        Whether something was painted since the last draft.
    """

    region: Region
    values: Pixels
    labels: Pixels
    origin: Pixels
    predicted: Pixels
    dirty: bool = False
    restored: bool = field(default=False)

    @property
    def start(self) -> Pixels:
        """What the person found: earlier labels, and the prediction where there were none."""
        return start_values(self.labels, self.predicted)

    def resolve_origin(self) -> Pixels:
        """Return where each pixel of :attr:`values` comes from (see :func:`resolve_origin`)."""
        return resolve_origin(
            self.values, labels=self.labels, origin=self.origin, predicted=self.predicted
        )


def start_values(labels: Pixels, predicted: Pixels) -> Pixels:
    """Return earlier labels, and the prediction where nothing was labelled."""
    return np.where(labels > 0, labels, predicted).astype(np.uint8)


def resolve_origin(values: Pixels, *, labels: Pixels, origin: Pixels, predicted: Pixels) -> Pixels:
    """Return the origin of every accepted pixel.

    Parameters
    ----------
    values
        What the person accepts.
    labels, origin
        What was labelled before, and its origin.
    predicted
        What the model said.

    Returns
    -------
    NDArray
        0 where ``values`` is 0; the earlier origin where an earlier label stands unchanged;
        accepted where the prediction stands unchanged; corrected where either was changed; drawn
        where there was nothing.
    """
    start = start_values(labels, predicted)
    result = np.full(values.shape, Origin.DRAWN, np.uint8)
    changed = values != start
    result[changed & (start > 0)] = Origin.CORRECTED
    result[~changed & (start > 0)] = Origin.ACCEPTED
    kept = ~changed & (labels > 0)
    result[kept] = origin[kept]
    result[values == 0] = Origin.NONE
    return result


class Drafts:
    """Unsaved strokes, one small file a region, in the project's ``drafts`` folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, edit: RegionEdit) -> None:
        """Write ``work`` atomically.

        Raises
        ------
        ProjectError
            If the disk is full; the strokes stay in memory.
        """
        with write_atomically(self._path(edit.region.id)) as part, part.open("wb") as file:
            np.savez_compressed(
                file,
                values=edit.values,
                predicted=edit.predicted,
                rect=np.array([edit.region.rect.y, edit.region.rect.x]),
            )
        edit.dirty = False

    def load(self, region: Region) -> tuple[Pixels, Pixels] | None:
        """Return ``values`` and ``predicted`` of the region's draft, ``None`` without one.

        A damaged draft, or one of another place, counts as none.
        """
        path = self._path(region.id)
        if not path.exists():
            return None
        try:
            with np.load(path) as draft:
                values, predicted, corner = draft["values"], draft["predicted"], draft["rect"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        fits = values.shape == predicted.shape == region.rect.shape
        if not fits or tuple(corner) != (region.rect.y, region.rect.x):
            return None
        return values.astype(np.uint8), predicted.astype(np.uint8)

    def drop(self, region_id: int) -> None:
        """Forget the region's draft."""
        remove_file(self._path(region_id))

    def region_ids(self) -> list[int]:
        """Return the regions that have a draft, newest first."""
        paths = sorted(
            self._folder.glob("region-*.npz"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        numbers = [path.stem.removeprefix("region-") for path in paths]
        return [int(number) for number in numbers if number.isdigit()]

    def _path(self, region_id: int) -> Path:
        return self._folder / f"region-{region_id}.npz"
