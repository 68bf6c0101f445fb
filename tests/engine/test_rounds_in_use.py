"""Which round is in use, what changed between two, and what each cost a person."""

import csv
import io
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.engine.conftest import QUICK
from unisemalign.cli.app import app
from unisemalign.errors import ProjectError
from unisemalign.exchange import count_changes, ledger_csv, read_ledger
from unisemalign.exchange.ledger import BREAK_S
from unisemalign.geometry import Rect
from unisemalign.metrics import OverlapScores
from unisemalign.project import LabelEdit, Origin, Project, Split
from unisemalign.protocol import RoundBefore
from unisemalign.settings import build_settings
from unisemalign.training import train_round
from unisemalign.training.class_dice import mean_noise


def predict(project, number, slide, classes):
    """Write a map for a round, all sure."""
    planes = {name: np.zeros_like(classes) for name in ("confidence", "disagreement")}
    store = project.predictions(number, slide, create=True)
    store.write(Rect(0, 0, *classes.shape), classes=classes, **planes)


def add_round(project, model):
    """Add a finished round with the model of another one."""
    made = project.new_round(method="m", preset="p")
    made.layout.weights.write_bytes(model.layout.weights.read_bytes())
    return project.set_round(made.number, state="done")


def test_going_back_sets_newer_rounds_aside_and_forward_takes_them_up(trained):
    first = trained.latest_round()
    second, third = add_round(trained, first), add_round(trained, first)
    shape = trained.slide("a").shape_yx
    for each in (first, second, third):
        predict(trained, each.number, "a", np.ones(shape, np.uint8))
    assert trained.predicted_rounds("a") == [3, 2, 1]
    assert trained.use_round(second.number).set_aside is False
    assert trained.latest_round().number == 2
    assert trained.predicted_rounds("a") == [2, 1]
    assert [each.set_aside for each in trained.rounds()] == [False, False, True]
    with Project.open(trained.root) as again:  # also for the next who opens it
        assert again.latest_round().number == 2
    trained.use_round(3)
    assert trained.latest_round().number == 3
    assert not any(each.set_aside for each in trained.rounds())


def test_a_round_without_a_model_cannot_be_used(trained):
    made = trained.new_round(method="m", preset="p")
    with pytest.raises(ProjectError, match="needs its model, round 2 has none"):
        trained.use_round(made.number)
    with pytest.raises(ProjectError, match="no round 9"):
        trained.use_round(9)
    assert trained.latest_round().number == 1


def test_the_next_round_starts_from_the_one_in_use(trained):
    first = trained.latest_round()
    add_round(trained, first)
    trained.use_round(first.number)
    done = train_round(trained, build_settings(overrides={**QUICK, "training.steps": 1}))
    assert (done.number, done.parent) == (3, 1)
    assert done.scores.before.round == 1


def test_a_round_whose_dice_fell_is_offered_and_not_taken(study):
    quick = {**QUICK, "training.steps": 40, "training.validate_every": 40}
    good = train_round(study, build_settings(method="supervised", overrides=quick))
    assert good.scores.before is None
    worse = {"training.steps": 1, "training.start_from": "scratch", "training.learning_rate": 1e-9}
    told = []

    class Told:
        def emit(self, event):
            told.append(event)

    settings = build_settings(method="supervised", overrides={**QUICK, **worse})
    done = train_round(study, settings, events=Told())
    assert done.scores.dice < good.scores.dice
    assert done.scores.before == RoundBefore(round=1, mdice=good.scores.dice, noise=None)
    assert done.set_aside
    assert study.latest_round().number == 1
    sentence = done.scores.verdict()
    assert sentence.endswith("round 1 stays in use.")
    assert sentence in [getattr(each, "text", "") for each in told]
    better = train_round(study, build_settings(method="supervised", overrides=quick))
    assert not better.set_aside or better.scores.dice < good.scores.dice
    assert better.parent == 1


def test_classes_that_changed_meanwhile_do_not_stop_a_round(trained):
    used = trained.latest_round()
    used.layout.weights.write_bytes(b"torn")
    settings = {**QUICK, "training.steps": 1, "training.start_from": "scratch"}
    done = train_round(trained, build_settings(overrides=settings))
    assert done.state == "done"
    assert done.scores.before is None
    assert not done.set_aside


def test_the_interval_of_dice_holds_it_and_narrows_with_images():
    rng = np.random.default_rng(1)

    def scores(images):
        counted = OverlapScores(2)
        for _ in range(images):
            truth = rng.integers(0, 2, (32, 32))
            wrong = rng.random((32, 32)) < rng.uniform(0, 0.4)
            counted.add(np.where(wrong, 1 - truth, truth), truth)
        return counted

    assert scores(2).mdice_interval is None
    few, many = scores(5), scores(80)
    widths = []
    for each in (few, many):
        low, high = each.mdice_interval
        assert low < each.summary()["mdice"] < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
    assert few.mdice_interval == few.mdice_interval


def test_the_interval_covers_what_other_images_give():
    """Of 200 samples about 95 % hold the Dice of the whole population (10 images each)."""
    rng = np.random.default_rng(0)
    rates = rng.uniform(0.05, 0.35, 4000)
    population = [(round(1000 * (1 - r)), round(1000 * (1 + r))) for r in rates]
    inter, union = np.array(population).sum(0)
    true = 2 * inter / (inter + union)
    held = 0
    for _ in range(200):
        counted = OverlapScores(1)
        for i, u in np.array(population)[rng.integers(0, 4000, 10)]:
            counted.image_counts.append(np.array([[i, u]]))
            counted.image_mdice.append(0.0)
        low, high = counted.mdice_interval
        held += low <= true <= high
    assert 0.85 <= held / 200 <= 0.99


