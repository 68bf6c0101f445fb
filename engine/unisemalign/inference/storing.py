"""Bands on their way to the disk, and the note of which have arrived."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from unisemalign.geometry import Rect
from unisemalign.inference.blending import Band
from unisemalign.project import PredictionStore, Project
from unisemalign.protocol import FinishedNote


@dataclass(frozen=True)
class PredictionSlot:
    """Where the map of one slide is kept.

    Attributes
    ----------
    round
        The number of the round whose map it is.
    is_there
        Whether there is one, even if only in part.
    take
        Returns it; makes an empty one where there is none.
    clear
        Removes it, with the note of what of it was finished.
    locked
        Keeps every other writer out while a block runs; :class:`BusyError` where one is at work.
    """

    round: int
    is_there: Callable[[], bool]
    take: Callable[[], PredictionStore]
    clear: Callable[[], None]
    locked: Callable[[], AbstractContextManager[None]]

    @classmethod
    def of_round(cls, project: Project, number: int, slide: str) -> PredictionSlot:
        """Return where a round keeps its prediction of ``slide``."""
        return cls(
            number,
            partial(project.has_prediction, number, slide),
            partial(project.predictions, number, slide, create=True),
            partial(project.remove_prediction, number, slide),
            partial(project.lock_prediction, number, slide),
        )


class FinishedBands:
    """What of a whole slide is finished, kept beside its prediction.

    Parameters
    ----------
    store
        The prediction.
    model
        Who predicts now.
    mask_of
        Returns a digest of the tissue mask around a band. A band that was
        labelled under another one is not finished.

    Attributes
    ----------
    finished
        The bands that are stored, with every level of the pyramid above them, and their masks.
    unreadable
        Rectangles, in working pixels, that could not be decoded.
    of_other_model
        What lies there was predicted by another model: nothing is taken from it.
    outdated
        The note on disk says something else, or there is none.
    """

    def __init__(self, store: PredictionStore, model: str, mask_of: Callable[[Rect], str]) -> None:
        self._store = store
        self._model = model
        self._mask_of = mask_of
        note = store.read_finished()
        self.of_other_model = note is not None and note.model != model
        noted = FinishedNote() if note is None or self.of_other_model else note
        self.finished = {
            band: mask
            for band, mask in zip(noted.finished, noted.masks, strict=False)
            if mask == mask_of(band)
        }
        self.unreadable = list(noted.unreadable)
        self.outdated = note is None or len(self.finished) < len(noted.finished)

    def finish(self, band: Rect) -> None:
        """Note that ``band`` is stored."""
        self.finished[band] = self._mask_of(band)
        self.write()

    def write(self) -> None:
        """Note it, atomically."""
        bands = sorted(self.finished)
        self._store.write_finished(
            FinishedNote(
                model=self._model,
                finished=tuple(bands),
                masks=tuple(self.finished[band] for band in bands),
                unreadable=tuple(self.unreadable),
            )
        )


class Storing:
    """Stores one band while the next is labelled.

    Parameters
    ----------
    store
        Where to.
    on_stored
        Called on the caller's thread, in order, once a band lies on the disk.

    Attributes
    ----------
    waited_s
        Seconds spent waiting for the disk.
    """

    def __init__(self, store: PredictionStore, on_stored: Callable[[Band], None]) -> None:
        self.waited_s = 0.0
        self._store = store
        self._on_stored = on_stored
        self._pool = ThreadPoolExecutor(1, "storing")
        self._last: tuple[Band, Future[Any]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What was labelled before a stop is kept.
        try:
            self.finish()
        finally:
            self._pool.shutdown()

    def put(self, band: Band) -> None:
        """Take a band, once the one before is stored."""
        self.finish()
        stored = self._pool.submit(
            self._store.write,
            band.rect,
            classes=band.classes,
            confidence=band.confidence,
            disagreement=band.disagreement,
        )
        self._last = band, stored

    def look(self) -> None:
        """Tell of the last band if it is stored by now."""
        if self._last is not None and self._last[1].done():
            self.finish()

    def finish(self) -> None:
        """Wait until the last band is stored."""
        if self._last is None:
            return
        (band, stored), self._last = self._last, None
        started = time.perf_counter()
        stored.result()
        self.waited_s += time.perf_counter() - started
        self._on_stored(band)
