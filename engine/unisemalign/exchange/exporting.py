"""Results out of the project, each with a note of how it came about."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from unisemalign.errors import DataError
from unisemalign.exchange.coco import write_coco
from unisemalign.exchange.geojson import write_geojson
from unisemalign.exchange.ome_tiff import write_ome_tiff
from unisemalign.exchange.ome_zarr import write_ome_zarr
from unisemalign.exchange.pixels import ExportPixels, Source, export_pixels, file_values
from unisemalign.exchange.png import write_png
from unisemalign.exchange.run_record import RunRecords
from unisemalign.project import Project
from unisemalign.runtime.events import Events, SilentEvents
from unisemalign.runtime.files import disk_full_told, write_atomically

Format = Literal["png", "geojson", "ome-tiff", "ome-zarr", "coco"]

_SUFFIXES: dict[Format, str] = {
    "png": ".png",
    "geojson": ".geojson",
    "ome-tiff": ".ome.tif",
    "ome-zarr": ".ome.zarr",
}
_COCO_NAME = "annotations.coco.json"


def export_labels(
    project: Project,
    out_dir: Path | str,
    fmt: Format,
    *,
    source: Source = "best",
    slides: Sequence[str] | None = None,
    round: int | None = None,  # noqa: A002  the field's word for a training run
    events: Events | None = None,
) -> list[Path]:
    """Write labels or predictions for other programs; a result of the same name is replaced.

    Parameters
    ----------
    project
        Where they come from.
    out_dir
        Folder of the results, made when it is missing.
    fmt
        ``png``: class indices, 255 = ignore, at working spacing. ``ome-tiff`` and ``ome-zarr``:
        the same with a pyramid and the pixel size. ``geojson``: QuPath annotations in level-0
        pixels. ``coco``: one file for all slides.
    source
        ``labels``: what a person stands behind. ``prediction``: what the round says. ``best``:
        labels where there are some, the prediction elsewhere.
    slides
        Names; every slide when ``None``. A slide with nothing to export is left out, with a
        ``message``, unless it was named.
    round
        The round of the prediction; the newest one that has seen the slide when ``None``.
    events
        Takes ``progress`` per slide.

    Returns
    -------
    list[Path]
        The results. Beside each lies ``RESULT.run.json``.

    Raises
    ------
    DataError
        If the format or the source is unknown, or there is nothing to export.
    ProjectError
        If a slide, the round or a prediction asked for is missing, or the disk is full.
    """
    if fmt not in get_args(Format):
        raise DataError(
            f"A format wants to be one of {', '.join(get_args(Format))}, found '{fmt}'."
        )
    out_dir = Path(out_dir)
    if out_dir.exists() and not out_dir.is_dir():
        raise DataError(f"Results want a folder, found the file '{out_dir}'. Choose a folder.")
    events = SilentEvents() if events is None else events
    chosen = _chosen(project, source, slides, round, events)
    records = RunRecords(project, source)
    if fmt == "coco":
        result = out_dir / _COCO_NAME
        with write_atomically(result) as part:
            write_coco(part, chosen, project.info.classes)
        records.write(result, chosen)
        return [result]
    results = []
    for done, pixels in enumerate(chosen, start=1):
        result = out_dir / f"{pixels.slide.name}{_SUFFIXES[fmt]}"
        _write(result, fmt, pixels, project)
        records.write(result, [pixels])
        results.append(result)
        events.emit("progress", done=done, total=len(chosen), what=f"Exporting {result.name}")
    return results


def _chosen(
    project: Project,
    source: Source,
    names: Sequence[str] | None,
    number: int | None,
    events: Events,
) -> list[ExportPixels]:
    wanted = project.slides() if names is None else [project.slide(name) for name in names]
    chosen = []
    for slide in wanted:
        pixels = export_pixels(project, slide, source, number)
        if not pixels.empty:
            chosen.append(pixels)
        elif names is None:
            events.emit("message", text=f"Slide '{slide.name}' has nothing to export yet.")
        else:
            raise DataError(
                f"An export of slide '{slide.name}' wants labels or a prediction, found neither. "
                f"Label or segment it first."
            )
    if not chosen:
        raise DataError(
            f"An export wants at least one slide with labels or a prediction, found "
            f"{len(wanted)} slides without. Label or segment one first."
        )
    return chosen


def _write(result: Path, fmt: Format, pixels: ExportPixels, project: Project) -> None:
    info = project.info
    if fmt == "ome-zarr":
        _write_folder(result, pixels, project)
        return
    with write_atomically(result) as part:
        if fmt == "png":
            bands = (file_values(band) for band in pixels.iter_bands())
            write_png(part, pixels.shape_yx, bands)
        elif fmt == "geojson":
            write_geojson(part, pixels, info.classes)
        else:
            write_ome_tiff(part, pixels, info.classes, info.spacing_um)


def _write_folder(result: Path, pixels: ExportPixels, project: Project) -> None:
    result.parent.mkdir(parents=True, exist_ok=True)
    with (
        disk_full_told(result),
        tempfile.TemporaryDirectory(prefix=f".{result.name}.", dir=result.parent) as folder,
    ):
        fresh = Path(folder) / "fresh"
        write_ome_zarr(fresh, pixels, project.info.classes, project.info.spacing_um)
        if result.exists():
            # Out of the way first: a folder cannot be put over another in one step.
            shutil.move(result, Path(folder) / "old")
        fresh.rename(result)
