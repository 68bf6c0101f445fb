"""Sentences on slides, from a table, with the slides of their names."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.engine.conftest import ListEvents
from unisemalign.cli.app import app
from unisemalign.errors import DataError, ProjectError
from unisemalign.exchange import import_captions, read_captions
from unisemalign.project import Project
from unisemalign.runtime import SilentEvents


@pytest.fixture
def project(tmp_path):
    with Project.create(tmp_path / "s.unisem", classes=["a", "b"]) as made:
        for name in ("one", "two"):
            path = tmp_path / f"{name}.png"
            Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(path)
            made.add_slide(path, spacing_um=0.5)
        yield made


@pytest.mark.parametrize(
    "text",
    [
        "slide,caption\none,Glands.\ntwo.svs,\"Stroma, mostly.\"\n",
        "\ufeffImage;Sentence\r\none.png;Glands.\r\ntwo;Stroma, mostly.\r\nthree;\r\n",
        "n\tname\tdescription\n1\tone\tGlands.\n2\ttwo.tiff\tStroma, mostly.\n",
    ],
)  # fmt: skip
def test_a_table_is_read_however_it_is_written(tmp_path, text):
    (tmp_path / "c.csv").write_bytes(text.encode("utf-8"))
    assert read_captions(tmp_path / "c.csv") == {"one": "Glands.", "two": "Stroma, mostly."}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "found: nothing"),
        (b"slide\none\n", "'slide' and 'caption'"),
        (b"\xff\xfe\x00", "in UTF-8"),
        (b'slide,caption\none,"never closed\n', "needs to be a CSV"),
        (b"slide,caption\nelsewhere,Skin.\n", "captions of others, such as 'elsewhere'"),
        (b"slide,caption\none,\n", "none at all"),
    ],
)
def test_what_is_no_table_of_captions_is_a_sentence(project, tmp_path, content, words):
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(DataError, match=words):
        import_captions(project, tmp_path / "c.csv", SilentEvents())
    assert [each.caption for each in project.slides()] == ["", ""]


def test_captions_stay_with_their_slides(project, tmp_path):
    (tmp_path / "c.csv").write_text("slide,caption\none,Glands.\nnine,Skin.\n")
    events = ListEvents()
    assert import_captions(project, tmp_path / "c.csv", events) == 1
    assert "1 captions of 'c.csv' name no slide" in events.events[0].text
    with Project.open(project.root) as again:
        assert [each.caption for each in again.slides()] == ["Glands.", ""]
    project.set_captions({"one": ""})
    assert project.slide("one").caption == ""
    project.set_captions({"two": "Stroma."})
    project.remove_slide("two")
    assert [each.caption for each in project.slides()] == [""]


def test_captions_are_kept_all_or_none(project):
    with pytest.raises(ProjectError, match="no slide 'nine'"):
        project.set_captions({"one": "Glands.", "nine": "Skin."})
    with pytest.raises(DataError, match="at most 2000 characters, found 2001"):
        project.set_captions({"one": "x" * 2001})
    assert project.slide("one").caption == ""


def test_the_verb_takes_captions_with_slides_and_alone(project, tmp_path):
    (tmp_path / "c.csv").write_text("slide,caption\nthree,Fat.\none,Glands.\n")
    Image.fromarray(np.full((40, 40, 3), 200, np.uint8)).save(tmp_path / "three.png")
    line = ["add", str(project.root)]
    more = [str(tmp_path / "three.png"), "--spacing-um", "0.5"]
    done = CliRunner().invoke(app, [*line, *more, "--captions", str(tmp_path / "c.csv")])
    assert done.exit_code == 0, done.output
    assert "2 slides have a caption" in done.output
    assert project.slide("three").caption == "Fat."
    (tmp_path / "c.csv").write_text("slide,caption\ntwo,Stroma.\n")
    done = CliRunner().invoke(app, [*line, "--captions", str(tmp_path / "c.csv")])
    assert done.exit_code == 0, done.output
    assert project.slide("two").caption == "Stroma."
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 2
    assert "--captions" in done.output
