"""The probability of every class at every pixel of a slide, as a file for other programs."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from unisemalign.errors import DataError, SlideError
from unisemalign.exchange.exporting import writing_project_results
from unisemalign.exchange.run_record import about_project
from unisemalign.exchange.tiff_levels import write_tiff_levels
from unisemalign.geometry import Rect
from unisemalign.inference.adapting import adapted
from unisemalign.inference.bands import iter_bands
from unisemalign.inference.loading import load_predictor
from unisemalign.inference.plan import BAND_PX, Plan
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.segmenting import OpenedSlide, open_for_segmenting
from unisemalign.project import Project
from unisemalign.project.colors import rgb
from unisemalign.project.pyramid import COARSEST_PX, level_shapes
from unisemalign.protocol import Message, Progress, Start
from unisemalign.runtime import CancelToken, Events, SilentEvents
from unisemalign.slides.prefetch import Prefetch, choose_readers
from unisemalign.terms import ProbabilityFormat

_SUFFIXES: dict[ProbabilityFormat, str] = {
    "ome-tiff": ".probability.ome.tif",
    "ome-zarr": ".probability.ome.zarr",
}
_NOTE = "probability of each class, 0…255 = 0…1; 0 in every channel where nothing was predicted"


def export_probabilities(
    project: Project,
    out_dir: Path,
    fmt: ProbabilityFormat,
    *,
    slides: Sequence[str] | None = None,
    number: int | None = None,
    overrides: Sequence[str] = (),
    events: Events | None = None,
    cancel: CancelToken | None = None,
) -> list[Path]:
    """Write the probability of each class of whole slides, one file a slide.

    The network reads the slides anew: a project keeps the highest class and its confidence alone.
    What is interrupted begins anew with its slide. Windows, blending, the tissue mask and stain
    matching are those of :func:`~unisemalign.inference.segment_slide`, so the highest of a pixel's
    probabilities belongs to the class of the map.

    Parameters
    ----------
    project
        Whose slides and model.
    out_dir
        Folder of the results, made when it is missing. Only earlier results are replaced.
    fmt
        ``ome-zarr``: OME-Zarr 0.5, ``(C, Y, X)`` uint8 with a pyramid; ``ome-tiff``: the same.
        0…255 stands for 0…1. Channels are the project's classes.
    slides
        Names; ``None``: all.
    number
        The round; ``None``: the newest in use.
    overrides
        Settings of ``inference``, as ``inference.flips=true``.
    events, cancel
        Takes ``start`` and ``progress``; stops the work between windows.

    Raises
    ------
    CancelledError
        If a stop was asked for. Slides that were finished are kept.
    DataError
        If the format is another one, or something else lies where a result would.
    ProjectError
        If there is no such slide or round, or the disk is full.
    SlideError
        If a slide that was named is not there, or cannot be read. Of all slides, such a one is left
        out, and told.
    """
    if fmt not in get_args(ProbabilityFormat):
        raise DataError(
            f"Probabilities need a format of {', '.join(get_args(ProbabilityFormat))}, found "
            f"'{fmt}'. Choose one: --format ome-tiff."
        )
    events, cancel = events or SilentEvents(), cancel or CancelToken()
    names = [
        record.name
        for record in (project.slides() if slides is None else map(project.slide, slides))
    ]
    predictor, made = load_predictor(project, number, overrides)
    results = [f"{name}{_SUFFIXES[fmt]}" for name in names]
    folders, written = fmt == "ome-zarr", list[str]()
    with writing_project_results(project, out_dir, results, folders=folders) as writing:
        for name, result in zip(names, results, strict=True):
            note = {
                **about_project(project),
                "what": "probability",
                "values": _NOTE,
                "round": made.number,
                "slides": [{"name": name, "file": project.slide(name).path.name}],
            }
            try:
                opened = open_for_segmenting(project, name, predictor)
            except SlideError as error:
                if slides is not None:
                    raise
                events.emit(Message(text=f"{name}: left out. {error}", slide=name))
                continue
            try:
                with writing.replaced(result, note) as part:
                    writer = _Writer(project, opened, predictor, events, cancel)
                    writer.write_zarr(part) if folders else writer.write_tiff(part)
                written.append(result)
            finally:
                opened.slide.slide.close()
    return [out_dir / result for result in written]


class _Writer:
    """Writes one slide's probabilities."""

    def __init__(
        self,
        project: Project,
        opened: OpenedSlide,
        predictor: Predictor,
        events: Events,
        cancel: CancelToken,
    ) -> None:
        self._info = project.info
        self._opened = opened
        self._predictor = adapted(predictor, opened.slide, opened.tissue)
        self._events = events
        self._cancel = cancel

    def write_zarr(self, folder: Path) -> list[zarr.Array[Any]]:
        group = zarr.open_group(folder, mode="w-", zarr_format=3)
        channels = self._predictor.n_classes
        levels = [
            group.create_array(
                str(level),
                shape=(channels, *shape),
                dtype="uint8",
                chunks=(1, BAND_PX, BAND_PX),
                fill_value=0,
                compressors=[ZstdCodec(level=3)],
                dimension_names=("c", "y", "x"),
            )
            for level, shape in enumerate(level_shapes(self._opened.slide.shape_yx, COARSEST_PX))
        ]
        for rect, values in self._bands():
            ys, xs = rect.slices
            levels[0][:, ys, xs] = values
        for finer, coarser in itertools.pairwise(levels):
            for y in range(0, coarser.shape[1], BAND_PX):
                fine = np.asarray(finer[:, 2 * y : 2 * (y + BAND_PX)], np.uint8)
                coarser[:, y : y + BAND_PX] = _halved(fine)
        group.attrs["ome"] = self._ome(len(levels))
        return levels

    def write_tiff(self, path: Path) -> None:
        # On disk, beside the file: a whole slide's planes do not fit into memory.
        with tempfile.TemporaryDirectory(prefix=".levels.", dir=path.parent) as folder:
            levels = self.write_zarr(Path(folder) / "levels")
            metadata = {
                "Name": self._opened.name,
                "Description": _NOTE,
                "Channel": {"Name": [each.name for each in self._info.classes]},
            }
            write_tiff_levels(path, levels, metadata, self._info.spacing_um)

    def _bands(self) -> Iterator[tuple[Rect, NDArray[np.uint8]]]:
        opened, inference = self._opened, self._predictor.settings.inference
        plan = Plan(opened.slide.shape_yx, inference)
        self._events.emit(Start(what=f"Probabilities of {opened.name}", total=plan.total))
        readers = choose_readers(inference.readers, opened.slide, opened.area_to_read(plan.target))
        with Prefetch(opened.slide, readers) as source:
            bands = iter_bands(
                source,
                self._predictor,
                plan,
                tissue=opened.tissue,
                on_window=self._on_window,
                probabilities=True,
            )
            for band in bands:
                if band.probabilities is not None:  # none where all is glass
                    yield band.rect, band.probabilities

    def _on_window(self, done: int, total: int) -> None:
        self._cancel.check()
        self._events.emit(Progress(done=done, total=total))

    def _ome(self, n_levels: int) -> dict[str, Any]:
        spacing = self._info.spacing_um
        space = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in ("y", "x")]
        datasets = [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1.0] + [2**level * spacing] * 2},
                    {
                        "type": "translation",
                        "translation": [0.0] + [(2**level - 1) / 2 * spacing] * 2,
                    },
                ],
            }
            for level in range(n_levels)
        ]
        return {
            "version": "0.5",
            "multiscales": [
                {
                    "name": self._opened.name,
                    "axes": [{"name": "c", "type": "channel"}, *space],
                    "datasets": datasets,
                    "type": "mean",
                    "metadata": {"description": _NOTE},
                }
            ],
            "omero": {
                "channels": [
                    {
                        "label": each.name,
                        "color": "{:02X}{:02X}{:02X}".format(*rgb(each.color)),
                        "active": True,
                        "window": {"start": 0, "end": 255, "min": 0, "max": 255},
                    }
                    for each in self._info.classes
                ]
            },
        }


def _halved(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the mean of each two by two pixels of ``(C, Y, X)``; an odd edge counts twice."""
    _, h, w = values.shape
    padded = np.pad(values, ((0, 0), (0, h % 2), (0, w % 2)), mode="edge").astype(np.uint16)
    four = padded[:, ::2, ::2] + padded[:, 1::2, ::2] + padded[:, ::2, 1::2] + padded[:, 1::2, 1::2]
    return ((four + 2) // 4).astype(np.uint8)
