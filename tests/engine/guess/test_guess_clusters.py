"""A first guess from clusters: their map, their names, and what a person makes of it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.engine.conftest import draw_textures
from unisemalign.active import rank_regions
from unisemalign.cli import guessing, options
from unisemalign.cli.app import app
from unisemalign.errors import CancelledError, DataError, ProjectError
from unisemalign.geometry import Rect
from unisemalign.guess import guess_by_clusters, name_clusters
from unisemalign.inference import Predictor
from unisemalign.project import FirstGuess, Project, TissueChange, TissueStore
from unisemalign.project.first_guess import cluster_values
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.slides.synthetic import draw_slide, truth

SIZE_PX = 512
QUIET = {"events": SilentEvents(), "cancel": CancelToken()}


class StopAfterOneBand(SilentEvents):
    """Asks for a stop as soon as something is on disk."""

    def __init__(self):
        self.token = CancelToken()

    def emit(self, event):
        if event.event == "written":
            self.token.request()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_slide(tmp_path_factory.mktemp("slides") / "a.tif", size_px=SIZE_PX)


@pytest.fixture
def project(tmp_path, drawn):
    with Project.create(tmp_path / "p.unisem", classes=["glass", "tissue"]) as made:
        made.add_slide(drawn)
        yield made


def whole(store):
    return store.read(Rect(0, 0, *store.shape_yx))


def run(*arguments, status=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == status, result.output + str(result.exception)
    return result


def test_clusters_wait_for_names_and_no_one_takes_them_for_classes(project):
    note = guess_by_clusters(project, ["a"], None, 3, **QUIET)
    assert note.waiting
    assert len(note.shares) == 3
    assert sum(note.shares) == pytest.approx(1)
    numbers = whole(FirstGuess(project).clusters("a"))
    assert set(np.unique(numbers)) - {0} == {1, 2, 3}
    assert project.rounds() == []
    assert project.predicted_rounds("a") == []
    with pytest.raises(ProjectError, match="no round 0"):
        project.predictions(0, "a")


def test_what_a_person_marks_as_no_tissue_is_not_guessed(project):
    shape = project.tissue("a").mask.shape
    values = np.zeros(shape, np.uint8)
    values[:, : shape[1] // 2] = TissueChange.NOT_TISSUE
    TissueStore(project.root).correct("a", values, 8.0)
    guess_by_clusters(project, ["a"], None, 2, **QUIET)
    numbers = whole(FirstGuess(project).clusters("a"))
    assert not numbers[:, : SIZE_PX // 2].any()
    assert numbers[:, SIZE_PX // 2 :].any()
    TissueStore(project.root).correct("a", np.full_like(values, TissueChange.NOT_TISSUE), 8.0)
    with pytest.raises(DataError, match="found none on a"):
        guess_by_clusters(project, ["a"], None, 2, **QUIET)


def test_named_clusters_become_classes_of_round_0(project):
    guess_by_clusters(project, ["a"], None, 3, **QUIET)
    name_clusters(project, {1: "tissue", 2: "glass"}, **QUIET)
    numbers = whole(FirstGuess(project).clusters("a"))
    store = project.predictions(0, "a")
    classes = whole(store)
    assert (classes[numbers == 1] == 2).mean() > 0.99
    assert (classes[numbers == 2] == 1).mean() > 0.99
    assert (classes[numbers == 3] == 0).mean() > 0.99
    assert not store.read(Rect(0, 0, *store.shape_yx), "confidence")[classes == 0].any()
    found = project.round(project.predicted_rounds("a")[0])
    assert (found.number, found.method, found.state) == (0, "first guess", "done")
    assert project.latest_round() is None
    regions = rank_regions(project, 0, count=2, size_px=96)
    assert len(regions) == 2
    assert {region.round for region in regions} == {0}
    assert project.new_round(method="unisemalign", preset="recommended").number == 1


def test_between_clusters_of_one_class_there_is_no_doubt(project):
    guess_by_clusters(project, ["a"], None, 3, **QUIET)
    numbers = FirstGuess(project).clusters("a")
    name_clusters(project, {1: "tissue", 2: "tissue", 3: "tissue"}, **QUIET)
    store = project.predictions(0, "a")
    everywhere = Rect(0, 0, *store.shape_yx)
    inside = store.read(everywhere) > 0
    assert (store.read(everywhere, "confidence")[inside] == 255).all()
    assert (numbers.read(everywhere, "confidence")[inside] < 255).any()


def test_other_names_replace_the_map(project):
    guess_by_clusters(project, ["a"], None, 2, **QUIET)
    name_clusters(project, {1: "tissue", 2: "glass"}, **QUIET)
    before = whole(project.predictions(0, "a"))
    name_clusters(project, {1: "glass", 2: "tissue"}, **QUIET)
    after = whole(project.predictions(0, "a"))
    assert (after[before == 1] == 2).all()
    assert (after[before == 2] == 1).all()


def test_another_place_is_told_in_the_same_terms(project, tmp_path):
    first = guess_by_clusters(project, ["a"], Rect(0, 0, 256, 256), 2, **QUIET)
    name_clusters(project, {1: "tissue", 2: "glass"}, **QUIET)
    assert not project.predictions(0, "a").read(Rect(256, 256, 256, 256)).any()
    draw_textures(tmp_path / "b.png", 1)
    project.add_slide(tmp_path / "b.png", spacing_um=0.5)
    second = guess_by_clusters(project, ["b"], None, None, **QUIET)
    assert second.directions == first.directions
    assert whole(project.predictions(0, "b")).any()
    anew = guess_by_clusters(project, ["a"], None, 4, **QUIET)
    assert anew.waiting
    assert not project.has_prediction(0, "a")
    assert not project.has_prediction(0, "b")
    with pytest.raises(ProjectError, match="were not looked for yet"):
        FirstGuess(project).clusters("b")


def test_the_same_seed_finds_the_same_clusters(project):
    first = guess_by_clusters(project, ["a"], None, 3, seed=4, **QUIET)
    again = guess_by_clusters(project, ["a"], None, 3, seed=4, **QUIET)
    other = guess_by_clusters(project, ["a"], None, 3, seed=5, **QUIET)
    assert first == again
    assert first.directions != other.directions


def test_drawn_epithelium_is_found_better_than_by_chance(project):
    """Naming each cluster well must say more than one class for all."""
    guess_by_clusters(project, ["a"], None, 4, **QUIET)
    rect = Rect(128, 128, 256, 256)
    numbers = FirstGuess(project).clusters("a").read(rect)
    classes = truth(rect, size_px=SIZE_PX, seed=0)
    agree = sum(
        np.bincount(classes[numbers == k]).max() for k in range(1, 5) if (numbers == k).any()
    )
    assert agree / classes.size > np.bincount(classes.ravel()).max() / classes.size + 0.05


def test_a_stop_leaves_what_was_there(project):
    token = CancelToken()
    token.request()
    with pytest.raises(CancelledError):
        guess_by_clusters(project, ["a"], None, 2, events=SilentEvents(), cancel=token)
    assert FirstGuess(project).note() is None


def test_a_killed_guess_goes_on_and_ends_the_same_bytes(project, tmp_path):
    pixels = np.random.default_rng(3).integers(60, 200, (1100, 600, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    project.add_slide(tmp_path / "large.png", spacing_um=0.5)
    project.close()
    runner = Path(__file__).parents[1] / "inference" / "killing.py"
    command = [sys.executable, runner, project.root, "large", "--kills", "2", "--guess"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told["kills"] == 2
    assert told["moments"] > 100
    assert told["interrupted"] == [told["undisturbed"]]


def test_an_interrupted_guess_goes_on_with_what_it_lacks(project, tmp_path, monkeypatch):
    """Maps of clusters and of classes alike."""
    pixels = np.random.default_rng(3).integers(60, 200, (3000, 200, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "long.png")
    project.add_slide(tmp_path / "long.png", spacing_um=0.5)
    windows = []
    answer = Predictor.__call__
    monkeypatch.setattr(
        Predictor, "__call__", lambda self, some: windows.append(len(some)) or answer(self, some)
    )

    def clusters(**told):
        return guess_by_clusters(project, ["long"], None, 2, **told)

    def names(**told):
        return name_clusters(project, {1: "tissue"}, **told)

    for guess in (clusters, names):
        windows.clear()
        stopper = StopAfterOneBand()
        with pytest.raises(CancelledError):
            guess(events=stopper, cancel=stopper.token)
        begun = sum(windows)
        windows.clear()
        guess(**QUIET)
        rest = sum(windows)
        windows.clear()
        note = guess(**QUIET)
        assert windows == []
        assert 0 < rest < begun + rest
        assert note.rects == {"long": ((0, 0, 3000, 200),)}
    assert note.names == (2, 0)


def test_a_slide_taken_out_takes_its_clusters_along(project, tmp_path):
    draw_textures(tmp_path / "b.png", 1)
    project.add_slide(tmp_path / "b.png", spacing_um=0.5)
    guess_by_clusters(project, ["a", "b"], None, 2, **QUIET)
    project.remove_slide("b")
    assert not list(project.layout.clusters("b").parent.glob("b.*"))
    note = name_clusters(project, {1: "tissue"}, **QUIET)
    assert note.names == (2, 0)
    assert sum(guess_by_clusters(project, ["a"], None, None, **QUIET).shares) == pytest.approx(1)


def test_clusters_that_were_begun_are_gone_on_with_though_a_pair_is_here(project, monkeypatch):
    from unisemalign.guess import words

    monkeypatch.setattr(words, "is_here", lambda entry: entry.name == "plip")
    pair, _ = guessing._pair(project, None, None)
    assert pair.name == "plip"
    assert guessing._pair(project, None, 4) is None
    guess_by_clusters(project, ["a"], None, 2, **QUIET)
    assert guessing._pair(project, None, None) is None
    assert guessing._pair(project, "conch", None)[0].name == "conch"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ({4: "a"}, "clusters 1 to 3, found the name 'a' for cluster 4"),
        ({1: "c"}, "needs one of the classes a, b, or 'none', found 'c'"),
        ({1: "none"}, "at least one cluster that is a class"),
    ],
)
def test_impossible_names_are_told(names, says):
    with pytest.raises(DataError, match=says):
        cluster_values(names, 3, ("a", "b"))


def test_the_name_of_a_class_may_hold_a_comma():
    read = options.parse_names("1=muscle, smooth, 12=none")
    assert read == {1: "muscle, smooth", 12: "none"}
    for wrong in ("1", "=a", "one=a", "1=", ""):
        with pytest.raises(DataError, match="NUMBER=CLASS"):
            options.parse_names(wrong)


def test_names_know_no_case_and_what_is_not_named_is_no_class():
    assert cluster_values({1: "B", 3: "None"}, 3, ("a", "b")) == (2, 0, 0)


def test_a_damaged_note_is_told(project):
    guess = FirstGuess(project)
    (project.root / "rounds" / "0").mkdir(parents=True)
    (project.root / "rounds" / "0" / "guess.json").write_text('{"made_by": "dice"}')
    with pytest.raises(ProjectError, match="make the first guess again"):
        guess.note()


def test_the_verb(project):
    done = run("guess", project.root, "--clusters", 2, "--json").stdout.splitlines()
    told = json.loads(done[-1])
    assert told["event"] == "done"
    assert told["waiting"]
    assert [row["number"] for row in told["clusters"]] == [1, 2]
    assert "make a first guess" in run("queue", project.root, status=1).stderr
    said = run("guess", project.root, "--names", "1=tissue,2=glass").stdout
    assert "Round 0, a first guess from clusters you named" in said
    ranked = json.loads(run("queue", project.root, "--json").stdout.splitlines()[-1])
    assert ranked["round"] == 0
    assert run("export", project.root, "--out", project.root / "out").stdout
    assert "NUMBER=CLASS" in run("guess", project.root, "--names", "tissue", status=2).stderr
    for wrong, words in (
        (["--clusters", 2, "--names", "1=tissue"], "Choose one"),
        (["--region", "0,0,9,9"], "exactly one slide"),
        (["a", "--region", "9000,0,9,9"], "Choose one inside"),
        (["--words", "uni"], "Use one of conch, plip"),
    ):
        assert words in run("guess", project.root, *wrong, status=1).stderr.replace("\n", " ")


def test_names_without_clusters_are_told(project):
    assert "has none yet" in run("guess", project.root, "--names", "1=glass", status=1).stderr
