"""Results out of the project, each with a note of how it came about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from unisemalign.errors import DataError
from unisemalign.exchange.annotation_xml import write_asap, write_imagescope
from unisemalign.exchange.area_table import write_area_table
from unisemalign.exchange.coco import write_coco
from unisemalign.exchange.geojson import write_geojson
from unisemalign.exchange.ome_tiff import write_ome_tiff
from unisemalign.exchange.ome_zarr import write_ome_zarr
from unisemalign.exchange.pixels import NOTES, ExportPixels, Source, What
from unisemalign.exchange.planning import ExportPlan, plan_slides
from unisemalign.exchange.png import write_png
from unisemalign.exchange.run_record import RunRecords
from unisemalign.project import ClassInfo, Cleaning, Project
from unisemalign.protocol import PROJECT_FOLDERS, Message, Progress
from unisemalign.runtime.events import Events, SilentEvents
from unisemalign.runtime.results import Results, writing_results
from unisemalign.terms import Format as Format

_SUFFIXES: dict[Format, str] = {
    "png": ".png",
    "geojson": ".geojson",
    "ome-tiff": ".ome.tif",
    "ome-zarr": ".ome.zarr",
    "imagescope": ".imagescope.xml",
    "asap": ".asap.xml",
    "csv": ".areas.csv",
}
_OUTLINES: dict[Format, Callable[[Path, ExportPixels, tuple[ClassInfo, ...]], None]] = {
    "geojson": write_geojson,
    "imagescope": write_imagescope,
    "asap": write_asap,
}
_PIXEL_FORMATS: tuple[Format, ...] = ("png", "ome-tiff", "ome-zarr")
_COCO_NAME = "annotations.coco.json"


def export_labels(
    project: Project,
    out_dir: Path | str,
    fmt: Format,
    *,
    source: Source = "best",
    slides: Sequence[str] | None = None,
    round: int | None = None,  # noqa: A002  the field's word for a training run
    cleaning: Cleaning | None = None,
    what: What = "class",
    plan: ExportPlan | None = None,
    events: Events | None = None,
) -> list[Path]:
    """Write labels or predictions for other programs.

    An earlier result of the same name is replaced; anything else there is left alone, and the
    export refused before the first result is written (:mod:`unisemalign.runtime.results`).

    Parameters
    ----------
    project
        Where they come from.
    out_dir
        Folder of the results, made when it is missing; its parent is not.
    fmt
        ``png``: class indices, 255 = ignore, at working spacing. ``ome-tiff`` and ``ome-zarr``:
        the same with a pyramid and the pixel size. ``geojson``: QuPath annotations in level-0
        pixels; ``imagescope`` and ``asap``: the same as these programs' XML. ``coco``: one file
        for all slides. ``csv``: µm² and percent of each class.
    source
        ``labels``: what a person stands behind. ``prediction``: what the round says. ``best``:
        labels where there are some, the prediction elsewhere.
    slides
        Names; every slide when ``None``. A slide with nothing to export is left out, unless it was
        named.
    round
        The round of the prediction; the newest one that has seen the slide when ``None``.
    cleaning
        What of the prediction is not believed: specks, holes. Off when ``None``.
    what
        ``class``, or in ``png``, ``ome-tiff`` and ``ome-zarr``: the ``confidence`` of a prediction,
        its ``disagreement``, or the ``origin`` of labels. The result's name then says so.
    plan
        What :func:`plan_export` returned for the same wishes, where it was asked before.
    events
        Takes a ``message`` per slide that is left out, then ``progress`` per result.

    Returns
    -------
    list[Path]
        The results. Beside each lies ``RESULT.run.json``.

    Raises
    ------
    DataError
        If the format or the source is unknown, there is nothing to export, or a result would
        write over something that is no earlier result of this name.
    ProjectError
        If a slide, the round or a prediction asked for is missing, labels are lost that the journal
        holds, or the disk is full.
    """
    out_dir = Path(out_dir)
    events = SilentEvents() if events is None else events
    if plan is None:
        plan = plan_export(
            project, fmt, source=source, slides=slides, round=round, cleaning=cleaning, what=what
        )
    for each in plan.left_out:
        events.emit(Message(text=each.why, slide=each.slide))
    for planned in plan.slides:
        if round is not None and source == "best" and planned.round is None:
            sentence = f"Slide '{planned.slide}' has no prediction of round {round}: labels alone."
            events.emit(Message(text=sentence, slide=planned.slide))
    records = RunRecords(project, source, cleaning)
    jobs: dict[str, list[ExportPixels]] = {}
    for planned, pixels in zip(plan.slides, plan.pixels, strict=True):
        jobs.setdefault(planned.result, []).append(pixels)
    folders = fmt == "ome-zarr"
    with writing_project_results(project, out_dir, list(jobs), folders=folders) as results:
        for done, (name, parts) in enumerate(jobs.items(), start=1):
            with results.replaced(name, records.record(parts)) as part:
                _write(part, fmt, parts, project)
            events.emit(Progress(done=done, total=len(jobs), what=f"Exporting {name}"))
    return [out_dir / name for name in jobs]


def plan_export(
    project: Project,
    fmt: Format,
    *,
    source: Source = "best",
    slides: Sequence[str] | None = None,
    round: int | None = None,  # noqa: A002  the field's word for a training run
    cleaning: Cleaning | None = None,
    what: What = "class",
) -> ExportPlan:
    """Return what :func:`export_labels` would write, and what it would leave out.

    Parameters and errors are those of :func:`export_labels`; nothing is written.
    """
    if fmt not in get_args(Format):
        raise DataError(
            f"A format needs to be one of {', '.join(get_args(Format))}, found '{fmt}'."
        )
    if what not in get_args(What) or (what != "class" and fmt not in _PIXEL_FORMATS):
        raise DataError(
            f"What is exported as {fmt} needs to be class; {', '.join(get_args(What)[1:])} go with "
            f"{', '.join(_PIXEL_FORMATS)}. Found '{what}'."
        )
    kind = "" if what == "class" else f".{what}"
    result_of = {
        slide.name: _COCO_NAME if fmt == "coco" else f"{slide.name}{kind}{_SUFFIXES[fmt]}"
        for slide in project.slides()
    }
    return plan_slides(project, result_of, source, slides, round, cleaning, what)


@contextmanager
def writing_project_results(
    project: Project, folder: Path, names: Sequence[str], *, folders: bool = False
) -> Iterator[Results]:
    """Yield what writes results of a project: never over its slides or among its own files.

    Raises
    ------
    DataError, BusyError
        See :func:`~unisemalign.runtime.results.writing_results`.
    """
    place = folder.resolve()
    if place.is_relative_to(project.root.resolve()):
        inside = place.relative_to(project.root.resolve()).parts[:1]
        if inside and inside[0] in PROJECT_FOLDERS:
            raise DataError(
                f"Results need a folder of their own, found '{inside[0]}', in which the project "
                f"keeps its data. Choose another, such as '{project.root / 'export'}'."
            )
    kept = {slide.path: f"slide '{slide.name}'" for slide in project.slides()}
    with writing_results(folder, names, kept=kept, folders=folders) as results:
        yield results


def _write(part: Path, fmt: Format, slides: Sequence[ExportPixels], project: Project) -> None:
    info = project.info
    if fmt == "coco":
        write_coco(part, slides, info.classes)
        return
    (pixels,) = slides
    if fmt == "png":
        write_png(part, pixels.shape_yx, pixels.iter_file_bands(), NOTES[pixels.what])
    elif fmt in _OUTLINES:
        _OUTLINES[fmt](part, pixels, info.classes)
    elif fmt == "csv":
        write_area_table(part, pixels, info.classes, info.spacing_um)
    elif fmt == "ome-tiff":
        write_ome_tiff(part, pixels, info.classes, info.spacing_um)
    else:
        write_ome_zarr(part, pixels, info.classes, info.spacing_um)
