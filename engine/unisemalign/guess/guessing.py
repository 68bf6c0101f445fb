"""From a guess to a map on disk: numbers of clusters, or classes of round 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unisemalign.errors import ProjectError
from unisemalign.geometry import Rect
from unisemalign.guess.clusters import WINDOW_PX, cluster_network, find_clusters
from unisemalign.guess.network import GuessNetwork
from unisemalign.guess.words import words_network
from unisemalign.inference import Predictor, SegmentJob, open_for_segmenting
from unisemalign.inference.loading import identify
from unisemalign.inference.storing import PredictionSlot
from unisemalign.project import FIRST_ROUND, FirstGuess, GuessNote, Project
from unisemalign.project.first_guess import cluster_values
from unisemalign.protocol import Progress, Start
from unisemalign.runtime import CancelToken, Events
from unisemalign.runtime.device import choose_device
from unisemalign.settings import build_settings
from unisemalign.weights import Published

_WINDOW_LIMITS_PX = (64, 4096)
_MORE_CLUSTERS = 3
"""Clusters looked for beyond the classes: five served GlaS's two best (``benchmarks/guess.py``)."""


def guess_by_clusters(
    project: Project,
    slides: Sequence[str],
    rect: Rect | None,
    count: int | None,
    *,
    seed: int = 0,
    events: Events,
    cancel: CancelToken,
) -> GuessNote:
    """Map the clusters of ``slides``, or of ``rect`` of the one slide.

    Clusters found before are kept, with their names, so that another slide or view is told in the
    same terms; ``count`` looks for them anew and, if others are found, forgets the old. Named
    clusters become classes of round 0 at once. What was interrupted goes on with the bands it
    lacks, as a :class:`SegmentJob` does.

    Raises
    ------
    DataError
        If there is no tissue to look at.
    ProjectError
        If ``rect`` lies off the slide.
    """
    guess = FirstGuess(project)
    note = guess.note()
    if count is not None or note is None or note.made_by != "clusters":
        events.emit(Start(what="Looking for what is alike", total=len(slides)))

        def on_slide(done: int, total: int) -> None:
            cancel.check()
            events.emit(Progress(done=done, total=total))

        wanted = count or len(project.info.classes) + _MORE_CLUSTERS
        found = find_clusters(project, slides, rect, wanted, seed=seed, on_slide=on_slide)
        if note is None or not found.same_clusters(note):
            guess.forget()
            note = found
            guess.write_note(note)
    network = cluster_network(note, project.info.spacing_um, range(len(note.directions)))
    mapper = _Mapper(project, _predictor(network, WINDOW_PX), events, cancel)
    for name in slides:
        slot = PredictionSlot(
            FIRST_ROUND,
            partial(guess.has_clusters, name),
            partial(guess.clusters, name, create=True),
            partial(guess.remove_clusters, name),
            partial(guess.lock_clusters, name),
        )
        note = note.with_rect(name, mapper.map(name, rect, slot))
        guess.write_note(note)
        if not note.waiting:
            _write_classes(project, note, {name: [Rect(*note.rects[name][-1])]}, events, cancel)
    note = note.model_copy(update={"shares": _shares(project, guess, note)})
    guess.write_note(note)
    return note


def name_clusters(
    project: Project, names: Mapping[int, str], *, events: Events, cancel: CancelToken
) -> GuessNote:
    """Make classes of the clusters: round 0 wherever clusters were mapped.

    The same names again go on with what is lacking.

    Raises
    ------
    ProjectError
        If there are no clusters yet.
    DataError
        If a cluster or a class does not exist, or no cluster becomes a class.
    """
    guess = FirstGuess(project)
    note = guess.note()
    if note is None or note.made_by != "clusters":
        raise ProjectError(
            "Names need clusters, this project has none yet. Run 'unisemalign guess PROJECT "
            "--clusters 4' first."
        )
    values = cluster_values(names, len(note.directions), project.info.class_names)
    if values != note.names:
        note = note.model_copy(update={"names": values})
        guess.forget_classes()
        guess.write_note(note)
    there = {slide.name for slide in project.slides()}
    rects = {
        name: [Rect(*box) for box in boxes] for name, boxes in note.rects.items() if name in there
    }
    _write_classes(project, note, rects, events, cancel)
    return note


