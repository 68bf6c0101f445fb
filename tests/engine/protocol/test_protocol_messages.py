"""Requests, events and notes: what fits is read back as it was, what does not is a sentence."""

import ast
import json
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisemalign import protocol
from unisemalign.errors import MessageError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.metrics import SCORE_NAMES, Scores
from unisemalign.project import Project
from unisemalign.protocol.events import KINDS
from unisemalign.protocol.requests import REQUESTS
from unisemalign.protocol.results import RESULTS, AnyDone, Done
from unisemalign.runtime.files import write_json

_NAME = re.compile(r"\w+\.\w+|\.locks")
REPOSITORY = Path(__file__).parents[3]


def test_a_request_is_read_back_as_it_was_sent():
    request = protocol.SegmentRequest(
        id=7, slide="a", rect=Rect(-5, 2, 30, 40), focus=(1, 2), round=0, downsample=2.5
    )
    line = request.model_dump_json()
    assert json.loads(line)["rect"] == [-5, 2, 30, 40]
    assert protocol.read_request(line) == request
    assert protocol.read_request('{"verb": "quit"}') == protocol.QuitRequest()
    named = protocol.GuessRequest(id="x", names={1: "gland", 2: "none"})
    assert protocol.read_request(named.model_dump_json()) == named


@pytest.mark.parametrize(
    ("line", "number", "words"),
    [
        ("not json", None, "one JSON object with a verb"),
        ("5", None, "one JSON object with a verb"),
        ("[" * 100_000, None, "one JSON object with a verb"),
        ('{"id": ' * 5_000, None, "one JSON object with a verb"),
        ('{"verb": "segment", "id": ' + "7" * 5_000 + "}", None, "one JSON object with a verb"),
        ('{"verb": "segment", "id": ' + "7" * 500 + ', "slide": "a"}', None, "very many digits"),
        ("\xff\xfe", None, "one JSON object with a verb"),
        ('{"id": 3}', 3, "needs a verb"),
        ('{"id": 3, "verb": "dance"}', 3, "segment, guess, queue, cancel, quit, found 'dance'"),
        ('{"id": 3, "verb": "segment"}', 3, "'slide' to be a slide's name, found nothing"),
        ('{"id": 3, "verb": "segment", "slide": "a", "speed": 1}', 3, "found 'speed'"),
        ('{"id": 3, "verb": "segment", "slide": "a", "rect": [1, 2, 3]}', 3, "a list of 3"),
        ('{"id": 3, "verb": "segment", "slide": "a", "rect": [1, 2, 3, -4]}', 3, "four whole"),
        ('{"id": 3, "verb": "segment", "slide": "a", "rect": [1, 2, 3, 1e99]}', 3, "four whole"),
        ('{"id": 3, "verb": "segment", "slide": "a", "downsample": 0}', 3, "above 0, found 0"),
        ('{"id": 3, "verb": "segment", "slide": "a", "downsample": NaN}', 3, "above 0, found nan"),
        ('{"id": 3, "verb": "segment", "slide": "a", "round": -1}', 3, "a round's number"),
        ('{"id": 3, "verb": "queue", "count": 1001}', 3, "from 1 to 1000, found 1001"),
        ('{"id": 3, "verb": "guess", "clusters": 1}', 3, "from 2 to 30"),
        ('{"id": "' + "i" * 201 + '", "verb": "queue"}', None, "at most 200 letters"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_no_request_is_a_sentence_with_its_id(line, number, words):
    with pytest.raises(MessageError) as caught:
        protocol.read_request(line)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400
    assert caught.value.id == number


@given(
    st.one_of(
        st.binary(),
        st.text(),
        st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps),
    )
)
def test_no_line_raises_anything_but_a_sentence(line):
    for read in (protocol.read_request, protocol.read_event):
        with pytest.raises(MessageError):
            read(line)


def test_events_are_read_back_as_they_were_and_carry_no_empty_id():
    event = protocol.Written(slide="a", round=0, rect=Rect(0, 1, 2, 3), final=False)
    assert protocol.read_event(event.line()) == event
    assert set(json.loads(event.line())) == {"event", "slide", "round", "rect", "final"}
    with_id = event.model_copy(update={"id": "seven"})
    assert protocol.read_event(with_id.line()) == with_id
    assert with_id.fields()["id"] == "seven"


def test_a_step_keeps_the_figures_of_its_method_and_nothing_but_numbers():
    step = {"event": "step", "step": 1, "total": 2, "loss": 0.5, "eta_s": None, "wait_share": 0}
    event = protocol.read_event(json.dumps({**step, "tau": 0.9}))
    assert event.parts == {"tau": 0.9}
    with pytest.raises(MessageError, match="note"):
        protocol.read_event(json.dumps({**step, "note": "text"}))


@pytest.mark.parametrize(
    ("line", "absent"),
    [
        ('{"event": "done", "verb": "train", "round": 1, "mdice": 0.83}', "'best_val' is missing"),
        ('{"event": "done", "round": 1, "mdice": 0.83}', "verb of its kind, is absent"),
        ('{"event": "validation", "step": 10, "mdice": 0.9}', "'images' is missing"),
        ('{"event": "written", "slide": "a", "rect": [0, 0, 9, 9]}', "'final' is missing"),
    ],
)
def test_what_only_a_stand_in_ever_said_is_no_event(line, absent):
    with pytest.raises(MessageError, match=absent):
        protocol.read_event(line)


def test_every_kind_and_every_verb_has_a_model_of_its_own():
    kinds = [kind.model_fields["event"].default for kind in KINDS]
    assert sorted({*kinds, "done"}) == sorted([*kinds, "done"])
    verbs = [kind.model_fields["verb"].default for kind in RESULTS]
    assert len(set(verbs)) == len(verbs)
    assert set(RESULTS) == set(_below(Done)) - {Done}
    assert set(get_args(get_args(AnyDone)[0])) == set(RESULTS)  # each can be read again
    assert {"segment", "guess", "queue"} <= set(verbs) & set(REQUESTS)
    assert {kind.model_fields["verb"].default for kind in REQUESTS.values()} == set(REQUESTS)


def _below(model):
    return [model, *(found for each in model.__subclasses__() for found in _below(each))]


def test_every_field_of_a_request_says_what_it_needs():
    for model in REQUESTS.values():
        for name, field in model.model_fields.items():
            assert name == "verb" or field.description, f"{model.__name__}.{name}"


def test_the_scores_sent_are_the_scores_counted():
    counted = set(Scores(2).summary())
    assert set(protocol.SplitScores.model_fields) == counted
    assert set(SCORE_NAMES) < counted


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"finished": [[0, 0, 5]], "masks": []}, "four whole numbers"),
        ({"finished": "all of it"}, "'finished' needs"),
        ({"bands": []}, "Unknown field 'bands'"),
    ],
)
def test_a_damaged_note_of_what_is_finished_is_a_sentence(study, damage, words):
    store = study.predictions(study.new_round(method="m", preset="p").number, "a", create=True)
    path = protocol.finished_note(study.layout.prediction(1, "a"))
    write_json(path, damage)
    with pytest.raises(ProjectError) as caught:
        store.read_finished()
    assert words in str(caught.value)
    assert "segment the slide again" in str(caught.value)
    path.unlink()
    assert store.read_finished() is None


