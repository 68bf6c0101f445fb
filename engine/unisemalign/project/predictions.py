"""Plane a round says about a slide: class, confidence and disagreement of every predicted pixel."""

from __future__ import annotations

import math
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.project.chunks import (
    WholeFileStore,
    create_array,
    flat_array,
    flat_shape,
    is_written,
    written_rects,
)
from unisemalign.project.labels import BAD_STORE, check_pixels, check_rect, read_padded
from unisemalign.project.pyramid import (
    coarser,
    finer,
    halve_majority,
    halve_mean,
    level_shapes,
)
from unisemalign.project.stored_arrays import CHUNK_PX
from unisemalign.protocol import FinishedNote, finished_note, read_note
from unisemalign.runtime.files import (
    explaining_full_disk,
    flush_folder,
    make_folder,
    part_beside,
    read_json,
    remove_file,
    remove_folder,
    write_json,
)

Plane = Literal["class", "confidence", "disagreement"]
KINDS: tuple[Plane, ...] = ("class", "confidence", "disagreement")
_COARSE = "coarse-"


def remove_predictions(folder: Path) -> None:
    """Remove what is in ``folder``, if anything, and the note of what of it was finished."""
    remove_file(finished_note(folder))  # first, and on the disk: nothing is not finished
    remove_folder(folder)


