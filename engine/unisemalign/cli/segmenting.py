"""The verb ``segment`` over many slides: one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from unisemalign.cli.output import say
from unisemalign.errors import BusyError, DataError, SlideError
from unisemalign.exchange import area_by_class
from unisemalign.geometry import Rect
from unisemalign.project import Project
from unisemalign.protocol import Message, NotSegmented, Progress, SegmentDone, Segmented, Start
from unisemalign.runtime import CancelToken, Events

Results = Iterator[Segmented | NotSegmented]


def check_choices(
    slides: Sequence[str],
    rect: Rect | None,
    focus: tuple[int, int] | None,
    dask: str | None,
) -> None:
    """Raise :class:`DataError` where choices do not go together."""
    for what, given in (("region", rect), ("focus", focus)):
        if given is not None and len(slides) != 1:
            raise DataError(f"A {what} needs exactly one slide. Name it: segment PROJECT SLIDE.")
        if given is not None and dask:
            raise DataError("--dask labels whole slides. Leave --region and --focus out.")


def segment_here(
    project: Project,
    names: Sequence[str],
    round_number: int | None,
    overrides: Sequence[str],
    rect: Rect | None,
    focus: tuple[int, int] | None,
    events: Events,
    cancel: CancelToken,
) -> Results:
    """Label slides one after the other; yield each one's result, or why there is none."""
    from unisemalign.inference import load_predictor, segment_slide

    predictor, found = load_predictor(project, round_number, overrides)
    for name in names:
        try:
            yield segment_slide(
                project,
                name,
                predictor,
                found.number,
                rect=rect,
                focus=focus,
                events=events,
                cancel=cancel,
            )
        except (SlideError, BusyError) as error:
            yield NotSegmented(slide=name, text=str(error))


def segment_with_dask(
    project: Project,
    names: Sequence[str],
    round_number: int | None,
    overrides: Sequence[str],
    address: str,
    events: Events,
    cancel: CancelToken,
) -> Results:
    """Label whole slides on a Dask cluster; yield what :func:`segment_here` would."""
    from unisemalign.inference import load_predictor
    from unisemalign.inference.cluster import segment_on_cluster

    # Loaded here too: what is wrong with the round is told before anything starts.
    _, found = load_predictor(project, round_number, overrides)
    events.emit(Start(what=f"Segmenting {len(names)} slides", total=len(names)))
    results = segment_on_cluster(
        project.root, names, found.number, overrides, address=address, cancel=cancel
    )
    for done, result in enumerate(results, start=1):
        yield result
        events.emit(Progress(done=done, total=len(names)))


def report_results(
    project: Project,
    total: int,
    results: Iterable[Segmented | NotSegmented],
    events: Events,
    *,
    as_json: bool,
) -> None:
    """Tell each slide's result as it comes.

    Raises
    ------
    SlideError
        At the end, if slides failed: which, and of how many. The others are labelled.
    """
    failed = []
    for result in results:
        name = result.slide
        if isinstance(result, NotSegmented):
            if total == 1:
                raise SlideError(result.text)
            failed.append(name)
            events.emit(Message(slide=name, text=f"{name}: {result.text}"))
            continue
        area = area_by_class(project, name, result.round)
        events.emit(SegmentDone(**dict(result), area=area))
        if not as_json:
            shares = ", ".join(f"{k} {100 * v:.1f} %" for k, v in area.items())
            fresh = "" if result.fresh else " (finished before)"
            say(f"{name}: {shares}{fresh}")
    if failed:
        raise SlideError(
            f"{len(failed)} of {total} slides could not be segmented: {', '.join(failed)}. The "
            f"others are labelled; start the same command again for these."
        )
