"""Edits of the labels: journalled, undoable, and whole even when the process is killed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
from numpy.typing import NDArray

from unisemalign.errors import BusyError, DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.journal import Journal, Pixels
from unisemalign.project.labels import LabelStore, check_pixels, check_rect
from unisemalign.project.locks import ProcessLock
from unisemalign.project.records import JournalEntry, Origin, SlideRecord
from unisemalign.runtime.files import disk_full_told

# An edit takes well under a second; whoever waits longer is better told.
_PATIENCE_S = 30.0


class LabelEditor:
    """Writes labels, one edit at a time over all processes.

    Parameters
    ----------
    journal
        Where edits are written down first.
    store_of
        Returns the labels of a slide by name.
    lock
        Held for the length of one edit, so that the journal's order is the chunks' order.
    n_classes
        The highest label value allowed.
    """

    def __init__(
        self,
        journal: Journal,
        store_of: Callable[[str], LabelStore],
        lock: ProcessLock,
        n_classes: int,
    ) -> None:
        self._journal = journal
        self._store_of = store_of
        self._lock = lock
        self._n_classes = n_classes

    def write(
        self,
        slide: SlideRecord,
        rect: Rect,
        values: NDArray[np.uint8],
        origin: Origin | NDArray[np.uint8],
        action: str,
        region_id: int | None,
        round_number: int | None,
    ) -> JournalEntry:
        """Write ``values`` under ``rect``; see :meth:`Project.write_labels`."""
        after = self._checked(slide, rect, values, origin)
        with self._lock.held(_PATIENCE_S):
            self._recover()
            store = self._store_of(slide.name)
            before = Pixels(store.read(rect), store.read_origin(rect))
            entry = self._journal.begin(
                slide.id, rect, action, region_id, round_number, before, after
            )
            return self._carry_out(entry, before, after)

    def alone(self) -> AbstractContextManager[None]:
        """Keep every edit of every process out while the block runs."""
        return self._lock.held(_PATIENCE_S)

    def undo(self) -> JournalEntry | None:
        """Take the newest edit back; ``None`` when there is none."""
        return self._turn("done", "undoing", newest=True)

    def redo(self) -> JournalEntry | None:
        """Make the edit that was undone last again; ``None`` when there is none."""
        return self._turn("undone", "redoing", newest=False)

    def recover(self) -> None:
        """Finish what a killed process began. Somebody who is writing right now is left alone."""
        if self._journal.unfinished():
            with contextlib.suppress(BusyError), self._lock.held():
                self._recover()

    def _turn(self, state: str, on_the_way: str, *, newest: bool) -> JournalEntry | None:
        with self._lock.held(_PATIENCE_S):
            self._recover()
            entry = self._journal.turn(state, on_the_way, newest=newest)
            if entry is None:
                return None
            before, after = self._journal.pixels(entry)
            if on_the_way == "undoing":
                before, after = after, before
            return self._carry_out(entry, before, after)

    def _recover(self) -> None:
        for entry in self._journal.unfinished():
            before, after = self._journal.pixels(entry)
            with disk_full_told(self._store_of(entry.slide).folder):
                self._put(entry, before if entry.state == "undoing" else after)
            self._journal.finish(entry)

    def _carry_out(self, entry: JournalEntry, now: Pixels, wanted: Pixels) -> JournalEntry:
        try:
            with disk_full_told(self._store_of(entry.slide).folder):
                self._put(entry, wanted)
        except (OSError, ProjectError):
            # Put back what was there. If even that fails, the journal still holds the edit, and
            # the next one (or the next opening) completes it.
            with contextlib.suppress(OSError, ProjectError):
                self._put(entry, now)
                self._journal.take_back(entry)
            raise
        return self._journal.finish(entry)

    def _put(self, entry: JournalEntry, pixels: Pixels) -> None:
        self._store_of(entry.slide).put(entry.rect, pixels.labels, pixels.origin)

    def _checked(
        self,
        slide: SlideRecord,
        rect: Rect,
        values: NDArray[np.uint8],
        origin: Origin | NDArray[np.uint8],
    ) -> Pixels:
        check_rect(rect, slide.shape_yx, "An edit")
        check_pixels(values, rect, "An edit's labels")
        if values.max() > self._n_classes:
            raise DataError(
                f"Labels want values 0…{self._n_classes}, found {values.max()}. "
                f"Add the class to project.toml, or draw with a class that exists."
            )
        if isinstance(origin, Origin):
            origin = np.full(rect.shape, origin.value, np.uint8)
        check_pixels(origin, rect, "An edit's origins")
        if origin.max() > max(Origin):
            raise DataError(f"Origins want values 0…{max(Origin)}, found {origin.max()}.")
        return Pixels(np.array(values), np.where(values > 0, origin, 0).astype(np.uint8))
