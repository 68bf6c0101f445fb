"""The sentences below the sections' headings."""

from __future__ import annotations

from collections.abc import Sequence

from napari_unisemalign.session.permissions import ALL_ASKED, Permission, segmentation_occupies
from napari_unisemalign.session.session import Session
from unisemalign.geometry import union_area
from unisemalign.project import NO_CLASS, GuessNote, Region, RegionState, Round, Split

OUR_ENCODERS = {
    "embedded": "The embedded encoder knows colon glands and goes on learning from your labels.",
    "organs": "The encoder has seen tissue of many organs and goes on learning from your labels.",
}


def about_model(session: Session) -> str:
    """Return what the project's model is made of."""
    if session.project is None:
        return ""
    info = session.project.info
    encoder = OUR_ENCODERS.get(info.encoder, f"Encoder: {info.encoder}.")
    words = (
        "Classes are free vectors: no text tower, so their words are not used."
        if info.text == "free"
        else f"Words: {info.text}."
    )
    return f"{info.spacing_um:g} µm/px. {encoder} {words}"


def segment_note(
    session: Session, newest: Round | None, note: GuessNote | None, segmenting: Permission
) -> str:
    """Return what Segment says below its buttons."""
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
    if segmentation_occupies(session):
        return "Live goes on when this segmentation is done."
    if session.settled_round() is None:
        return "Live waits for a trained round. Before that, View makes a first guess."
    view = session.segmenting
    if view is not None and view.what != "Segmenting":
        return f"Live: {view.what.lower()}…"
    if view is not None:
        return "Live: labelling what the window shows."
    return "Live: what the window shows is labelled by itself when it comes to rest."


def queue_note(session: Session, queue: Sequence[Region]) -> str:
    """Return what Review says below its list."""
    if session.ranking:
        return "Looking for the regions the model doubts most…"
    if session.project is None or queue:
        return ""
    if session.round_to_review() is None:
        return "Once there is a first guess or a model, what it doubts most is listed here."
    if session.all_asked:
        return ALL_ASKED
    return "The list is empty. Press Next region to fill it from the newest prediction."


def looked_note(session: Session) -> str:
    """Return how much of the slide on show a person has looked at."""
    name = session.slide
    if session.project is None or name is None or session.read_records() is None:
        return ""
    done = {RegionState.ACCEPTED, RegionState.SKIPPED}
    rects = [r.rect for r in session.records.regions() if r.slide == name and r.state in done]
    whole = next((s.shape_yx for s in session.records.slides() if s.name == name), None)
    if not rects or whole is None:
        return ""
    share = 100 * union_area(rects) / (whole[0] * whole[1])
    shown = f"{share:.1f}" if share >= 0.1 else "less than 0.1"
    count = f"{len(rects)} regions" if len(rects) > 1 else "1 region"
    return f"Looked at on this slide: {count}, {shown}\u00a0% of it."


def measure_note(session: Session, rounds: Sequence[Round]) -> str:
    """Return how the newest round compares, or that no Dice can be measured."""
    if session.project is None or not rounds:
        return ""
    if session.records.accepted(Split.VAL):
        scores = rounds[-1].scores
        return "" if scores is None else scores.verdict()
    return "Nothing is held out, so no Dice is measured: tick Hold out before you accept a region."


def region_title(session: Session) -> str:
    """Return what the open region is."""
    if session.edit is None:
        return "No region is open."
    region = session.edit.region
    held = " · held out" if is_held_out(region) else ""
    size = f"{region.rect.h} × {region.rect.w} px{held}"
    return f"Region {region.id}: {size}. {_sentence(region.reason)}"


def is_held_out(region: Region) -> bool:
    """Tell whether a region is for measuring only."""
    return region.split is not Split.TRAIN


def _sentence(text: str) -> str:
    text = text.strip().replace(" %", "\u00a0%")
    return "" if not text else text[0].upper() + text[1:].rstrip(".") + "."


def reading_note(session: Session) -> str:
    """Return what waits for whom, and how far first and second readers agree."""
    records = session.read_records()
    readings = () if records is None else records.second_readings()
    said = []
    for reader in dict.fromkeys(each.reader for each in readings):
        theirs = [each for each in readings if each.reader == reader]
        waiting = sum(not each.answered for each in theirs)
        agreed = [each.agreement for each in theirs if each.answered and each.agreement is not None]
        parts = [f"{waiting} waiting"] if waiting else []
        if agreed:
            mean = 100 * sum(agreed) / len(agreed)
            regions = f"{len(agreed)} region{'s' if len(agreed) > 1 else ''}"
            parts.append(f"agreement {mean:.1f}\u00a0% of the pixels in {regions}")
        said.append(f"{reader}: {', '.join(parts)}")
    return f"Second reader {'; '.join(said)}." if said else ""
