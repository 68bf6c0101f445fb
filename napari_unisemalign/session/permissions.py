"""What can be done now, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_unisemalign.session.session import Session
from unisemalign.project import Region, RegionState, Round

NEED_PROJECT = "Open or make a project first."
NEED_SLIDE = "Put a slide on show first: press its name in the list."
NEED_REGION = "Open a region first: press Next region or Mark region."
LIVE = "Label whatever the window shows, by itself, whenever it comes to rest. Off: press View."
ALL_ASKED = (
    "No region is left to ask about in what is segmented. Segment more, mark regions yourself, or "
    "Export."
)
NOTHING_TO_REVIEW = "There is no model yet that could doubt. Press View in Segment, or Mark region."
RANKING_WAITS = "A segmentation runs. What the model doubts is looked for when it is done."
UNDO_SENTENCES = {
    "accept": "Take back what was accepted last; the region opens again.",
    "skip": "Take back that the region was skipped; it opens again with its strokes.",
    "hold out": "Take back that the region was held out, or no longer.",
    "import": "Take back the labels that were imported last.",
    "use round": "Use the round of before again.",
    "class edit": "Take back the last change of the classes.",
    "accept sure": "Take back the regions that were accepted at once.",
    "second reading": "Take back the second reader's corrections; the agreement stays.",
    "merge classes": "Take the merged class out again.",
}
REDO_SENTENCES = {
    "accept": "Accept again what was taken back.",
    "skip": "Skip again the region that was taken back.",
    "hold out": "Hold the region out again, or no longer.",
    "import": "Import again the labels that were taken back.",
    "use round": "Use the other round again.",
    "class edit": "Change the classes again.",
    "accept sure": "Accept these regions at once again.",
    "second reading": "Make the second reader's corrections again.",
    "merge classes": "Merge the classes again.",
}


@dataclass(frozen=True)
class Permission:
    """Whether something can be done now; ``why`` is the sentence for the button's tooltip."""

    possible: bool
    why: str


@dataclass(frozen=True)
class Permissions:
    """What the person can do now: one permission a button."""

    add_slide: Permission
    segment_view: Permission
    segment_region: Permission
    segment_slide: Permission
    segment_all: Permission
    live: Permission
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
    edit_classes: Permission


def resolve_permissions(
    session: Session, newest: Round | None, queue: Sequence[Region], trained: Sequence[Round]
) -> Permissions:
    """Return what can be done now.

    Parameters
    ----------
    session
        What is open.
    newest
        The newest round that has a model.
    queue
        The regions to look at.
    trained
        The rounds that were trained, oldest first.
    """
    begun = session.edit is not None
    segmenting = _segment_permission(session)
    region = Permission(begun, "" if begun else NEED_REGION)
    what = "Segment" if newest is not None else "Make a first guess of"
    whole = f"{what} the whole slide; it can be stopped at any time."
    naming = "Make classes of the clusters; names can be changed later."
    return Permissions(
        add_slide=Permission(
            True, "Show a slide and, when a project is open, add it to the project."
        ),
        segment_view=_or_else(segmenting, f"{what} what the window shows (S)."),
        segment_region=_or_else(region, f"{what} the open region.")
        if segmenting.possible
        else segmenting,
        segment_slide=_or_else(segmenting, whole),
        segment_all=_segment_all_permission(session, newest),
        live=_on_slide(session, LIVE),
        name_clusters=_or_else(segmenting, naming),
        mark=_mark_permission(session),
        next_region=_next_region_permission(session, queue),
        edit=region,
        undo=_undo_permission(session),
        redo=_redo_permission(session),
        train=_train_permission(session),
        resume=_resume_permission(session, trained),
        export=_export_permission(session),
        import_labels=_on_slide(
            session, "Read this slide's labels from a mask, GeoJSON, ImageScope or ASAP file."
        ),
        edit_classes=_classes_permission(session),
    )


def _segment_all_permission(session: Session, newest: Round | None) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    if segmentation_occupies(session):
        return Permission(False, "A segmentation runs. Wait for it, or press Cancel.")
    if newest is None:
        return Permission(
            False, "All slides need a trained model, found none. Press Start in Train."
        )
    if not session.records.slides():
        return Permission(False, NEED_SLIDE)
    return Permission(
        True,
        "Segment every slide of the project, one after the other, this one first; what is "
        "finished is not done again.",
    )


def _classes_permission(session: Session) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    if segmentation_occupies(session) or session.ranking:
        return Permission(False, "The engine is at work. Wait for it, or press Cancel.")
    return Permission(True, "Rename, recolour or add classes.")


def _on_slide(session: Session, what: str) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    return Permission(True, what) if session.slide is not None else Permission(False, NEED_SLIDE)


