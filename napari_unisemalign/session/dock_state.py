"""What the person sees, resolved from the session: frozen, comparable, tested without a window."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

from napari_unisemalign.session.progress import SegmentProgress, TrainingProgress
from napari_unisemalign.session.session import Session
from unisemalign.project import (
    FIRST_ROUND,
    NO_CLASS,
    GuessNote,
    Region,
    RegionState,
    Round,
    SlideRecord,
    Split,
)

ENOUGH_ACCEPTED = 3
"""Regions accepted since the last round after which another one is worth its minutes."""

NEED_PROJECT = "Open or make a project first."
NEED_SLIDE = "Put a slide on show first: press its name in the list."
NEED_REGION = "Open a region first: press Next region or Mark region."
NOTHING_TO_REVIEW = "There is no model yet that could doubt. Press View in Segment, or Mark region."
LIVE = "Label whatever the window shows, by itself, whenever it comes to rest. Off: press View."
RANKING_WAITS = "A segmentation runs. What the model doubts is looked for when it is done."


@dataclass(frozen=True)
class Permission:
    """Whether something can be done now; ``why`` is the sentence for the button's tooltip."""

    possible: bool
    why: str


@dataclass(frozen=True)
class SlideItem:
    """One line of the slide list."""

    name: str
    split: str
    current: bool
    missing: bool


@dataclass(frozen=True)
class QueueItem:
    """One line of the review list."""

    region_id: int
    title: str
    reason: str
    begun: bool
    current: bool


@dataclass(frozen=True)
class RoundItem:
    """One line of the rounds table."""

    number: int
    state: str
    method: str
    dice: float | None
    resumable: bool


@dataclass(frozen=True)
class ClassItem:
    """One class: its label value, name, colour and share of the slide's predicted area."""

    value: int
    name: str
    color: str
    share: float | None


@dataclass(frozen=True)
class ClusterItem:
    """One cluster of a first guess: its colour, share of the tissue, and the class it stands for.

    ``value`` is a label value, 0 for no class and ``None`` while it waits for a name.
    """

    number: int
    color: str
    share: float
    value: int | None


@dataclass(frozen=True)
class DockState:
    """Everything the dock shows. Two equal states look the same."""

    next_step: str
    next_section: str
    project: str | None
    about_model: str
    classes: tuple[ClassItem, ...]
    clusters: tuple[ClusterItem, ...]
    guessed: bool
    slides: tuple[SlideItem, ...]
    loose_slides: bool
    queue: tuple[QueueItem, ...]
    queue_note: str
    rounds: tuple[RoundItem, ...]
    region_title: str
    region_held: bool
    round_shown: int | None
    segmenting: SegmentProgress | None
    training: TrainingProgress | None
    segment_note: str
    measure_note: str
    add_slide: Permission
    segment_view: Permission
    segment_region: Permission
    segment_slide: Permission
    live: Permission
    live_on: bool
    name_clusters: Permission
    mark: Permission
    next_region: Permission
    edit: Permission
    undo: Permission
    redo: Permission
    train: Permission
    resume: Permission
    export: Permission
    import_labels: Permission


def resolve_state(session: Session) -> DockState:
    """Return what the dock shows for ``session`` as it is now."""
    project = session.project
    slides = [] if project is None else project.slides()
    rounds = session.rounds()
    newest = session.latest_round()
    queue = session.queue()
    shown = session.prediction_round()
    guess = None if newest is not None else session.guess_note()
    trained = [each for each in rounds if each.number > FIRST_ROUND]
    step, section = _next_step(session, slides, trained, newest, queue, shown)
    begun = session.edit is not None
    segmenting = _segment_act(session)
    what = "Segment" if newest is not None else "Make a first guess of"
    return DockState(
        next_step=step,
        next_section=section,
        project=None if project is None else project.root.name,
        about_model=_about_model(session),
        classes=_classes(session),
        clusters=_clusters(guess),
        guessed=guess is not None,
        slides=tuple(
            SlideItem(each.name, each.split.value, each.name == session.slide, not _there(each))
            for each in slides
        ),
        loose_slides=bool(session.pending_slides),
        queue=tuple(_queue_item(region, session) for region in queue),
        queue_note=_queue_note(session, queue),
        rounds=tuple(_round_item(each, session) for each in rounds),
        region_title=_region_title(session),
        region_held=begun and session.edit is not None and _held(session.edit.region),
        round_shown=shown,
        segmenting=session.segmenting,
        training=session.training,
        segment_note=_segment_note(session, newest, guess, segmenting),
        measure_note=_measure_note(session, trained),
        add_slide=Permission(
            True, "Show a slide and, when a project is open, add it to the project."
        ),
        segment_view=_or(segmenting, f"{what} what the window shows (S)."),
        segment_region=segmenting
        if not segmenting.possible
        else Permission(begun, f"{what} the open region." if begun else NEED_REGION),
        segment_slide=_or(segmenting, f"{what} the whole slide; it can be stopped at any time."),
        live=_on_slide(session, LIVE),
        live_on=session.live,
        name_clusters=_or(segmenting, "Make classes of the clusters; names can be changed later."),
        mark=_on_slide(session, "Make a region in the middle of the view and label it."),
        next_region=_next_act(session, queue),
        edit=Permission(begun, "" if begun else NEED_REGION),
        undo=_undo_act(session),
        redo=_redo_act(session),
        train=_train_act(session),
        resume=_resume_act(session, trained),
        export=_export_act(session),
        import_labels=_on_slide(session, "Read this slide's labels from a mask or GeoJSON file."),
    )


