"""Second readings: sent, agreed with or corrected; agreement as a number; who made an edit."""

import sqlite3

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from unisemalign.cli.app import app
from unisemalign.errors import DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.project import LabelEdit, Origin, Project, RegionState
from unisemalign.protocol import read_event

RECT = Rect(0, 0, 20, 10)


@pytest.fixture
def project(tmp_path):
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(tmp_path / "a.png")
    with Project.create(tmp_path / "s.unisem", classes=["x", "y"]) as made:
        made.add_slide(tmp_path / "a.png", spacing_um=0.5)
        made.person = "A. First"
        yield made


@pytest.fixture
def region(project):
    values = np.ones(RECT.shape, np.uint8)
    values[:10] = 0  # half of it is nobody's
    edit = LabelEdit(RECT, values, Origin.DRAWN, regions=(RECT,))
    return project.accept("a", [edit], action="accept")[0]


def test_who_agrees_changes_nothing(project, region):
    sent = project.send_to_reader(region.id, " B.  Second ")
    assert (sent.sent_by, sent.reader, sent.answered) == ("A. First", "B. Second", False)
    assert project.send_to_reader(region.id, "B. Second").id == sent.id  # sent once
    edits = len(project.journal())
    done = project.answer_reading(sent.id, project.labels("a").read(RECT))
    assert (done.agreement, done.answered) == (1.0, True)
    assert len(project.journal()) == edits
    assert project.send_to_reader(region.id, "B. Second").id != sent.id  # asked again


def test_agreement_counts_what_either_labelled(project, region):
    sent = project.send_to_reader(region.id, "B. Second")
    values = project.labels("a").read(RECT)
    values[5:10] = 2  # 50 pixels more than the first reader's 100
    values[15:20] = 2  # 50 of the first reader's are another class
    project.person = "B. Second"
    done = project.answer_reading(sent.id, values)
    assert done.agreement == pytest.approx(50 / 150)
    assert np.array_equal(project.labels("a").read(RECT), values)
    origin = project.labels("a").read_origin(RECT)
    assert (origin[5:10] == Origin.CORRECTED).all()
    assert (origin[10:15] == Origin.DRAWN).all()
    newest = project.journal()[0]
    assert newest.action == "second reading"
    assert project.edit_persons()[newest.id] == "B. Second"
    project.undo()
    assert (project.labels("a").read(RECT)[15:20] == 1).all()
    assert project.region(region.id).state is RegionState.ACCEPTED
    assert project.second_readings()[0].agreement == pytest.approx(50 / 150)  # it was said


def test_a_kill_before_the_answer_is_kept_loses_no_number(project, region, monkeypatch):
    sent = project.send_to_reader(region.id, "B. Second")
    values = project.labels("a").read(RECT)
    values[15:20] = 2
    monkeypatch.setattr(type(project._readings), "answer", _killed)
    with pytest.raises(KeyboardInterrupt):
        project.answer_reading(sent.id, values)
    monkeypatch.undo()
    with Project.open(project.root) as again:
        assert not again.second_readings()[0].answered
        done = again.answer_reading(sent.id, values)  # as the reader does when they come back
        assert (done.agreement, done.answered) == (0.5, True)


def _killed(*_):
    raise KeyboardInterrupt


def test_what_cannot_be_sent_is_a_sentence(project, region):
    for name in ("", "  ", "x" * 201, "a\nb\x1b[31m"):
        with pytest.raises(DataError, match="printable characters"):
            project.send_to_reader(region.id, name)
    with pytest.raises(DataError, match="somebody else than 'A. First'"):
        project.send_to_reader(region.id, "A. First")
    begun = project.add_region("a", Rect(20, 20, 16, 16), state=RegionState.REVIEW)
    with pytest.raises(ProjectError, match="needs an accepted region, found .* 'in review'"):
        project.send_to_reader(begun.id, "B. Second")
    sent = project.send_to_reader(region.id, "B. Second")
    with pytest.raises(DataError, match=r"20 × 10 labels, found 3 × 3"):
        project.answer_reading(sent.id, np.ones((3, 3), np.uint8))
    with pytest.raises(ProjectError, match="no second reading 99"):
        project.answer_reading(99, np.ones(RECT.shape, np.uint8))


def test_a_damaged_row_is_left_out(project, region):
    project.send_to_reader(region.id, "B. Second")
    with sqlite3.connect(project.root / "project.sqlite") as tables:
        tables.execute("UPDATE second_readings SET agreement = 'all'")
    assert project.second_readings() == []


def test_edits_of_nobody_have_no_person(project, tmp_path):
    project.person = ""
    edit = LabelEdit(RECT, np.ones(RECT.shape, np.uint8), Origin.DRAWN)
    project.accept("a", [edit], action="accept")
    assert project.edit_persons() == {}
    project.person = "A. First"
    project.accept("a", [edit], action="accept")
    assert list(project.edit_persons().values()) == ["A. First"]


def test_the_verb_says_who_agrees(project, region):
    line = ["readings", str(project.root)]
    assert "Nothing was sent" in CliRunner().invoke(app, line).output
    first = project.send_to_reader(region.id, "B. Second")
    values = project.labels("a").read(RECT)
    values[15:] = 2
    project.answer_reading(first.id, values)
    project.send_to_reader(region.id, "C. Third")
    said = CliRunner().invoke(app, line).output.splitlines()
    assert said == [
        f"a, region {region.id}: B. Second, sent by A. First: 50.0 % agree.",
        f"a, region {region.id}: C. Third, sent by A. First: waits.",
        "Agreement: 50.0 % of the pixels, mean of 1 regions.",
    ]
    done = read_event(CliRunner().invoke(app, [*line, "--json"]).output.strip())
    assert [each.agreement for each in done.readings] == [0.5, None]
