"""The lines of the dock's lists and tables."""

from __future__ import annotations

from dataclasses import dataclass

from napari_unisemalign.session.colors import cluster_color
from napari_unisemalign.session.permissions import (
    Permission,
    compare_permission,
    show_permission,
    use_permission,
)
from napari_unisemalign.session.session import Session
from unisemalign.project import GuessNote, Region, RegionState, Round, SlideRecord


@dataclass(frozen=True)
class SlideItem:
    """One line of the slide list; ``remarks``: what its file says and a person should know."""

    name: str
    split: str
    current: bool
    missing: bool
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class QueueItem:
    """One region to look at.

    Attributes
    ----------
    title, place, reason
        Its slide; slide, size and place; and why it is worth a look.
    begun, current
        Whether it was begun, and whether it is under the brush.
    round
        Whose prediction its picture shows; −1: nobody's.
    """

    region_id: int
    title: str
    place: str
    reason: str
    begun: bool
    current: bool
    round: int


@dataclass(frozen=True)
class RoundItem:
    """One line of the rounds table.

    ``interval``: of ``dice``, over held-out regions. ``verdict``: on the round before it, in words.
    """

    number: int
    state: str
    method: str
    dice: float | None
    resumable: bool
    interval: tuple[float, float] | None
    verdict: str
    on_show: bool
    compared: bool
    use: Permission
    show: Permission
    compare: Permission


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


def class_items(session: Session) -> tuple[ClassItem, ...]:
    """Return the project's classes with their share of the area."""
    if session.project is None:
        return ()
    return tuple(
        ClassItem(value, each.name, each.color, session.area.get(each.name))
        for value, each in enumerate(session.project.info.classes, start=1)
    )


def cluster_items(note: GuessNote | None) -> tuple[ClusterItem, ...]:
    """Return the clusters of a first guess."""
    if note is None:
        return ()
    values = note.names or (None,) * len(note.shares)
    return tuple(
        ClusterItem(number, cluster_color(number), share, value)
        for number, (share, value) in enumerate(zip(note.shares, values, strict=True), start=1)
    )


def slide_item(record: SlideRecord, session: Session) -> SlideItem:
    """Return the line of a slide."""
    missing = record.name in session.records.missing_slides()
    current = record.name == session.slide
    return SlideItem(record.name, record.split.value, current, missing, record.remarks)


def queue_item(region: Region, session: Session) -> QueueItem:
    """Return the line of a region to look at."""
    begun = region.state is RegionState.REVIEW
    reason = (region.reason or ("begun" if begun else "")).replace(" %", "\u00a0%")
    current = session.edit is not None and session.edit.region.id == region.id
    place = (
        f"{region.slide} · {region.rect.h} × {region.rect.w} at {region.rect.y}, {region.rect.x}"
    )
    number = session.prediction_round(region.slide)
    shown = -1 if number is None else number
    return QueueItem(region.id, region.slide, place, reason, begun, current, shown)


def round_item(each: Round, session: Session) -> RoundItem:
    """Return the line of a round."""
    running = session.training is not None and session.training.round == each.number
    state: str = "stopped" if each.state == "running" and not running else each.state
    resumable = state in {"stopped", "cancelled"}
    used = session.latest_round()
    if used is not None and used.number == each.number and state == "done":
        state = "in use"
    elif each.set_aside:
        state = "set aside"
    best = None if each.scores is None else each.scores.best_val
    return RoundItem(
        each.number,
        state,
        each.method,
        None if each.scores is None else each.scores.dice,
        resumable,
        interval=None if best is None else best.mdice_interval,
        verdict="" if each.scores is None else each.scores.verdict(),
        on_show=session.round_on_show == each.number,
        compared=session.compared_round == each.number,
        use=use_permission(session, each.number),
        show=show_permission(session, each.number),
        compare=compare_permission(session, each.number),
    )