def _mark_permission(session: Session) -> Permission:
    if session.reader:
        return Permission(False, "A second reader looks at what was sent, and at nothing else.")
    return _on_slide(session, "Make a region in the middle of the view and label it.")


def _or_else(act: Permission, what: str) -> Permission:
    return Permission(True, what) if act.possible else act


def _segment_permission(session: Session) -> Permission:
    there = _on_slide(session, "")
    if not there.possible:
        return there
    if segmentation_occupies(session):
        return Permission(False, "A segmentation runs. Wait for it, or press Cancel.")
    return Permission(True, "")


def segmentation_occupies(session: Session) -> bool:
    """Tell whether a segmentation runs that gives way to nothing."""
    return session.segmenting is not None and not session.segmenting.follows_viewport


def _next_region_permission(session: Session, queue: Sequence[Region]) -> Permission:
    there = _on_slide(session, "Open the region the model doubts most (N).")
    if not there.possible:
        return there
    if session.ranking:
        return Permission(False, "Looking for the regions the model doubts most.")
    if session.round_to_review() is None and not _others(queue, session):
        return Permission(False, NOTHING_TO_REVIEW)
    if segmentation_occupies(session) and not _ranked(queue, session):
        return Permission(False, RANKING_WAITS)
    return there


def _others(queue: Sequence[Region], session: Session) -> list[Region]:
    current = None if session.edit is None else session.edit.region.id
    return [region for region in queue if region.id != current]


def _ranked(queue: Sequence[Region], session: Session) -> list[Region]:
    return [each for each in _others(queue, session) if each.state is RegionState.PREDICTED]


def use_permission(session: Session, number: int) -> Permission:
    """Return whether round ``number`` can be taken into use."""
    used, records = session.latest_round(), session.read_records()
    if records is None or not records.has_model(number):
        return Permission(False, f"Round {number} has no model.")
    if used is not None and used.number == number:
        return Permission(False, f"Round {number} is in use.")
    if session.training is not None or session.segmenting is not None:
        return Permission(False, "Something runs. Wait for it, or press Cancel.")
    return Permission(
        True,
        f"Segment with round {number}, and let the next round start from it. Newer rounds are set "
        f"aside, and kept.",
    )


def show_permission(session: Session, number: int) -> Permission:
    """Return whether round ``number`` can be shown on the slide on show."""
    records = session.read_records()
    if records is None or session.slide is None:
        return Permission(False, NEED_SLIDE)
    if not records.has_prediction(number, session.slide):
        return Permission(False, f"Round {number} has not segmented this slide.")
    return Permission(True, f"Show what round {number} says of this slide; press again to go back.")


def compare_permission(session: Session, number: int) -> Permission:
    """Return whether the round on show can be compared with round ``number``."""
    there, shown = show_permission(session, number), session.shown_prediction()
    if not there.possible or shown is None:
        return there
    if shown[0] == number:
        return Permission(False, f"Round {number} is on show: choose another one to compare with.")
    return Permission(True, f"Show where round {shown[0]} says something else than round {number}.")


def _undo_permission(session: Session) -> Permission:
    if session.edit is not None:
        return Permission(True, "Take back the last stroke, or what was done before (Ctrl+Z).")
    act = session.next_undo()
    if act is not None:
        return Permission(True, UNDO_SENTENCES.get(act.verb, f"Take back: {act.verb}."))
    return Permission(False, "There is nothing to take back.")


def _redo_permission(session: Session) -> Permission:
    if session.edit is not None:
        return Permission(True, "Do again what was taken back (Ctrl+Shift+Z).")
    act = session.next_redo()
    if act is not None:
        return Permission(True, REDO_SENTENCES.get(act.verb, f"Do again: {act.verb}."))
    return Permission(False, "Nothing was taken back.")


def _train_permission(session: Session) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    if session.training is not None:
        return Permission(False, "A training runs. Wait for it, or press Cancel.")
    if not session.labelled_values():
        return Permission(False, "Nothing is labelled on a training slide yet. Press Mark region.")
    return Permission(True, "Train a round on what is labelled (Ctrl+T).")


def _resume_permission(session: Session, rounds: Sequence[Round]) -> Permission:
    there = _train_permission(session)
    if not there.possible:
        return there
    stopped = resumable_round(rounds)
    if stopped is None:
        return Permission(False, "No round was stopped before its end.")
    return Permission(True, f"Go on with round {stopped.number} where it was stopped.")


def _export_permission(session: Session) -> Permission:
    if session.project is None:
        return Permission(False, NEED_PROJECT)
    return Permission(True, "Write the results to a folder.")


def resumable_round(rounds: Sequence[Round]) -> Round | None:
    """Return the newest round if it stopped before its end."""
    if rounds and rounds[-1].state in {"cancelled", "running"}:
        return rounds[-1]
    return None
