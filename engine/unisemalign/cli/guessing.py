"""The first guess: which way it is made, and what the person is told of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unisemalign.errors import DataError, SettingsError
from unisemalign.geometry import Rect
from unisemalign.project import FIRST_ROUND, NO_CLASS, FirstGuess, GuessNote, Project
from unisemalign.protocol import Cluster, GuessDone
from unisemalign.runtime import CancelToken, Events
from unisemalign.weights import Published


def make_guess(
    project: Project,
    slides: Sequence[str] = (),
    rect: Rect | None = None,
    *,
    words: str | None = None,
    clusters: int | None = None,
    names: Mapping[int, str] | None = None,
    seed: int = 0,
    events: Events,
    cancel: CancelToken,
) -> GuessDone:
    """Guess by words or clusters, or name the clusters, and return what came of it.

    Parameters
    ----------
    slides
        Which slides; empty: all of the project.
    rect
        Of the one slide, in working pixels; ``None``: all of it.
    words, clusters, names
        The way: a pair's name (or ``NAME=PATH``), how many clusters to look for anew, or the
        class of each cluster. At most one of them; none: the way that suits the project.

    Raises
    ------
    SettingsError, DataError
        If the choices contradict one another, or name what there is not.
    """
    if sum(each is not None for each in (words, clusters, names)) > 1:
        raise SettingsError(
            "A first guess needs one of --words, --clusters and --names, found more. Choose one."
        )
    if rect is not None and len(slides) != 1:
        raise DataError("A region needs exactly one slide. Name it: guess PROJECT SLIDE.")
    from unisemalign.guess import guess_by_clusters, guess_by_words, name_clusters

    known = [project.slide(name).name for name in slides or [r.name for r in project.slides()]]
    if not known:
        raise DataError(
            f"A first guess needs a slide, found none in the project. Run 'unisemalign add "
            f"{project.root.name} SLIDE' first."
        )
    if names is not None:
        note = name_clusters(project, names, events=events, cancel=cancel)
        return guess_done(project, note, list(note.rects))
    if (found := _pair(project, words, clusters)) is not None:
        pair, path = found
        note = guess_by_words(project, known, rect, pair, path=path, events=events, cancel=cancel)
    else:
        note = guess_by_clusters(
            project, known, rect, clusters, seed=seed, events=events, cancel=cancel
        )
    return guess_done(project, note, known)


def _pair(
    project: Project, words: str | None, clusters: int | None
) -> tuple[Published, Path | None] | None:
    """Return the pair to use; none where clusters are asked for, or are what there is already."""
    from unisemalign.guess import find_pair

    note = FirstGuess(project).note()
    begun = note is not None and note.made_by == "clusters"
    if clusters is not None or (words is None and begun):
        return None
    return find_pair(words, project.info.text)


def sentences(done: GuessDone, project: Path) -> Iterator[str]:
    """Yield what a person reads after a guess."""
    if done.waiting:
        for row in done.clusters:
            yield f"cluster {row.number}: {100 * row.share:.1f} % of the tissue"
        example = ",".join(f"{row.number}=CLASS" for row in done.clusters[:2])
        yield (
            f"The clusters wait for names. Look at them in the viewer, then: unisemalign guess "
            f"{project} --names {example},…"
        )
        return
    made = done.model if done.made_by == "words" else "clusters you named"
    yield f"Round {FIRST_ROUND}, a first guess from {made}: {', '.join(done.slides)}."
    yield f"Correct it in the viewer, or look at its doubts: unisemalign queue {project}"


def guess_done(project: Project, note: GuessNote, slides: list[str]) -> GuessDone:
    """Return the result of a guess of ``slides``, whose ``note`` it is."""
    names = (NO_CLASS, *project.info.class_names)
    return GuessDone(
        round=None if note.waiting else FIRST_ROUND,
        made_by=note.made_by,
        model=note.model,
        waiting=note.waiting,
        slides=tuple(slides),
        clusters=tuple(
            Cluster(
                number=number,
                share=round(share, 4),
                name=names[note.names[number - 1]] if note.names else None,
            )
            for number, share in enumerate(note.shares, start=1)
        ),
    )
