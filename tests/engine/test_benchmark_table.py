"""Methods beside each other: every run a process, one table."""

import threading

import pytest

from tests.engine.test_benchmark import FLAGS, data, invoke, run  # noqa: F401
from unisemalign.benchmark import TableChoice, make_table
from unisemalign.benchmark.processes import BenchmarkProcesses, Outcome, Planned
from unisemalign.errors import CancelledError, DataError, SettingsError
from unisemalign.protocol import Message, Progress
from unisemalign.runtime import CancelToken, SilentEvents


class Kept:
    """Keeps events, and calls ``react`` with each."""

    def __init__(self, react=lambda event: None):
        self.events, self.react = [], react

    def emit(self, event):
        self.events.append(event)
        self.react(event)


def scores(mdice, **more):
    at = {"mdice": mdice, "mjaccard": mdice - 0.1, "object_dice": 0.5, "object_f1": None}
    return {"best_val": at, "last_val": at, "seconds_per_step": 0.5, **more}


def ends(outcomes, monkeypatch):
    monkeypatch.setattr(BenchmarkProcesses, "run", lambda self: outcomes)


def choice(data, tmp_path, **more):  # noqa: F811
    kept = {"methods": ["supervised", "fixmatch"], "seeds": [0, 1], **more}
    return TableChoice(data={"glas": data}, out=tmp_path / "runs", **kept)


def test_runs_that_are_there_are_read_and_those_that_fail_are_told(data, tmp_path):  # noqa: F811
    out = tmp_path / "runs"
    out.mkdir()
    single = run(
        "glas", "--data", data, "--out", out / "glas", "--method", "supervised", "--seeds=0", *FLAGS
    )[-1]
    told = run(
        "table", "--data", f"glas={data}", "--methods", "supervised", "--seeds=0", "--out", out,
        *FLAGS,
    )  # fmt: skip
    row = told[-1]["rows"][0]
    assert row["best_val"] == single["best_val"]
    assert row["seeds"] == [0]
    assert row["failed"] == {}
    assert row["learned_parameters"] > 1000
    assert row["peak_memory_mb"] > 50
    assert row["needs"] == ["an averaged teacher"]
    last = [each for each in told if each["event"] == "progress"][-1]
    assert last["done"] == last["total"]


def test_a_run_that_fails_is_a_sentence(tmp_path):
    wrong = Planned("a", "a", 5, ("benchmark", "none", "--data", str(tmp_path), "--json"))
    kept = Kept()
    outcome = BenchmarkProcesses([wrong], 1, 1, kept, CancelToken()).run()["a"]
    assert "none" in outcome.failure
    assert outcome.runs == ()
    assert any(isinstance(e, Message) and e.text.startswith("a: ") for e in kept.events)


def test_a_stopped_table_leaves_a_checkpoint_and_no_process(data, tmp_path):  # noqa: F811
    token, seen = CancelToken(), threading.Event()

    def stop(event):
        if isinstance(event, Progress) and event.done > 2:
            assert event.eta_s > 0
            seen.set()
            token.request()

    flags = [flag.removeprefix("--set=") for flag in FLAGS]
    picked = choice(
        data,
        tmp_path,
        methods=["supervised"],
        seeds=[0],
        overrides=[*flags, "training.steps=5000"],
    )
    with pytest.raises(CancelledError):
        make_table(picked, events=Kept(stop), cancel=token)
    assert seen.is_set()
    assert list(picked.out.rglob("last.pt"))
    assert not list(picked.out.glob("table-*"))


def test_the_page_says_what_wins_and_what_failed(data, tmp_path, monkeypatch):  # noqa: F811
    outcomes = {
        "glas supervised seed 0": Outcome((scores(0.7, seed=0, peak_memory_mb=900),)),
        "glas supervised seed 1": Outcome((scores(0.8, seed=1, peak_memory_mb=800),)),
        "glas fixmatch seed 0": Outcome((scores(0.9, seed=0, needs=["unlabelled tissue"]),)),
        "glas fixmatch seed 1": Outcome(failure="Ended <b>badly</b>."),
    }
    ends(outcomes, monkeypatch)
    result = make_table(choice(data, tmp_path), events=SilentEvents(), cancel=CancelToken())
    first, second = result["rows"]
    assert first["best_val"]["mdice"] == {"mean": 75.0, "sd": 7.0711}
    assert first["peak_memory_mb"] == 900
    assert second["best_val"]["mdice"] == {"mean": 90.0, "sd": None}
    assert second["failed"] == {"1": "Ended <b>badly</b>."}
    assert result["failed"] == 1
    page = (tmp_path / "runs").joinpath(result["report"].rsplit("/")[-1]).read_text("utf-8")
    assert "75.00 ± 7.07" in page
    assert "<b>90.00</b>" in page
    assert "Ended &lt;b&gt;badly&lt;/b&gt;." in page
    assert "unlabelled tissue" in page
    assert "FixMatch: sure labels" in page


def test_where_there_are_no_objects_none_are_scored(tmp_path, data, monkeypatch):  # noqa: F811
    text = (data / "splits.toml").read_text().replace("glas_10", "luad_1")
    (data / "splits.toml").write_text(text)
    ends({"luad supervised seed 0": Outcome((scores(0.7, seed=0),))}, monkeypatch)
    picked = TableChoice({"luad": data}, ["supervised"], [0], tmp_path / "runs")
    result = make_table(picked, events=SilentEvents(), cancel=CancelToken())
    page = (tmp_path / "runs").joinpath(result["report"].rsplit("/")[-1]).read_text("utf-8")
    assert "mDice, val" in page
    assert "object Dice, val" not in page


@pytest.mark.parametrize(
    ("more", "error", "words"),
    [
        ({"methods": ["none"]}, SettingsError, "There is no method 'none'"),
        ({"overrides": ["method.threshold_kind=class"]}, SettingsError, "threshold_kind"),
        ({"methods": ["supervised"]}, DataError, "splits.toml"),
    ],
)
def test_what_cannot_be_run_is_told_before_the_first_step(
    data, tmp_path, monkeypatch, more, error, words  # noqa: F811
):  # fmt: skip
    monkeypatch.setattr(BenchmarkProcesses, "run", lambda self: pytest.fail("begun"))
    if error is DataError:
        (data / "splits.toml").unlink()
    with pytest.raises(error, match=words):
        make_table(choice(data, tmp_path, **more), events=SilentEvents(), cancel=CancelToken())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("text", ["glas", "glas=", "=x", "glas=a,glas=b", "glas=a,"])
def test_data_sets_of_another_form_are_wrong_use(tmp_path, text):
    invoke("benchmark", "table", "--data", text, status=2)