class PredictionStore:
    """One slide's prediction by one round. One process writes, any number read meanwhile.

    Attributes
    ----------
    shape_yx
        ``(height, width)`` at working spacing.
    n_levels
        Levels of the pyramid; level L is 2^L coarser.
    spacing_um
        Working spacing of level 0, µm/px.

    Notes
    -----
    Class 0 is a pixel not yet predicted. Confidence 255 is sure. The disagreement values are
    those of *disagreement*: 0 none, 1 prototypes, 2 words, 3 both disagree with the decoder.

    A coarse answer, which a viewer shows until there is a finer one, lies in a store of its own
    inside this one's folder (:meth:`coarse`): every level of this store says what was labelled at
    working spacing, and nothing else. No such answer is waited for until it is on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._store = WholeFileStore(folder, empty_is_absent=True)
        self._lock = threading.Lock()
        self._coarse: dict[int, PredictionStore] = {}
        try:
            group = zarr.open_group(self._store, mode="r+")
            shapes = level_shapes(flat_shape(flat_array(group, "class/0")), CHUNK_PX)
            self.n_levels = len(shapes)
            if group.attrs["n_levels"] != self.n_levels:
                raise ValueError(f"it needs {self.n_levels} levels")
            self.spacing_um = float(cast("float", group.attrs["spacing_um"]))
            if not 0 < self.spacing_um < math.inf:
                raise ValueError(f"its pixel size is {self.spacing_um}")
            self._levels: dict[Plane, list[zarr.Array[Any]]] = {
                what: [flat_array(group, f"{what}/{level}") for level in range(self.n_levels)]
                for what in KINDS
            }
            if any([each.shape for each in found] != shapes for found in self._levels.values()):
                raise ValueError("its levels do not fit one another")
        except (*BAD_STORE, OverflowError, ProjectError) as error:
            raise ProjectError(
                f"The prediction in '{folder}' is damaged: {error}. "
                f"Delete that folder and segment the slide again."
            ) from error
        self.shape_yx = flat_shape(self._levels["class"][0])

    @classmethod
    def create(cls, folder: Path, shape_yx: tuple[int, int], spacing_um: float) -> PredictionStore:
        """Make an empty store; it appears under its name only when it is complete."""
        part = part_beside(folder)
        store = WholeFileStore(part)
        shapes = level_shapes(shape_yx, CHUNK_PX)
        try:
            with explaining_full_disk(folder):
                make_folder(folder.parent)
                group = zarr.open_group(store, mode="w-", zarr_format=3)
                group.attrs.update({"n_levels": len(shapes), "spacing_um": spacing_um})
                for what in KINDS:
                    for level, shape in enumerate(shapes):
                        create_array(group, f"{what}/{level}", shape, ZstdCodec(level=1))
                store.flush()
                os.rename(part, folder)  # noqa: PTH104  Path.rename says nothing of directories
                flush_folder(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return cls(folder)

    def wait_for_disk(self, wait: bool) -> None:
        """Choose whether each write waits until it is on the disk, as it does at first.

        A viewer that waits for labels does not wait for the disk: what a power cut may take of them
        is labelled again. Whoever notes what is finished needs both.
        """
        self._store.durable = wait

    def write(
        self,
        rect: Rect,
        *,
        classes: NDArray[np.uint8],
        confidence: NDArray[np.uint8],
        disagreement: NDArray[np.uint8],
    ) -> None:
        """Write ``(h, w)`` pixels under ``rect`` and mend the coarser levels above them.

        Rectangles aligned to 512 pixels are the quickest: no chunk is then read back. Nothing
        predicted where nothing was costs nothing. Coarse answers are taken away under ``rect``.

        Raises
        ------
        DataError
            If ``rect`` leaves the slide or an array has another shape or type.
        ProjectError
            If the disk is full.
        """
        check_rect(rect, self.shape_yx, "A prediction")
        given: dict[Plane, NDArray[np.uint8]] = {
            "class": classes,
            "confidence": confidence,
            "disagreement": disagreement,
        }
        for what, values in given.items():
            check_pixels(values, rect, f"A prediction's {what}")
        with self._lock, explaining_full_disk(self._folder):
            if classes.any() or self._holds(rect):
                self._put_all(rect, given)
        for factor, store in self.coarse_answers().items():
            under = rect.scaled(1 / factor).intersect(Rect(0, 0, *store.shape_yx))
            nothing = np.zeros(under.shape, np.uint8)
            store.write(under, classes=nothing, confidence=nothing, disagreement=nothing)

    def coarse(self, factor: int) -> PredictionStore:
        """Return where an answer ``factor`` times coarser than this store goes, made if absent.

        One of its pixels covers ``factor`` × ``factor`` of this store's; the origins are the same.
        """
        if factor not in self.coarse_answers():
            h, w = (-(-side // factor) for side in self.shape_yx)
            folder = self._folder / f"{_COARSE}{factor}"
            self.create(folder, (h, w), factor * self.spacing_um)
            self._coarse[factor] = _not_waiting(PredictionStore(folder))
        return self._coarse[factor]

    def coarse_answers(self) -> dict[int, PredictionStore]:
        """Return the stores of :meth:`coarse` that are there, by factor, finest first."""
        for folder in self._folder.glob(f"{_COARSE}*"):
            number = folder.name.removeprefix(_COARSE)
            if number.isdecimal() and int(number) not in self._coarse:
                self._coarse[int(number)] = _not_waiting(PredictionStore(folder))
        return dict(sorted(self._coarse.items()))

    def read(self, rect: Rect, what: Plane = "class") -> NDArray[np.uint8]:
        """Return level-0 values of ``what``, ``(h, w)``; 0 outside the slide."""
        return read_padded(self._levels[what][0], rect)

    def levels(self, what: Plane) -> list[zarr.Array[Any]]:
        """Return the arrays of ``what``, finest first, as napari shows them."""
        return list(self._levels[what])

    def predicted_rects(self) -> list[Rect]:
        """Return the chunks that hold a prediction, row by row."""
        return written_rects(self._folder / "class" / "0", self.shape_yx)

    def read_finished(self) -> FinishedNote | None:
        """Return what :meth:`write_finished` was given last; ``None`` when nothing was.

        Raises
        ------
        ProjectError
            If the note is damaged.
        """
        path = finished_note(self._folder)
        found = read_json(path)
        if found is None:
            return None
        remedy = "Delete that file, then segment the slide again."
        return read_note(FinishedNote, found, path, remedy)

    def write_finished(self, note: FinishedNote) -> None:
        """Keep a note of what is finished, so that an interrupted run goes on.

        Plane was written before is on the disk before the note is.
        """
        self._store.flush()
        write_json(finished_note(self._folder), note.model_dump(mode="json"))

    def remove_torn(self) -> None:
        """Remove what a killed writer left half written. Nobody may be writing."""
        beside = self._folder.parent
        for torn in (
            *self._folder.glob("**/.*.part"),
            *beside.glob(f".{finished_note(self._folder).name}.*.part"),
            *beside.glob(f".{self._folder.name}.*.part"),
        ):
            shutil.rmtree(torn) if torn.is_dir() else torn.unlink(missing_ok=True)

    def _holds(self, rect: Rect) -> bool:
        return any(is_written(self._folder / what / "0", rect) for what in KINDS)

    def _put_all(self, rect: Rect, given: dict[Plane, NDArray[np.uint8]]) -> None:
        self._put(0, rect, given)
        for level in range(1, self.n_levels):
            rect, given = self._halved(level, rect, given)
            self._put(level, rect, given)

    def _put(self, level: int, rect: Rect, given: Mapping[Plane, NDArray[np.uint8]]) -> None:
        # Class last: a reader that sees a class finds its confidence in place.
        for what in reversed(KINDS):
            self._levels[what][level][rect.slices] = given[what]

    def _halved(
        self, level: int, rect: Rect, given: dict[Plane, NDArray[np.uint8]]
    ) -> tuple[Rect, dict[Plane, NDArray[np.uint8]]]:
        target = coarser(rect)
        source = finer(target, flat_shape(self._levels["class"][level - 1]))
        if source != rect:
            given = {what: read_padded(self._levels[what][level - 1], source) for what in KINDS}
        return target, {
            "class": halve_majority(given["class"]),
            "confidence": halve_mean(given["confidence"], given["class"] > 0),
            "disagreement": halve_majority(given["disagreement"]),
        }


def _not_waiting(store: PredictionStore) -> PredictionStore:
    store.wait_for_disk(False)
    return store
