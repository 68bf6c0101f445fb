"""Segmenting a slide of a project: resumable, streamed into the project's store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from unisemalign.errors import ProjectError, SettingsError
from unisemalign.geometry import Rect
from unisemalign.inference.adapting import adapted, look_of_training
from unisemalign.inference.bands import iter_bands
from unisemalign.inference.blending import Band
from unisemalign.inference.coarse import CoarseLook, coarse_factor
from unisemalign.inference.plan import Plan
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.storing import FinishedBands, Shelf, Storing
from unisemalign.model import load_network
from unisemalign.project import PredictionStore, Project, Round
from unisemalign.protocol import Message, Progress, Start, Written
from unisemalign.runtime import CancelToken, Events, Pace
from unisemalign.runtime.device import choose_device, choose_precision
from unisemalign.settings import Settings, build_settings
from unisemalign.settings.tree import validate_settings
from unisemalign.slides import SpacedSlide, TissueMask
from unisemalign.slides.ahead import ReadAhead, choose_readers

_SKETCH_WINDOWS = 12
"""A sketch of more would not be quick: such a target is looked at more coarsely."""
_BLEND = b"gaussian of an eighth"
"""A part of a model's identity: maps of another blend are not gone on with."""


def load_predictor(
    project: Project, number: int | None = None, overrides: Sequence[str] = ()
) -> tuple[Predictor, Round]:
    """Return the predictor of round ``number`` (``None``: the newest with weights), and the round.

    ``overrides`` such as ``inference.flips=true``, ``device=cpu`` or ``precision=float32`` change
    how it is used, not what it learned; other places are refused.

    Raises
    ------
    ProjectError
        If there is no trained round yet: the sentence says what to do first. Or if its classes
        are not the project's.
    SettingsError
        If an override does not exist or has no place here.
    WeightsError
        If its weights cannot be read.
    """
    found = project.latest_round() if number is None else project.round(number)
    if found is None:
        raise ProjectError(
            "Segmenting wants a trained round, this project has none yet. Label at least one "
            "region with every class in it, then train. Before that, 'unisemalign guess' makes a "
            "first guess."
        )
    weights = found.layout.weights
    network, settings, names = load_network(weights)
    check_classes(project, found.number, names)
    settings = _used_with(settings, overrides)
    where = choose_device(settings.device)
    learned = weights.read_bytes()
    reference = look_of_training(project) if settings.inference.match_stain else None
    if reference is not None:
        learned += reference.moments.tobytes()
    predictor = Predictor(network.to(where), settings, where, identify(learned, settings, where))
    predictor.reference = reference
    return predictor, found


def identify(network: bytes, settings: Settings, where: torch.device) -> str:
    """Return what tells a network, used in this way, from any other: for :class:`Predictor`.

    ``network`` holds, or stands for, all that was learned.
    """
    digest = hashlib.sha256(network)
    digest.update(_BLEND)
    inference = settings.inference
    # What is off changes no pixel: maps from before it could be asked for are gone on with.
    off = {name for name in ("match_stain", "slide_norms") if not getattr(inference, name)}
    used = inference.model_dump_json(exclude={"readers", "recent_mb", *off})
    digest.update(used.encode())
    digest.update(str(choose_precision(settings.precision, where)).encode())
    return digest.hexdigest()


def check_classes(project: Project, number: int, names: Sequence[str]) -> None:
    """Raise :class:`ProjectError` unless a round's classes are the project's, in its order."""
    wanted = [c.name for c in project.info.classes]
    if list(names) != wanted:
        raise ProjectError(
            f"Round {number} learned the classes {', '.join(names)}; the project has "
            f"{', '.join(wanted)}. Put them back in project.toml, or train with "
            f"--set training.start_from=scratch."
        )


def _used_with(settings: Settings, overrides: Sequence[str]) -> Settings:
    for text in overrides:
        if not text.startswith(("inference.", "device=", "precision=")):
            raise SettingsError(
                f"Only inference.…, device and precision can change after training, found '{text}'."
            )
    asked = build_settings(overrides=overrides)
    changed = {text.partition("=")[0].partition(".")[2] for text in overrides}
    inference = {name: getattr(asked.inference, name) for name in changed if name}
    tree = settings.model_dump()
    tree["inference"].update(inference)
    # The device a round was trained on may not be here.
    tree["device"] = asked.device
    if any(text.startswith("precision=") for text in overrides):
        tree["precision"] = asked.precision
    return validate_settings(tree)