@pytest.mark.parametrize("scores", ['{"mdice": 0.83}', "[", "[[[", "3", '{"version": 2}'])
def test_damaged_scores_of_a_round_are_a_sentence(study, scores):
    number = study.new_round(method="m", preset="p").number
    with study._database.transaction() as connection:
        connection.execute("UPDATE rounds SET scores = ? WHERE number = ?", (scores, number))
    assert study.rounds() == []
    with Project.open(study.root) as again:
        assert any("scores of round 1" in sentence for sentence in again.remarks)
    with pytest.raises(ProjectError, match="scores of round 1"):
        study.round(number)


def test_a_project_holds_what_the_layout_says(tmp_path):
    with Project.create(tmp_path / "a.unisem", classes=["a", "b"]) as project:
        layout = project.layout
        assert layout == protocol.ProjectLayout(project.root)
        folders = (layout.label_folder, layout.prediction_folder, layout.round_folder)
        assert all(folder.is_dir() for folder in folders)
        assert layout.info.is_file()
        assert layout.database.is_file()
        found = project.new_round(method="m", preset="p")
        assert found.layout == layout.round(1)


def _names_of_layout() -> set[str]:
    """Names with a dot that the layout writes; suffixes and plain words mean other things too."""
    source = (REPOSITORY / "engine/unisemalign/protocol/layout.py").read_text(encoding="utf-8")
    texts = {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and _NAME.fullmatch(text)}


def test_the_name_of_a_file_stands_in_the_layout_alone():
    names = _names_of_layout()
    assert {"project.toml", "run.toml", "log.jsonl", "best.safetensors", "scores.json"} <= names
    folders = ("engine", "napari_unisemalign", "benchmarks", "demo")
    again = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}: {node.value}"
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*.py")
        if path.parts[-2:] != ("protocol", "layout.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert not again, "\n".join(again)
