"""``export``: results for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from unisemalign.cli.options import (
    AsJson,
    ExportMinHole,
    ExportMinObject,
    ProjectPath,
    Slides,
    Smooth,
)
from unisemalign.cli.output import choose_events, errors_as_sentences, open_project, say, say_done
from unisemalign.terms import Exported, Format, ProbabilityFormat, Source

if TYPE_CHECKING:
    from unisemalign.project import Project


def export(
    project: ProjectPath,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    fmt: Annotated[Format, typer.Option("--format", help="What to write.")] = "png",
    source: Annotated[
        Source, typer.Option(help="best: labels where there are any, else the prediction.")
    ] = "best",
    what: Annotated[
        Exported,
        typer.Option(
            help="confidence, disagreement, origin: as png, ome-tiff, ome-zarr. probability: of "
            "each class, computed anew, as ome-tiff or ome-zarr."
        ),
    ] = "class",
    slides: Slides = None,
    min_object_px: ExportMinObject = None,
    min_hole_px: ExportMinHole = None,
    smooth_px: Smooth = 0,
    plan_only: Annotated[
        bool, typer.Option("--plan", help="Say what would be written, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write masks and outlines other programs read; say first what of each slide is written."""
    with errors_as_sentences(as_json):
        from unisemalign.exchange import export_labels, plan_export, planned_sentence
        from unisemalign.project import Cleaning
        from unisemalign.protocol import ExportDone, Message

        with open_project(project) as opened:
            if what == "probability":
                asked = (min_object_px, min_hole_px, smooth_px or None, plan_only or None)
                return _probabilities(opened, out, fmt, source, slides, asked, as_json=as_json)
            events = choose_events(as_json)
            usual = Cleaning.usual(opened.info.spacing_um)
            cleaning = Cleaning(
                usual.min_object_px if min_object_px is None else min_object_px,
                usual.min_hole_px if min_hole_px is None else min_hole_px,
                smooth_px,
            )
            plan = plan_export(
                opened,
                fmt,
                source=source,
                slides=slides,
                cleaning=cleaning,
                what=what,
            )
            for each in plan.slides:
                events.emit(Message(text=planned_sentence(each), slide=each.slide))
            paths: list[Path] = []
            if plan_only:
                for left in plan.left_out:
                    text = f"{left.slide}: left out. {left.why}"
                    events.emit(Message(text=text, slide=left.slide))
            else:
                paths = export_labels(
                    opened,
                    out,
                    fmt,
                    source=source,
                    slides=slides,
                    cleaning=cleaning,
                    what=what,
                    plan=plan,
                    events=events,
                )
        if as_json:
            files = tuple(str(path) for path in paths)
            return say_done(ExportDone(files=files, slides=plan.slides, left_out=plan.left_out))
        for path in paths:
            say(str(path))
    return None


def _probabilities(
    project: Project,
    out: Path,
    fmt: str,
    source: Source,
    slides: list[str] | None,
    asked: tuple[object, ...],
    *,
    as_json: bool,
) -> None:
    from unisemalign.errors import DataError
    from unisemalign.inference import export_probabilities
    from unisemalign.protocol import ExportDone
    from unisemalign.runtime import CancelToken, cancel_on_signals

    if source == "labels" or any(each is not None for each in asked):
        raise DataError(
            "Probabilities are the network's own: --source labels, --min-object-px, "
            "--min-hole-px, --smooth-px and --plan do not go with them. Leave these out."
        )
    with cancel_on_signals(CancelToken()) as token:
        paths = export_probabilities(
            project,
            out,
            cast("ProbabilityFormat", fmt),
            slides=slides,
            events=choose_events(as_json),
            cancel=token,
        )
    if as_json:
        return say_done(ExportDone(files=tuple(map(str, paths))))
    for path in paths:
        say(str(path))
    return None
