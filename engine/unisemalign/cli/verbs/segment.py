"""``segment``, ``guess``, ``queue``, ``serve``: maps of slides, and what to look at in them."""

from __future__ import annotations

from typing import Annotated

import typer

from unisemalign.cli.options import (
    AsJson,
    Focus,
    Overrides,
    ProjectPath,
    Region,
    RoundNumber,
    Seed,
    Slides,
    parse_names,
    read_option,
)
from unisemalign.cli.output import (
    choose_events,
    errors_as_sentences,
    open_project,
    say,
    say_done,
)
from unisemalign.geometry import parse_point, parse_rect
from unisemalign.terms import (
    MAX_CLUSTERS,
    MAX_REGION_PX,
    MAX_REGIONS,
    MIN_CLUSTERS,
    MIN_REGION_PX,
)


def segment(
    project: ProjectPath,
    slides: Slides = None,
    region: Region = None,
    focus: Focus = None,
    round_number: RoundNumber = None,
    overrides: Overrides = None,
    dask: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS|local", help="Share the slides out to a Dask cluster."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Segment slides with the newest round's model. What is finished is not done again."""
    rect, near = read_option(parse_rect, region), read_option(parse_point, focus)
    with errors_as_sentences(as_json):
        from unisemalign.cli.segmenting import (
            check_choices,
            report_results,
            segment_here,
            segment_with_dask,
        )
        from unisemalign.runtime import CancelToken, cancel_on_signals

        with open_project(project) as opened, cancel_on_signals(CancelToken()) as token:
            check_choices(slides or [], rect, near, dask)
            names = slides or [record.name for record in opened.slides()]
            known = [opened.slide(name).name for name in names]
            events, more = choose_events(as_json), overrides or []
            if dask:
                results = segment_with_dask(opened, known, round_number, more, dask, events, token)
            else:
                results = segment_here(opened, known, round_number, more, rect, near, events, token)
            report_results(opened, len(known), results, events, as_json=as_json)


def guess(
    project: ProjectPath,
    slides: Slides = None,
    region: Region = None,
    words: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Compare tissue with class words; NAME or NAME=PATH."),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(min=MIN_CLUSTERS, max=MAX_CLUSTERS, metavar="K", help="Find K clusters anew."),
    ] = None,
    names: Annotated[
        str | None, typer.Option(metavar="1=CLASS,2=none,…", help="Name the clusters there are.")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Make a first map before anything is labelled: from words, or from clusters you name.

    Words need a vision-language pair whose weights are here (conch, plip, quiltnet-b-16, …).
    Without one, tissue that looks alike is gathered into clusters; --names says what they are.
    """
    rect, named = read_option(parse_rect, region), read_option(parse_names, names)
    with errors_as_sentences(as_json):
        from unisemalign.cli.guessing import make_guess, sentences
        from unisemalign.runtime import CancelToken, cancel_on_signals

        with open_project(project) as opened, cancel_on_signals(CancelToken()) as token:
            events = choose_events(as_json)
            done = make_guess(
                opened,
                slides or [],
                rect,
                words=words,
                clusters=clusters,
                names=named,
                seed=seed,
                events=events,
                cancel=token,
            )
        events.emit(done)
        if not as_json:
            for line in sentences(done, project):
                say(line)


def queue(
    project: ProjectPath,
    count: Annotated[int, typer.Option(min=1, max=MAX_REGIONS)] = 10,
    size_px: Annotated[
        int, typer.Option(min=MIN_REGION_PX, max=MAX_REGION_PX, help="Side of a region.")
    ] = 256,
    as_json: AsJson = False,
) -> None:
    """List the regions most worth a look, best first, with the reason."""
    with errors_as_sentences(as_json):
        from unisemalign.cli.queueing import rank

        with open_project(project) as opened:
            done = rank(opened, count=count, size_px=size_px, events=choose_events(as_json))
        if as_json:
            return say_done(done)
        for r in done.regions:
            score = "–" if r.score is None else f"{r.score:.3f}"
            say(f"{score}  {r.slide}  {r.rect}  {r.reason}")
        if not done.regions:
            say(
                "Nothing is left to doubt: every predicted region is labelled, skipped or held out."
            )
    return None


def serve(project: ProjectPath, overrides: Overrides = None) -> None:
    """Answer a viewer's requests: JSON lines in, events out."""
    with errors_as_sentences(as_json=True):
        from unisemalign.cli.serving import serve_requests

        with open_project(project) as opened:
            serve_requests(opened, overrides or [])
