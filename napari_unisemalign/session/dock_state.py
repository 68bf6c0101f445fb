"""Everything the dock shows, resolved from the session: frozen, comparable, without a window."""

from __future__ import annotations

from dataclasses import dataclass

from napari_unisemalign.session.acts import Act
from napari_unisemalign.session.dock_items import (
    ClassItem,
    ClusterItem,
    QueueItem,
    RoundItem,
    SlideItem,
    class_items,
    cluster_items,
    queue_item,
    round_item,
    slide_item,
)
from napari_unisemalign.session.next_step import next_step
from napari_unisemalign.session.notes import (
    about_model,
    is_held_out,
    looked_note,
    measure_note,
    queue_note,
    reading_note,
    region_title,
    segment_note,
)
from napari_unisemalign.session.permissions import Permissions, resolve_permissions
from napari_unisemalign.session.progress import SegmentProgress, TrainingProgress
from napari_unisemalign.session.session import Session
from unisemalign.project import FIRST_ROUND


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
    sure: int
    queue_note: str
    looked_note: str
    reading_note: str
    reader: str
    rounds: tuple[RoundItem, ...]
    region_title: str
    region_held: bool
    round_shown: int | None
    segmenting: SegmentProgress | None
    training: TrainingProgress | None
    segment_note: str
    measure_note: str
    change_note: str
    can: Permissions
    live_on: bool
    undo_verb: str
    redo_verb: str


def resolve_state(session: Session) -> DockState:
    """Return what the dock shows for ``session`` as it is now."""
    project, records = session.project, session.read_records()
    slides = () if records is None else records.slides()
    rounds = () if records is None else records.rounds()
    newest = None if records is None else records.latest_round()
    queue = tuple(session.queue())
    shown = session.prediction_round()
    on_show = session.shown_prediction()
    guess = None if newest is not None else session.guess_note()
    trained = [each for each in rounds if each.number > FIRST_ROUND]
    step, section = next_step(session, slides, trained, newest, queue, shown)
    begun = session.edit is not None
    can = resolve_permissions(session, newest, queue, trained)
    return DockState(
        next_step=step,
        next_section=section,
        project=None if project is None else project.root.name,
        about_model=about_model(session),
        classes=class_items(session),
        clusters=cluster_items(guess),
        guessed=guess is not None,
        slides=tuple(slide_item(each, session) for each in slides),
        loose_slides=bool(session.loose_slides),
        queue=tuple(queue_item(region, session) for region in queue),
        sure=len(session.sure_regions()),
        queue_note=queue_note(session, queue),
        looked_note=looked_note(session),
        reading_note=reading_note(session),
        reader=session.reader,
        rounds=tuple(round_item(each, session) for each in rounds),
        region_title=region_title(session),
        region_held=begun and session.edit is not None and is_held_out(session.edit.region),
        round_shown=None if on_show is None else on_show[0],
        segmenting=session.segmenting,
        training=session.training,
        segment_note=segment_note(session, newest, guess, can.segment_view),
        measure_note=measure_note(session, trained),
        change_note=session.change_note,
        live_on=session.live,
        undo_verb=_verb(session.next_undo()),
        redo_verb=_verb(session.next_redo()),
        can=can,
    )


def _verb(act: Act | None) -> str:
    return "" if act is None else act.verb