# -- the one sentence ---------------------------------------------------------------------------


def _next_step(
    session: Session,
    slides: Sequence[SlideRecord],
    rounds: Sequence[Round],
    newest: Round | None,
    queue: Sequence[Region],
    shown: int | None,
) -> tuple[str, str]:
    if session.project is None:
        if session.pending_slides:
            return "Press New project… : the slide you opened becomes its first.", "open"
        return "Press New project… to begin, or Open project… to go on with one.", "open"
    if not slides and session.pending_slides:
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
    if edit is not None and edit.restored and not edit.dirty:
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
    if session.queueing:
        return "Looking for the regions the model doubts most.", "review"
    return "Press Next region (N) to look for what the model doubts, or Export.", "review"


def accepted_since(session: Session, newest: Round | None) -> int:
    """Count regions accepted after ``newest`` was trained."""
    if session.project is None:
        return 0
    accepted = session.project.regions(state=RegionState.ACCEPTED, split=Split.TRAIN)
    number = None if newest is None else newest.number
    return sum(region.round == number for region in accepted)


def resumable_round(rounds: Sequence[Round]) -> Round | None:
    """Return the newest round if it stopped before its end."""
    if rounds and rounds[-1].state in {"cancelled", "running"}:
        return rounds[-1]
    return None


def _missing_classes(session: Session) -> list[str]:
    if session.project is None:
        return []
    there = session.labelled_values()
    names = [each.name for each in session.project.info.classes]
    return [name for value, name in enumerate(names, start=1) if value not in there]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# -- what is possible ---------------------------------------------------------------------------


def _on_slide(session: Session, what: str) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    return Permission(True, what) if session.slide is not None else Permission(False, NEED_SLIDE)


def _or(act: Permission, what: str) -> Permission:
    return Permission(True, what) if act.possible else act


def _segment_act(session: Session) -> Permission:
    there = _on_slide(session, "")
    if not there.possible:
        return there
    if _occupied(session):
        return Permission(False, "A segmentation runs. Wait for it, or press Cancel.")
    return Permission(True, "")


def _occupied(session: Session) -> bool:
    """Tell whether a segmentation runs that gives way to nothing."""
    return session.segmenting is not None and not session.segmenting.follows_view


def _next_act(session: Session, queue: Sequence[Region]) -> Permission:
    there = _on_slide(session, "Open the region the model doubts most (N).")
    if not there.possible:
        return there
    if session.queueing:
        return Permission(False, "Looking for the regions the model doubts most.")
    if session.round_to_review() is None and not _others(queue, session):
        return Permission(False, NOTHING_TO_REVIEW)
    if _occupied(session) and not _ranked(queue, session):
        return Permission(False, RANKING_WAITS)
    return there


def _others(queue: Sequence[Region], session: Session) -> list[Region]:
    current = None if session.edit is None else session.edit.region.id
    return [region for region in queue if region.id != current]


def _ranked(queue: Sequence[Region], session: Session) -> list[Region]:
    return [each for each in _others(queue, session) if each.state is RegionState.PREDICTED]


def _undo_act(session: Session) -> Permission:
    if session.edit is not None:
        return Permission(True, "Take back the last stroke (Ctrl+Z).")
    if session.can_undo():
        return Permission(True, "Take back what was accepted last; the region opens again.")
    return Permission(False, "There is nothing to take back.")


def _redo_act(session: Session) -> Permission:
    if session.edit is not None:
        return Permission(True, "Make the stroke again (Ctrl+Shift+Z).")
    if session.can_redo():
        return Permission(True, "Accept again what was taken back.")
    return Permission(False, "Nothing was taken back.")


def _train_act(session: Session) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    if session.training is not None:
        return Permission(False, "A training runs. Wait for it, or press Cancel.")
    if not session.labelled_values():
        return Permission(False, "Nothing is labelled on a training slide yet. Press Mark region.")
    return Permission(True, "Train a round on what is labelled (Ctrl+T).")


def _export_act(session: Session) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    return Permission(True, "Write the results to a folder.")


def _resume_act(session: Session, rounds: Sequence[Round]) -> Permission:
    there = _train_act(session)
    if not there.possible:
        return there
    stopped = resumable_round(rounds)
    if stopped is None:
        return Permission(False, "No round was stopped before its end.")
    return Permission(True, f"Go on with round {stopped.number} where it was stopped.")