def guess_by_words(
    project: Project,
    slides: Sequence[str],
    rect: Rect | None,
    pair: Published,
    *,
    path: Path | None = None,
    events: Events,
    cancel: CancelToken,
) -> GuessNote:
    """Map ``slides`` by how alike tissue and class words are to a vision–language ``pair``.

    ``path`` is the person's own copy of the pair's file.

    Raises
    ------
    WeightsError
        If the pair's weights are not here or do not fit.
    ProjectError
        If ``rect`` lies off the slide.
    """
    guess = FirstGuess(project)
    note = guess.note()
    about = project.info
    network, side_px = words_network(pair, path, about.classes, about.spacing_um)
    if note is None or note.made_by != "words" or note.model != pair.name:
        guess.forget()
        note = GuessNote(made_by="words", model=pair.name)
    project.create_first_round(made_by=f"words: {pair.name}")
    mapper = _Mapper(project, _predictor(network, side_px, overlap=0.5), events, cancel)
    for name in slides:
        note = note.with_rect(name, mapper.map(name, rect))
        guess.write_note(note)
    return note


def _write_classes(
    project: Project,
    note: GuessNote,
    rects: Mapping[str, Sequence[Rect]],
    events: Events,
    cancel: CancelToken,
) -> None:
    """Write what named clusters stand for into round 0.

    Computed anew rather than looked up: between two clusters of one class there is no doubt.
    """
    # Clusters that are no class share an answer of their own, which is written as 0.
    kinds = [*sorted(set(note.names) - {0}), 0]
    answers = [kinds.index(value) for value in note.names]
    network = cluster_network(note, project.info.spacing_um, answers)
    mapper = _Mapper(project, _predictor(network, WINDOW_PX, values=kinds), events, cancel)
    project.create_first_round(made_by="clusters")
    for name, boxes in rects.items():
        for box in boxes:
            mapper.map(name, box)


@dataclass(frozen=True)
class _Mapper:
    """Maps slides by what a predictor answers."""

    project: Project
    predictor: Predictor
    events: Events
    cancel: CancelToken

    def map(self, name: str, rect: Rect | None, slot: PredictionSlot | None = None) -> Rect:
        """Map ``rect`` of a slide (``None``: all of it), and return what it was.

        ``slot`` is where the map is kept; ``None``: in round 0.
        """
        opened = open_for_segmenting(self.project, name, self.predictor)
        try:
            return (
                SegmentJob(
                    opened,
                    self.predictor,
                    slot or PredictionSlot.of_round(self.project, FIRST_ROUND, name),
                    rect=rect,
                    what="Guessing",
                    events=self.events,
                    cancel=self.cancel,
                )
                .run()
                .rect
            )
        finally:
            opened.slide.slide.close()


def _predictor(
    network: GuessNetwork,
    side_px: int,
    overlap: float = 0.25,
    values: Sequence[int] | None = None,
) -> Predictor:
    """Return a predictor whose windows are ``side_px`` pixels of the encoder's input."""
    window = int(np.clip(round(side_px / network.settings.zoom), *_WINDOW_LIMITS_PX))
    overrides: dict[str, Any] = {
        "inference.window_px": window,
        "inference.stride_px": round(window * (1 - overlap)),
        "inference.answer": "decoder",
        "precision": "float32",  # in fewer digits, a cosine over a small temperature is lost
    }
    settings = build_settings(overrides=overrides)
    device = choose_device(settings.device)
    identity = identify(network.fingerprint() + repr(values).encode(), settings, device)
    return Predictor(network.to(device), settings, device, identity, values)


def _shares(project: Project, guess: FirstGuess, note: GuessNote) -> tuple[float, ...]:
    """Return the part of the mapped tissue each cluster takes, from the coarsest levels."""
    counts = np.zeros(len(note.directions) + 1)
    for slide in project.slides():
        if slide.name not in note.rects:
            continue
        store = guess.clusters(slide.name, create=True)
        coarse = np.asarray(store.levels("class")[-1][:, :])
        counts += np.bincount(coarse.ravel(), minlength=len(counts)) * 4.0 ** (store.n_levels - 1)
    return tuple((counts[1:] / max(1.0, counts[1:].sum())).tolist())
