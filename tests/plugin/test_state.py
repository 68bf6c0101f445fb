"""The one sentence, and what is possible when."""

from __future__ import annotations

from napari_unisemalign.session.dock_state import resolve_state
from napari_unisemalign.session.permissions import NOTHING_TO_REVIEW
from napari_unisemalign.session.progress import SegmentProgress, TrainingProgress
from napari_unisemalign.session.session import Session
from unisemalign.geometry import Rect
from unisemalign.project import FirstGuess, GuessNote, Project, RegionState

RECT = Rect(100, 200, 128, 128)


def _label(session: Session, rect: Rect = RECT) -> None:
    session.mark_region(rect)
    count = len(session.project.info.classes)
    session.edit.values[:] = 1 + (session.edit.values * 0).cumsum(0) % count
    for value in range(1, count + 1):
        session.edit.values[value * 5 : value * 5 + 5] = value
    session.strokes_made(session.edit.values)
    session.accept()


def test_with_nothing_open() -> None:
    state = resolve_state(Session())
    assert state.next_step.startswith("Press New project…")
    assert state.next_section == "open"
    assert not state.can.segment_view.possible
    assert not state.can.train.possible
    assert not state.can.export.possible
    assert state.can.add_slide.possible


def test_equal_sessions_look_equal(session: Session) -> None:
    assert resolve_state(session) == resolve_state(session)
    assert hash(resolve_state(session)) == hash(resolve_state(session))


def test_the_way_from_a_slide_to_a_model(session: Session) -> None:
    state = resolve_state(session)
    assert "for a first guess, or Mark region" in state.next_step
    assert state.can.segment_view.possible
    assert "first guess of what the window shows" in state.can.segment_view.why
    assert "There is no model yet" in state.segment_note
    assert not state.guessed
    session.mark_region(RECT)
    assert "press Accept" in resolve_state(session).next_step
    session.edit.values[:] = 1
    session.accept()
    step = resolve_state(session).next_step
    assert "stroma, epithelium, lumen and lymphocytes" in step
    _label(session, Rect(400, 400, 128, 128))
    state = resolve_state(session)
    assert state.next_step == "Press Start in Train: the model learns from what you labelled."
    assert state.can.train.possible


def test_the_way_from_a_first_guess_to_labels(session: Session, with_prediction) -> None:
    note = GuessNote(
        made_by="clusters",
        model="embedded",
        directions=((1.0,), (-1.0,)),
        shares=(0.7, 0.3),
        rects={"a": ((0, 0, 1024, 1024),)},
    )
    guess = FirstGuess(session.project)
    guess.write_note(note)
    state = resolve_state(session)
    assert "press Use these names" in state.next_step
    assert [(each.number, each.share, each.value) for each in state.clusters] == [
        (1, 0.7, None),
        (2, 0.3, None),
    ]
    assert len({each.color for each in state.clusters}) == 2
    assert state.can.next_region.why == NOTHING_TO_REVIEW
    guess.write_note(note.model_copy(update={"names": (2, 0)}))
    session.project.create_first_round(made_by="clusters")
    with_prediction(session.project, 0, "a")
    session.guess_changed()
    state = resolve_state(session)
    assert "correct the first guess" in state.next_step
    assert state.round_shown == 0
    assert state.segment_note.startswith("Round 0: a first guess from clusters you named.")
    assert [each.value for each in state.clusters] == [2, 0]
    assert state.can.next_region.possible
    assert (state.rounds[0].number, state.rounds[0].method) == (0, "first guess")
    assert not state.measure_note
    _label(session)
    assert session.project.journal()[0].round == 0
    assert "press Start in Train" in resolve_state(session).next_step.replace("P", "p", 1)
    guess.write_note(GuessNote(made_by="words", model="conch"))
    session.guess_changed()
    state = resolve_state(session)
    assert "a first guess from words (conch)" in state.segment_note
    assert state.guessed
    assert not state.clusters


def test_the_way_round_with_a_model(session: Session, with_model, with_prediction) -> None:
    _label(session)
    number = with_model(session.project)
    state = resolve_state(session)
    assert "Press View" in state.next_step
    assert not state.clusters
    assert state.can.segment_view.possible
    assert not state.can.segment_region.possible
    with_prediction(session.project, number, "a")
    session.predicted()
    assert "Press Next region (N) to look for" in resolve_state(session).next_step
    for x in (0, 300, 600):
        session.project.add_region(
            "a", Rect(600, x, 64, 64), state=RegionState.PREDICTED, score=x, round=number
        )
    assert "unsure and why" in resolve_state(session).next_step
    for region in session.queue():
        session.open_region(region.id)
        assert "Paint over what is wrong" in resolve_state(session).next_step
        session.accept()
    state = resolve_state(session)
    assert state.next_step == "Press Start in Train: 3 regions were accepted since round 1."
    with_model(session.project)
    assert "see round 2" in resolve_state(session).next_step


def test_a_stopped_round_offers_to_go_on(session: Session, with_model) -> None:
    _label(session)
    stopped = session.project.new_round(method="unisemalign", preset="recommended")
    session.project.set_round(stopped.number, state="cancelled")
    state = resolve_state(session)
    assert "press Resume" in state.next_step
    assert state.can.resume.possible
    assert state.rounds[-1].resumable
    with_model(session.project)
    assert not resolve_state(session).can.resume.possible


def test_a_killed_round_is_not_shown_as_running(session: Session) -> None:
    _label(session)
    session.project.new_round(method="unisemalign", preset="recommended")
    state = resolve_state(session)
    assert state.rounds[-1].state == "stopped"
    assert state.can.resume.possible


def test_while_jobs_run(session: Session, with_model) -> None:
    _label(session)
    with_model(session.project)
    session.set_training(TrainingProgress(round=2, step=3, total=9))
    session.set_segmenting(SegmentProgress("a", None))
    state = resolve_state(session)
    assert "The model is learning" in state.next_step
    assert not state.can.train.possible
    assert not state.can.segment_view.possible
    assert state.can.mark.possible


def test_the_encoder_and_the_words_are_said_plainly(session: Session) -> None:
    about = resolve_state(session).about_model
    assert "goes on learning from your labels" in about
    assert "no text tower" in about


def test_a_project_without_slides(tmp_path) -> None:
    with Project.create(tmp_path / "p", classes=["x", "y"]):
        pass
    session = Session()
    session.open(tmp_path / "p")
    assert "Press Open slide…" in resolve_state(session).next_step
    session.close()


def test_every_act_has_a_sentence_on_both_ways() -> None:
    """Each verb that the session gives an act, wherever it is written."""
    import re
    from pathlib import Path

    import napari_unisemalign.session as room
    from napari_unisemalign.session.permissions import REDO_SENTENCES, UNDO_SENTENCES

    source = "\n".join(path.read_text("utf-8") for path in Path(room.__file__).parent.glob("*.py"))
    given = (
        r'(?:_label_act\(|LabelAct\(|RegionAct\(|action=|verb: str = |done = (?:-1, )?)"([a-z ]+)"'
    )
    verbs = set(re.findall(given, source)) | set(re.findall(r'before, done = -1, "(\w+)"', source))
    assert {"accept", "accept sure", "second reading", "merge classes", "skip"} <= verbs
    assert verbs <= UNDO_SENTENCES.keys() == REDO_SENTENCES.keys()