# -- lines --------------------------------------------------------------------------------------


def _about_model(session: Session) -> str:
    if session.project is None:
        return ""
    info = session.project.info
    encoder = (
        "The embedded encoder knows colon glands and goes on learning from your labels."
        if info.encoder == "embedded"
        else f"Encoder: {info.encoder}."
    )
    words = (
        "Classes are free vectors: no text tower, so their words are not used."
        if info.text == "free"
        else f"Words: {info.text}."
    )
    return f"{info.spacing_um:g} µm/px. {encoder} {words}"


def _classes(session: Session) -> tuple[ClassItem, ...]:
    if session.project is None:
        return ()
    return tuple(
        ClassItem(value, each.name, each.color, session.area.get(each.name))
        for value, each in enumerate(session.project.info.classes, start=1)
    )


def _clusters(note: GuessNote | None) -> tuple[ClusterItem, ...]:
    if note is None:
        return ()
    values = note.names or (None,) * len(note.shares)
    return tuple(
        ClusterItem(number, cluster_color(number), share, value)
        for number, (share, value) in enumerate(zip(note.shares, values, strict=True), start=1)
    )


def cluster_color(number: int) -> str:
    """Return the colour of a cluster: far from its neighbours', paler than a class's."""
    red, green, blue = colorsys.hsv_to_rgb((0.08 + 0.381966 * number) % 1.0, 0.55, 0.95)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _segment_note(
    session: Session, newest: Round | None, note: GuessNote | None, segmenting: Permission
) -> str:
    if session.live:
        return _live_note(session)
    if session.segmenting is not None:
        return "" if session.segmenting.total else f"{session.segmenting.what}…"
    if newest is not None:
        return ""
    if not segmenting.possible:
        return segmenting.why
    if note is None:
        return (
            "There is no model yet. These make a first guess without any label: from the words of "
            "the classes where a vision-language model is here, else from tissue that looks alike."
        )
    if note.waiting:
        return (
            f"These clusters of the {note.model} encoder look alike inside. Say what each of them "
            f"is; '{NO_CLASS}' leaves it out."
        )
    made = f"words ({note.model})" if note.made_by == "words" else "clusters you named"
    return f"Round 0: a first guess from {made}. Nobody has checked it yet."


def _live_note(session: Session) -> str:
    if _occupied(session):
        return "Live goes on when this segmentation is done."
    if session.settled_round() is None:
        return "Live waits for a trained round. Before that, View makes a first guess."
    view = session.segmenting
    if view is not None and view.what != "Segmenting":
        return f"Live: {view.what.lower()}…"
    if view is not None:
        return "Live: labelling what the window shows."
    return "Live: what the window shows is labelled by itself when it comes to rest."


def _there(record: SlideRecord) -> bool:
    return record.path.exists()


def _held(region: Region) -> bool:
    return region.split is not Split.TRAIN


def _queue_item(region: Region, session: Session) -> QueueItem:
    begun = region.state is RegionState.REVIEW
    reason = (region.reason or ("begun" if begun else "")).replace(" %", "\u00a0%")
    current = session.edit is not None and session.edit.region.id == region.id
    title = (
        f"{region.slide} · {region.rect.h} × {region.rect.w} at {region.rect.y}, {region.rect.x}"
    )
    return QueueItem(region.id, title, reason, begun, current)


def _queue_note(session: Session, queue: Sequence[Region]) -> str:
    if session.queueing:
        return "Looking for the regions the model doubts most…"
    if session.project is None or queue:
        return ""
    if session.round_to_review() is None:
        return "Once there is a first guess or a model, what it doubts most is listed here."
    return "The list is empty. Press Next region to fill it from the newest prediction."


def _measure_note(session: Session, rounds: Sequence[Round]) -> str:
    if session.project is None or not rounds:
        return ""
    if session.project.regions(state=RegionState.ACCEPTED, split=Split.VAL):
        return ""
    return "Nothing is held out, so no Dice is measured: tick Hold out before you accept a region."


def _region_title(session: Session) -> str:
    if session.edit is None:
        return "No region is open."
    region = session.edit.region
    held = " · held out" if _held(region) else ""
    size = f"{region.rect.h} × {region.rect.w} px{held}"
    return f"Region {region.id}: {size}. {_sentence(region.reason)}"


def _sentence(text: str) -> str:
    text = text.strip().replace(" %", "\u00a0%")
    return "" if not text else text[0].upper() + text[1:].rstrip(".") + "."


def _round_item(each: Round, session: Session) -> RoundItem:
    running = session.training is not None and session.training.round == each.number
    state = "stopped" if each.state == "running" and not running else each.state
    return RoundItem(
        each.number,
        state,
        each.method,
        None if each.scores is None else each.scores.dice,
        state in {"stopped", "cancelled"},
    )