@dataclass(frozen=True)
class OpenSlide:
    """A slide that stays open from one request to the next, with where its tissue is."""

    slide: SpacedSlide
    tissue: TissueMask | None

    def area_to_read(self, target: Rect) -> int:
        """Return about how many working pixels of ``target`` will be read."""
        return round(target.area * (1.0 if self.tissue is None else self.tissue.fraction(target)))


def open_for_segmenting(project: Project, name: str, predictor: Predictor) -> OpenSlide:
    """Open a slide and find its tissue, unless glass is to be labelled too.

    Raises
    ------
    SlideError
        If the file has moved, or cannot be read.
    """
    slide = project.open_slide(name)
    try:
        skip = predictor.settings.inference.skip_glass
        return OpenSlide(slide, project.tissue(name, slide) if skip else None)
    except BaseException:
        slide.slide.close()
        raise


def segment_slide(
    project: Project,
    name: str,
    predictor: Predictor,
    round_number: int,
    *,
    rect: Rect | None = None,
    focus: tuple[int, int] | None = None,
    sketch: bool = False,
    downsample: float = 1.0,
    opened: OpenSlide | None = None,
    shelf: Shelf | None = None,
    what: str = "Segmenting",
    events: Events,
    cancel: CancelToken,
) -> dict[str, Any]:
    """Label a slide, or ``rect`` of it, and store the result under the round.

    A whole slide that was interrupted, however rudely, goes on with the bands it lacks and ends
    with the result of an uninterrupted run; what is finished is left alone, unless the tissue there
    was corrected since. Emits ``start``, then ``progress``, and ``written`` with ``rect`` whenever
    a band has been stored; ``final`` tells whether these labels are to stay.

    Parameters
    ----------
    project, name
        Which slide.
    predictor, round_number
        What labels it.
    rect
        In working pixels; ``None``: the whole slide.
    focus
        A pixel ``(y, x)``: what lies near it is labelled first.
    sketch
        Show something soon: label a small ``rect`` from few windows first, without overlap, and a
        larger one at a coarser spacing (:meth:`PredictionStore.coarse`); then as it is to be.
    downsample
        Working pixels across a pixel of the screen the sketch is for: it is made no finer.
    opened
        The slide, where the caller keeps it open; ``None``: it is opened, and closed again.
    shelf
        Where the result is kept; ``None``: among the predictions of the round.
    what
        What ``start`` calls it.

    Returns
    -------
    dict
        ``slide``, ``round``, ``rect`` (``[y, x, h, w]``) and ``fresh``: whether anything was done;
        then also ``windows``, ``seconds``, of those ``wait_s`` waiting for readers, ``store_s``
        for storage and ``device_s`` the rest, in which the network was fed; and ``unreadable``,
        rectangles that could not be decoded and are unlabelled.

    Raises
    ------
    CancelledError
        If a stop was asked for.
    ProjectError
        If ``rect`` lies outside the slide, or the disk is full; :class:`BusyError` if another
        process segments the slide for this round.
    SlideError
        If the slide is not there, or goes away.
    """
    if opened is None:
        opened = open_for_segmenting(project, name, predictor)
        try:
            return segment_slide(
                project,
                name,
                predictor,
                round_number,
                rect=rect,
                focus=focus,
                sketch=sketch,
                downsample=downsample,
                opened=opened,
                shelf=shelf,
                what=what,
                events=events,
                cancel=cancel,
            )
        finally:
            opened.slide.slide.close()
    shelf = shelf or Shelf.of_round(project, round_number, name)
    with shelf.alone():
        return _segment_alone(
            name,
            predictor,
            round_number,
            rect=rect,
            focus=focus,
            sketch=sketch,
            downsample=downsample,
            opened=opened,
            shelf=shelf,
            what=what,
            events=events,
            cancel=cancel,
        )


