"""The one sentence that says what to do next, and the section it belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from napari_unisemalign.session.permissions import ALL_ASKED, resumable_round
from napari_unisemalign.session.session import Session
from unisemalign.project import Region, Round, SlideRecord, Split

ENOUGH_ACCEPTED = 3
"""Regions accepted since the last round after which another one is worth its minutes."""


def next_step(
    session: Session,
    slides: Sequence[SlideRecord],
    rounds: Sequence[Round],
    newest: Round | None,
    queue: Sequence[Region],
    shown: int | None,
) -> tuple[str, str]:
    """Return what to do next, and the section it belongs to."""
    if session.project is None:
        if session.loose_slides:
            return "Press New project… : the slide you opened becomes its first.", "open"
        return "Press New project… to begin, or Open project… to go on with one.", "open"
    if not slides and session.loose_slides:
        return "Press Add the shown slide to the project.", "open"
    if not slides:
        return "Press Open slide… to add the project's first slide.", "open"
    if session.slide is None:
        return "Press a slide's name in the list to show it.", "open"
    if session.edit is not None:
        return _step_in_region(session), "review"
    if session.training is not None:
        return _step_in_training(newest, queue)
    stopped = resumable_round(rounds)
    if stopped is not None and rounds and rounds[-1].number == stopped.number:
        return (
            f"Round {stopped.number} was stopped before its end: press Resume in Train, "
            f"or Start for a new round.",
            "train",
        )
    if newest is None:
        return _step_with_guess(session, queue) or _step_without_model(session)
    return _step_with_model(session, newest, queue, shown)


def _step_in_region(session: Session) -> str:
    edit = session.edit
    if edit is not None and edit.restored and not edit.strokes:
        return "Your strokes from last time are here: go on painting, then press Accept (C)."
    if edit is not None and not edit.values.any():
        return "Choose a class and paint what you know in the region, then press Accept (C)."
    if edit is not None and edit.predicted.any():
        return "Paint over what is wrong, then press Accept (C) or Skip."
    return "Paint every class you see in the region, then press Accept (C)."


def _step_in_training(newest: Round | None, queue: Sequence[Region]) -> tuple[str, str]:
    if newest is None or not queue:
        return "The model is learning. Meanwhile, mark and label another region.", "review"
    return "The model is learning. Meanwhile, press Next region (N) and label on.", "review"


def _step_with_guess(session: Session, queue: Sequence[Region]) -> tuple[str, str] | None:
    """Return what to do about a first guess; ``None`` when there is nothing to do about it."""
    if session.segmenting is not None:
        return "Making a first guess. It appears as it is made.", "segment"
    if session.labelled_values():
        return None
    note = session.guess_note()
    if note is None:
        return (
            "Press View in Segment (S) for a first guess, or Mark region on tissue you know: the "
            "model learns from what you label there.",
            "segment",
        )
    if note.waiting:
        return (
            "Say in Segment what the clusters are, then press Use these names. Or press Mark "
            "region and label by hand.",
            "segment",
        )
    if queue:
        return "Press Next region (N) and correct the first guess where it is unsure.", "review"
    return "Press Next region (N), or Mark region, and correct the first guess there.", "review"


def _step_without_model(session: Session) -> tuple[str, str]:
    missing = _missing_classes(session)
    if missing and len(missing) == len(session.project.info.classes if session.project else ()):
        return (
            "Zoom in to tissue you know and press Mark region: the model learns from what you "
            "label there.",
            "review",
        )
    if missing:
        return (
            f"Mark and label a region that shows {_listed(missing)}: "
            f"nothing is labelled so yet. Or press Start in Train without it.",
            "review",
        )
    return "Press Start in Train: the model learns from what you labelled.", "train"


def _step_with_model(
    session: Session, newest: Round, queue: Sequence[Region], shown: int | None
) -> tuple[str, str]:
    if session.segmenting is not None and not session.live:
        return "Segmenting. The labels appear as they are made.", "segment"
    if (shown is None or shown < newest.number) and not session.live:
        what = "see what it learned" if shown is None else f"see round {newest.number}"
        return (
            f"Press View in Segment (S) to {what} in what you look at.",
            "segment",
        )
    accepted = accepted_since(session, newest)
    if accepted >= ENOUGH_ACCEPTED:
        return (
            f"Press Start in Train: {accepted} regions were accepted since round {newest.number}.",
            "train",
        )
    if queue:
        return "Press Next region (N): the model shows where it is unsure and why.", "review"
    if session.ranking:
        return "Looking for the regions the model doubts most.", "review"
    if session.all_asked:
        return ALL_ASKED, "segment"
    return "Press Next region (N) to look for what the model doubts, or Export.", "review"


def accepted_since(session: Session, newest: Round | None) -> int:
    """Count regions accepted after ``newest`` was trained."""
    if session.project is None:
        return 0
    accepted = session.records.accepted(Split.TRAIN)
    number = None if newest is None else newest.number
    return sum(region.round == number for region in accepted)


def _missing_classes(session: Session) -> list[str]:
    if session.project is None:
        return []
    there = session.labelled_values()
    names = [each.name for each in session.project.info.classes]
    return [name for value, name in enumerate(names, start=1) if value not in there]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