def test_noise_of_a_difference_is_that_of_the_pair():
    one = [np.array([[90, 110], [40, 60], [70, 130], [55, 95]])]
    assert mean_noise(one, one) == 0
    assert mean_noise([one[0][:2]], [one[0][:2]]) is None
    other = [one[0] + np.array([[5, 0], [-5, 0], [9, 0], [1, 0]])]
    assert 0.01 < mean_noise(one, other) < 0.2
    assert mean_noise(one, other) == pytest.approx(mean_noise(other, one))


def test_what_changed_is_counted_by_hand(trained):
    first = trained.latest_round()
    second = add_round(trained, first)
    shape = trained.slide("a").shape_yx
    before, after = np.ones(shape, np.uint8), np.ones(shape, np.uint8)
    before[:10, :20] = 2
    after[:10, 10:40] = 2
    after[-4:] = 0  # not labelled by both: not compared
    predict(trained, first.number, "a", before)
    predict(trained, second.number, "a", after)
    found = count_changes(trained, "a", first.number, second.number)
    px = trained.info.spacing_um**2
    area = shape[0] * shape[1] - 4 * shape[1]
    assert found.um2.tolist() == [[(area - 400) * px, 200 * px], [100 * px, 100 * px]]
    assert found.share == pytest.approx(300 / area)
    assert found.gained() == {"stripes": -100 * px, "dots": 100 * px}
    told = CliRunner().invoke(app, ["rounds", str(trained.root), "--compare", "1,2", "--json"])
    done = json.loads(told.output)
    assert done["changes"] == [{"slide": "a", "share": found.share, "gained_um2": found.gained()}]
    assert [(each["number"], each["in_use"]) for each in done["rounds"]] == [(1, False), (2, True)]


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--compare", "1"], 2, "two rounds, separated by a comma"),
        (["--compare", "1,x"], 2, "two rounds, separated by a comma"),
        (["--compare", "1,7"], 1, "no round 7"),
        (["--compare", "1,1"], 1, "needs a slide that both rounds segmented"),
        (["--use", "7"], 1, "no round 7"),
        (["--use", "0"], 2, "--use"),
    ],
)
def test_wrong_rounds_get_a_sentence(trained, options, status, sentence):
    told = CliRunner().invoke(app, ["rounds", str(trained.root), *options])
    assert told.exit_code == status
    assert sentence in " ".join(told.output.replace("│", " ").split())


def test_rounds_in_the_terminal(trained):
    add_round(trained, trained.latest_round())
    told = CliRunner().invoke(app, ["rounds", str(trained.root), "--use", "1"])
    assert told.exit_code == 0
    lines = told.output.splitlines()
    assert "in use" in lines[0]
    assert "Dice" in lines[0]
    assert "set aside" in lines[1]


@pytest.fixture
def clock(monkeypatch):
    """A clock of the journal and of rounds that is set by hand."""
    moment = [1000.0]
    monkeypatch.setattr("time.time", lambda: moment[0])
    return moment


def test_the_ledger_adds_up_by_hand(tmp_path, clock):
    from PIL import Image

    Image.new("RGB", (96, 64)).save(tmp_path / "x.png")
    with Project.create(tmp_path / "p", classes=["a", "b"]) as project:
        project.add_slide(tmp_path / "x.png", spacing_um=0.5)

        def accept(x, value, at):
            clock[0] = at
            rect, values = Rect(0, x, 8, 8), np.full((8, 8), value, np.uint8)
            edit = LabelEdit(rect, values, Origin.DRAWN, regions=(rect,))
            project.accept("x", [edit], action="accept")

        accept(0, 1, 1000)
        accept(8, 2, 1090)  # 90 s
        accept(8, 1, 1210)  # 120 s, the same place: another region, or the same
        clock[0] = 1250
        project.undo()
        clock[0] = 1300
        project.new_round(method="m", preset="p")
        accept(32, 1, 2000)
        accept(40, 1, 2000 + BREAK_S + 1)  # a pause: not counted
        accept(48, 1, 2000 + BREAK_S + 61)
        first, since = read_ledger(project)
    assert (first.round, first.regions, first.pixels) == (1, 2, 128)
    assert first.minutes == pytest.approx(3.5)
    assert (since.round, since.regions, since.pixels) == (None, 3, 192)
    assert since.minutes == pytest.approx(1.0)
    rows = list(csv.DictReader(io.StringIO(ledger_csv([first, since]))))
    assert rows[0]["minutes"] == "3.50"
    assert rows[1]["round"] == ""


def test_the_ledger_as_files(trained, tmp_path):
    out = tmp_path / "ledger.csv"
    page = tmp_path / "ledger.html"
    run = ["ledger", str(trained.root), "--csv", str(out), "--page", str(page)]
    for _ in range(2):  # our own files are made anew
        told = CliRunner().invoke(app, run)
        assert told.exit_code == 0, told.output
    (row,) = csv.DictReader(out.open())
    truth = sum(trained.labels("a").read(Rect(0, 0, *trained.slide("a").shape_yx)).ravel() > 0)
    held = sum(trained.labels("c").read(Rect(0, 0, *trained.slide("c").shape_yx)).ravel() > 0)
    assert int(row["pixels"]) == truth + held
    assert float(row["mdice"]) == pytest.approx(trained.latest_round().scores.dice, abs=1e-4)
    assert "Minutes and Dice" in page.read_text()
    out.write_text("mine")
    told = CliRunner().invoke(app, run)
    assert told.exit_code == 1
    assert out.read_text() == "mine"
    assert trained.regions(split=Split.VAL)