def _segment_alone(
    name: str,
    predictor: Predictor,
    round_number: int,
    *,
    rect: Rect | None,
    focus: tuple[int, int] | None,
    sketch: bool,
    downsample: float,
    opened: OpenSlide,
    shelf: Shelf,
    what: str,
    events: Events,
    cancel: CancelToken,
) -> dict[str, Any]:
    """Do what :func:`segment_slide` says, while nobody else writes this prediction."""
    whole = Rect(0, 0, *opened.slide.shape_yx)
    target = whole if rect is None else rect.intersect(whole)
    if target.area == 0:
        raise ProjectError(
            f"The region {rect} wants to lie on '{name}', which is {whole.h} × {whole.w} px at "
            f"working spacing. Choose one inside."
        )
    store, progress = _taken_up(shelf, predictor, opened.tissue)
    store.wait_for_disk(target == whole)
    inference = predictor.settings.inference
    planned = partial(Plan, whole.shape, inference, target, finished=progress.finished)
    plan, quick = planned(focus=focus), planned(sketch=True)
    result: dict[str, Any] = {
        "slide": name,
        "round": round_number,
        "rect": [target.y, target.x, target.h, target.w],
        "fresh": plan.total > 0,
    }
    if not plan.total:
        return result
    if target == whole:
        store.remove_torn()
    events.emit(Start(what=f"{what} {name}"))
    predictor = adapted(predictor, opened.slide, opened.tissue)
    clock = time.perf_counter()
    store_s = wait_s = 0.0
    small = sketch and quick.total <= _SKETCH_WINDOWS
    coarse: CoarseLook | None = None
    if sketch and not small and (factor := coarse_factor(downsample)) > 1:
        coarse = CoarseLook(opened.slide, opened.tissue, inference, factor, target, focus)
    before = 0 if coarse is None else coarse.plan.total
    pace = Pace(before + plan.total)

    def on_window(storing: Storing, before: int | None, done: int, _total: int) -> None:
        storing.look()
        cancel.check()
        if before is not None:
            pace.done = before + done
            events.emit(Progress(done=pace.done, total=pace.total, eta_s=pace.eta_s))

    def tell(r: Rect, final: bool) -> None:
        events.emit(Written(slide=name, round=round_number, rect=r, final=final))

    def on_coarse(look: CoarseLook, band: Band) -> None:
        tell(look.at_working(band.rect), False)

    def on_stored(final: bool, band: Band) -> None:
        if final and target == whole:
            progress.finish(band.rect)
        tell(band.rect, final)

    def label(
        source: ReadAhead,
        store: PredictionStore,
        plan: Plan,
        tissue: TissueMask | None,
        on_stored: Callable[[Band], None],
        before: int | None,
        finished: Callable[[Band], Band] = predictor.labelled,
    ) -> float:
        """Label ``plan`` into ``store``; return the seconds spent waiting for the disk."""
        with Storing(store, on_stored) as storing:
            on_some = partial(on_window, storing, before)
            for band in iter_bands(source, predictor, plan, tissue=tissue, on_window=on_some):
                storing.put(finished(band))
        return storing.waited_s

    if coarse is not None:
        look, to = coarse, store.coarse(coarse.factor)
        readers = choose_readers(inference.readers, look.slide, look.plan.target.area)
        with ReadAhead(look.slide, readers) as source:
            store_s += label(
                source,
                to,
                look.plan,
                look.tissue,
                partial(on_coarse, look),
                0,
                lambda band: look.without_glass(predictor.labelled(band)),
            )
        wait_s += source.waited_s
    readers = choose_readers(inference.readers, opened.slide, opened.area_to_read(target))
    with ReadAhead(opened.slide, readers, progress.unreadable) as source:
        if small:
            store_s += label(source, store, quick, opened.tissue, partial(on_stored, False), None)
        store_s += label(source, store, plan, opened.tissue, partial(on_stored, True), before)
    wait_s += source.waited_s
    seconds = time.perf_counter() - clock
    if source.unreadable:
        events.emit(
            Message(
                text=f"{len(source.unreadable)} places of '{name}' cannot be decoded and are left "
                f"unlabelled. Copy the slide again from its source to have them too.",
            )
        )
    return {
        **result,
        "windows": plan.total,
        "seconds": round(seconds, 3),
        "wait_s": round(wait_s, 3),
        "store_s": round(store_s, 3),
        "device_s": round(seconds - wait_s - store_s, 3),
        "unreadable": [[r.y, r.x, r.h, r.w] for r in source.unreadable],
    }


def _taken_up(
    shelf: Shelf, predictor: Predictor, tissue: TissueMask | None
) -> tuple[PredictionStore, FinishedBands]:
    """Return where the prediction goes, and what of it is there already."""

    def mask_of(band: Rect) -> str:
        # Windows that touch the band reach over it by less than their side.
        reach = band.grown(predictor.settings.inference.window_px)
        return "" if tissue is None else tissue.digest(reach)

    if not shelf.is_there():
        # A folder that a person deleted leaves a note of what it held.
        shelf.clear()
    store = shelf.take()
    progress = FinishedBands(store, predictor.identity, mask_of)
    if progress.of_other_model:
        # The round has learned more since, or is used in another way: no map of two models.
        shelf.clear()
        store = shelf.take()
        progress = FinishedBands(store, predictor.identity, mask_of)
    if progress.outdated:
        # From the first band on it is known whose they are, and which are about to be redone.
        progress.write()
    return store, progress
