"""Strokes that nobody accepted yet, on disk."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_unisemalign.session.region_edit import Pixels, RegionEdit
from unisemalign.errors import ProjectError
from unisemalign.project import Region
from unisemalign.runtime import remove_file, write_atomically
from unisemalign.runtime.files import BAD_ARCHIVE, check_archive


@dataclass(frozen=True)
class Draft:
    """What was kept of a region; arrays are ``(h, w)`` uint8.

    ``touched`` (bool) is what strokes went over (:class:`RegionEdit`). ``undone`` is the journal's
    number of the edit that was taken back and left this draft, as long as nothing was painted
    since; else ``None``.
    """

    values: Pixels
    predicted: Pixels
    touched: NDArray[np.bool_]
    undone: int | None = None


class Drafts:
    """Unsaved strokes, one small file a region, in the project's ``drafts`` folder.

    Writes go one after the other, in the order they were asked for; a draft that was dropped is
    not brought back by an earlier write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._asked = 0
        self._written: dict[int, int] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="drafts")

    def save(self, edit: RegionEdit, *, undone: int | None = None) -> None:
        """Write what is painted, atomically.

        Raises
        ------
        ProjectError
            If the disk is full; the strokes stay in memory.
        """
        strokes = edit.strokes
        draft = Draft(edit.values, edit.predicted, edit.touched, undone)
        self._write(self._next(), edit.region, draft)
        edit.kept = strokes

    def save_soon(self, edit: RegionEdit) -> Future[None]:
        """Write what is painted now, in a thread; the result raises what :meth:`save` raises."""
        number, strokes = self._next(), edit.strokes
        draft = Draft(edit.values.copy(), edit.predicted.copy(), edit.touched.copy())

        def write() -> None:
            self._write(number, edit.region, draft)
            edit.kept = max(edit.kept, strokes)

        return self._writer.submit(write)

    def close(self) -> None:
        """Wait for the writes that were asked for."""
        self._writer.shutdown()

    def load(self, region: Region) -> Draft | None:
        """Return the region's draft, ``None`` without one.

        Raises
        ------
        ProjectError
            If the draft is damaged or of another place. It is kept under another name.
        """
        path = self.path(region.id)
        if not path.exists():
            return None
        try:
            check_archive(path)
            with np.load(path) as found:
                values, predicted, corner = found["values"], found["predicted"], found["rect"]
                undone = int(found["undone"]) if "undone" in found else 0
                # Drafts of before say nothing of it.
                touched = found["touched"] if "touched" in found else np.zeros(values.shape, bool)
        except BAD_ARCHIVE as error:
            raise ProjectError(self._set_aside(path, region, "it cannot be read")) from error
        fits = values.shape == predicted.shape == touched.shape == region.rect.shape
        if not fits or tuple(corner) != (region.rect.y, region.rect.x):
            raise ProjectError(self._set_aside(path, region, "it is of another place"))
        return Draft(
            values.astype(np.uint8),
            predicted.astype(np.uint8),
            touched.astype(bool),
            undone or None,
        )

    def drop(self, region_id: int) -> None:
        """Forget the region's draft."""
        number = self._next()
        with self._lock:
            self._written[region_id] = number
            remove_file(self.path(region_id))

    def region_ids(self) -> list[int]:
        """Return the regions that have a draft, newest first."""
        paths = sorted(
            self.folder.glob("region-*.npz"), key=lambda path: path.stat().st_mtime, reverse=True
        )
        numbers = [path.stem.removeprefix("region-") for path in paths]
        return [int(number) for number in numbers if number.isdigit()]

    def path(self, region_id: int) -> Path:
        """Return where the region's draft is kept."""
        return self.folder / f"region-{region_id}.npz"

    def _next(self) -> int:
        with self._lock:
            self._asked += 1
            return self._asked

    def _write(self, number: int, region: Region, draft: Draft) -> None:
        with self._lock:
            if self._written.get(region.id, 0) > number:
                return
            with write_atomically(self.path(region.id)) as part, part.open("wb") as file:
                np.savez_compressed(
                    file,
                    values=draft.values,
                    predicted=draft.predicted,
                    touched=draft.touched,
                    rect=np.array([region.rect.y, region.rect.x]),
                    undone=np.array(draft.undone or 0),
                )
            self._written[region.id] = number

    def _set_aside(self, path: Path, region: Region, why: str) -> str:
        """Keep a draft that cannot be used under another name, and say so."""
        kept = path.with_name(f"{path.stem}.damaged-{time.time_ns()}.npz")
        path.replace(kept)
        return (
            f"The strokes kept of region {region.id} cannot be shown: {why}. The file is kept as "
            f"'{kept}'; the region begins from its labels and the prediction."
        )
