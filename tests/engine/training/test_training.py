import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.engine.conftest import QUICK, draw_textures, label_region
from unisemalign.errors import (
    BusyError,
    CancelledError,
    DataError,
    ProjectError,
    SettingsError,
    SlideError,
    TrainingError,
    WeightsError,
)
from unisemalign.geometry import Rect
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.project import Origin, Project, Split
from unisemalign.runtime import CancelToken, SilentEvents, read_log
from unisemalign.settings import build_settings, read_settings
from unisemalign.training import last_network, train_round
from unisemalign.training.batches import Batches
from unisemalign.training.tissue import open_tissue
from unisemalign.training.views import cutmix_box, stain_jitter, strong_view, weak_view


class Recorder:
    def __init__(self, stop_after=None):
        self.events = []
        self.token = CancelToken()
        self._stop_after = stop_after

    def emit(self, event):
        self.events.append(event.fields())
        if event.event == "step" and event.step == self._stop_after:
            self.token.request()

    def of(self, kind):
        return [e for e in self.events if e["event"] == kind]


def settings(method=None, preset="recommended", **more):
    return build_settings(preset, method, {**QUICK, **more})


def batches_of(study, chosen):
    method = build_method(build_network(["a", "b"], chosen.model), chosen)
    return Batches(open_tissue(study), chosen, method.needs)


def test_a_round_is_a_folder_with_settings_log_weights_and_scores(study):
    told = Recorder()
    done = train_round(study, settings(), events=told)
    assert done.state == "done"
    for name in ("run.toml", "log.jsonl", "last.pt", "best.safetensors", "scores.json"):
        assert (done.folder / name).exists(), name
    assert read_settings(done.folder / "run.toml").training.steps == 6
    steps = told.of("step")
    assert [e["step"] for e in steps] == [1, 2, 3, 4, 5, 6]
    assert all(np.isfinite(e["loss"]) for e in steps)
    assert [e["step"] for e in told.of("validation")] == [3, 6]
    scores = json.loads((done.folder / "scores.json").read_text())
    assert scores["best_val"]["images"] == 1
    assert scores["seconds_per_step"] > scores["wait_per_step"] >= 0
    assert read_log(done.layout.log)[-1].event == "done"


def test_learning_happens(study):
    done = train_round(
        study,
        settings(**{"training.steps": 60, "training.validate_every": 60, "method.ema": 0.9}),
        events=SilentEvents(),
    )
    assert done.scores.last_val.mdice > 0.8


def tensors_in(tree, at=""):
    """Yield address and value of everything in a checkpoint, whatever it is nested in."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from tensors_in(value, f"{at}/{name}")
    elif isinstance(tree, list | tuple):
        for index, value in enumerate(tree):
            yield from tensors_in(value, f"{at}/{index}")
    else:
        yield at, tree


@pytest.mark.parametrize("preset", ["recommended", "paper"])
def test_a_resumed_round_is_bit_identical(study, preset):
    """Stopped between checkpoints, gone on: everything as if nothing had happened.

    `recommended` is AdamW with a teacher and a ramp; `paper` is SGD with drawn donors, labelled by
    the student as it trains.
    """
    chosen = settings(preset=preset, **{"training.start_from": "scratch"})
    whole = train_round(study, chosen, events=SilentEvents())
    told = Recorder(stop_after=3)
    with pytest.raises(CancelledError, match="can be resumed"):
        train_round(study, chosen, events=told, cancel=told.token)
    assert study.rounds()[-1].state == "cancelled"
    stopped = torch.load(study.rounds()[-1].folder / "last.pt", weights_only=True)
    told = Recorder()
    again = train_round(study, None, resume=True, events=told)
    assert again.number == whole.number + 1
    assert [e["step"] for e in told.of("step")] == [4, 5, 6]
    mine = load_file(again.folder / "best.safetensors")
    theirs = load_file(whole.folder / "best.safetensors")
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)
    assert again.scores.best_val == whole.scores.best_val

    one, two, early = (
        dict(tensors_in(state))
        for state in (
            torch.load(whole.folder / "last.pt", weights_only=True),
            torch.load(again.folder / "last.pt", weights_only=True),
            stopped,
        )
    )
    assert one.keys() == two.keys()
    for name, value in one.items():
        same = torch.equal(value, two[name]) if torch.is_tensor(value) else value == two[name]
        assert same, name
    # What the checkpoint must hold, and that the steps after it moved every bit of it.
    assert (early["/step"], one["/step"]) == (3, 6)
    assert (early["/method/_extra_state"].item(), one["/method/_extra_state"].item()) == (3, 6)
    assert early["/method/threshold"] != one["/method/threshold"]
    beside = ["/method/teacher.network.low.weight", "/optimiser/state/0/exp_avg_sq"]
    if preset == "paper":
        beside = ["/optimiser/state/0/momentum_buffer"]
        assert not [name for name in one if "teacher" in name]
    for name in ["/method/student.low.weight", "/method/student.semantic.prototypes", *beside]:
        assert not torch.equal(early[name], one[name]), name


def test_a_round_killed_after_its_last_checkpoint_still_has_scores(study):
    whole = train_round(study, settings(), events=SilentEvents())
    weights = load_file(whole.folder / "best.safetensors")
    study.set_round(whole.number, state="running")
    again = train_round(study, None, resume=True, events=SilentEvents())
    for key in ("best_val", "last_val"):
        assert getattr(again.scores, key) == getattr(whole.scores, key)
    mine = load_file(again.folder / "best.safetensors")
    assert all(torch.equal(mine[k], weights[k]) for k in weights)


@pytest.mark.parametrize(("labeller", "ema"), [("student", 0.0), ("teacher", 0.9)])
def test_the_last_steps_network_is_rebuilt(study, labeller, ema):
    chosen = settings(**{"method.labeller": labeller, "method.ema": ema})
    done = train_round(study, chosen, events=SilentEvents())
    kept = torch.load(done.folder / "last.pt", weights_only=True)
    student, teacher = (
        {n.removeprefix(at): v for n, v in kept["method"].items() if n.startswith(at)}
        for at in ("student.", "teacher.network.")
    )
    wanted = teacher if ema else student
    assert bool(teacher) == bool(ema)
    assert all(torch.equal(v, student[n]) for n, v in wanted.items()) != bool(ema)
    best = done.folder / "best.safetensors"
    with safe_open(best, "pt") as file:
        save_file(
            {n: torch.zeros_like(v) for n, v in load_file(best).items()}, best, file.metadata()
        )
    network, _, step = last_network(done.folder)
    assert step == 6
    assert not network.training
    found = network.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_second_round_goes_on_from_the_first(study):
    first = train_round(study, settings(), events=SilentEvents())
    chosen = settings(**{"training.steps": 1, "training.learning_rate": 1e-9, "method.ema": 0.0})
    second = train_round(study, chosen, events=SilentEvents())
    assert second.parent == first.number
    mine = load_file(second.folder / "best.safetensors")["low.weight"]
    theirs = load_file(first.folder / "best.safetensors")["low.weight"]
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_going_on_with_another_network_is_told(study):
    train_round(study, settings(), events=SilentEvents())
    with pytest.raises(WeightsError, match="Cannot go on from round 1.*start_from=scratch"):
        train_round(study, settings(**{"model.decoder_dim": 24}), events=SilentEvents())
    assert study.rounds()[-1].state == "failed"
    assert study.latest_round().number == 1


def test_nothing_labelled_is_told(tmp_path):
    draw_textures(tmp_path / "a.png", 0)
    with Project.create(tmp_path / "p.unisem", classes=["a", "b"]) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        with pytest.raises(DataError, match="Mark a region, paint its classes and press Accept"):
            train_round(project, settings(), events=SilentEvents())


def test_nothing_to_resume_is_told(study):
    with pytest.raises(ProjectError, match="Train without --resume"):
        train_round(study, None, resume=True, events=SilentEvents())


def test_a_failed_start_does_not_hide_what_can_be_resumed(study):
    told = Recorder(stop_after=2)
    with pytest.raises(CancelledError):
        train_round(study, settings(), events=told, cancel=told.token)
    with pytest.raises(SettingsError, match="project's encoder is 'embedded'"):
        train_round(study, settings(**{"model.encoder": "resnet18"}), events=SilentEvents())
    (study.root.parent / "b.png").rename(study.root.parent / "gone.png")
    with pytest.raises(SlideError):
        train_round(study, settings(), events=SilentEvents())
    (study.root.parent / "gone.png").rename(study.root.parent / "b.png")
    assert [r.state for r in study.rounds()] == ["cancelled", "failed"]
    assert train_round(study, None, resume=True, events=SilentEvents()).number == 1


def test_a_round_that_diverges_is_stopped_and_told(study):
    wild = settings(
        **{
            "training.learning_rate": 1.0,
            "training.optimizer": "sgd",
            "training.steps": 200,
            "method.temperature": 1e-9,
        }
    )
    with pytest.raises(TrainingError, match="lower rate: --set training.learning_rate=0.25"):
        train_round(study, wild, events=SilentEvents())
    assert study.rounds()[-1].state == "failed"


def test_a_val_region_without_labels_is_no_score(study):
    study.add_region("b", Rect(0, 0, 64, 64), state="accepted", split=Split.VAL)
    for region in study.regions(slide="c"):
        study.set_region(region.id, split=Split.TEST)
    done = train_round(study, settings(), events=SilentEvents())
    assert done.scores.best_val is None
    assert (done.folder / "best.safetensors").exists()


def test_two_trainings_at_once_are_refused(study):
    other = Project.open(study.root)
    with other, other.lock_training(), pytest.raises(BusyError, match=r"pid|process"):
        train_round(study, settings(), events=SilentEvents())
    assert study.rounds() == []


@pytest.mark.parametrize("full", ["log.jsonl", "last.pt", "best.safetensors"])
def test_a_full_disk_is_told_and_the_round_before_is_whole(study, monkeypatch, full):
    first = train_round(study, settings(), events=SilentEvents())
    before = (first.folder / "best.safetensors").read_bytes()
    real_open, real_write = Path.open, Path.write_bytes

    def full_disk(self, *arguments, **options):
        if full in self.name and "2" in self.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        real = (
            real_write if arguments and isinstance(arguments[0], bytes | memoryview) else real_open
        )
        return real(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", full_disk)
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    told = Recorder()
    with pytest.raises(ProjectError, match="full.*Free some space"):
        train_round(study, settings(), events=told)
    monkeypatch.undo()
    assert "full" in told.of("failed")[0]["text"]
    assert not [p.name for p in study.round(2).folder.iterdir() if "part" in p.name]
    assert study.round(1).state == "done"
    assert (first.folder / "best.safetensors").read_bytes() == before
    assert study.round(2).state == "failed"
    again = train_round(study, settings(), events=SilentEvents())
    assert again.state == "done"


def start_training(root, steps):
    arguments = [f"--set={k}={v}" for k, v in {**QUICK, "training.steps": steps}.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "unisemalign", "train", str(root), "--json", *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )


def read_until_step(child, step):
    for line in child.stdout:
        event = json.loads(line)
        if event["event"] == "step" and event["step"] >= step:
            return
    pytest.fail("the training ended early")


def test_a_killed_round_resumes_from_its_checkpoint(study):
    child = start_training(study.root, 500)
    read_until_step(child, 3)
    child.kill()
    child.wait()
    child.stdout.close()
    folder = study.rounds()[-1].folder
    assert not list(folder.glob(".*part"))
    checkpoint = torch.load(folder / "last.pt", weights_only=True)
    assert checkpoint["step"] >= 2
    text = (folder / "run.toml").read_text()
    (folder / "run.toml").write_text(text.replace("\nsteps = 500", "\nsteps = 8"))
    told = Recorder()
    done = train_round(study, None, resume=True, events=told)
    assert done.state == "done"
    assert told.of("step")[0]["step"] == checkpoint["step"] + 1


@pytest.mark.parametrize("how", ["signal", "file"])
def test_cancel_is_a_clean_stop_with_status_130(study, how):
    child = start_training(study.root, 500)
    read_until_step(child, 1)
    if how == "signal":
        os.kill(child.pid, signal.SIGTERM)
    else:
        (study.rounds()[-1].folder / "cancel").touch()
    rest = [json.loads(line) for line in child.stdout.read().splitlines()]
    assert child.wait() == 130
    child.stdout.close()
    assert rest[-1]["event"] == "cancelled"
    assert sum(each["event"] == "step" for each in rest) < 250
    found = study.rounds()[-1]
    assert found.state == "cancelled"
    assert torch.load(found.folder / "last.pt", weights_only=True)["step"] >= 1


def test_a_signal_that_comes_while_the_round_closes_tears_nothing(study, monkeypatch):
    """The dock asks twice: a file in the round's folder, then a signal."""
    told, got = Recorder(stop_after=2), []
    plainly = Project.set_round

    def signalled(self, number, **fields):
        if fields.get("state") == "cancelled":
            os.kill(os.getpid(), signal.SIGTERM)
        return plainly(self, number, **fields)

    monkeypatch.setattr(Project, "set_round", signalled)
    before = signal.signal(signal.SIGTERM, lambda number, _frame: got.append(number))
    try:
        with pytest.raises(CancelledError):
            train_round(study, settings(), events=told, cancel=told.token)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == []
    assert study.rounds()[-1].state == "cancelled"


def test_batches_depend_on_seed_and_step_alone(study):
    chosen = settings()
    a, b = batches_of(study, chosen), batches_of(study, chosen)
    a.draw(0)
    one, two = a.draw(5), b.draw(5)
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.unlabelled.strong, two.unlabelled.strong)
    assert torch.equal(one.box, two.box)
    other = batches_of(study, settings(seed=1)).draw(5)
    assert not torch.equal(one.images, other.images)
    iterated = list(a.iterate(4, 6))[1]
    assert torch.equal(iterated.images, one.images)


def test_labels_outside_the_accepted_region_are_ignored(study):
    batch = batches_of(study, settings(**{"views.crop_px": 256})).draw(0)
    assert set(batch.labels.unique().tolist()) == {0, 1, 255}


def test_held_out_regions_are_never_seen(tmp_path):
    """A held-out half is painted green: no crop, labelled or not, may hold green."""
    from PIL import Image

    truth = draw_textures(tmp_path / "a.png", 0, (256, 512))
    pixels = np.asarray(Image.open(tmp_path / "a.png")).copy()
    pixels[:, 256:] = (0, 200, 0)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Project.create(tmp_path / "p.unisem", classes=["a", "b"], spacing_um=0.5) as project:
        project.add_slide(tmp_path / "a.png", spacing_um=0.5)
        label_region(project, "a", Rect(0, 0, 128, 128), truth)
        rect = Rect(0, 256, 256, 256)
        project.write_labels("a", rect, truth[rect.slices], Origin.DRAWN, action="accept")
        project.add_region("a", rect, state="accepted", split=Split.VAL)
        chosen = settings(**{"views.stain_weak": 0.0, "views.crop_px": 128})
        batches = batches_of(project, chosen)
        for step in range(12):
            batch = batches.draw(step)
            for images in (batch.images, batch.unlabelled.weak):
                assert not (images[:, 1] - images[:, 0] > 0.3).any()


def test_weak_views_only_vary_the_stain_and_strong_ones_more():
    views = build_settings().views
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 220, (32, 32, 3)).astype(np.uint8)
    plain = torch.tensor(pixels).permute(2, 0, 1) / 255
    weak = weak_view(pixels, views, np.random.default_rng(1))
    assert 0 < (weak - plain).abs().mean() < 0.1
    gaps = [
        (strong_view(weak, views, np.random.default_rng(k)) - weak).abs().mean() for k in range(8)
    ]
    assert np.mean(gaps) > (weak - plain).abs().mean()
    assert weak.min() >= 0
    assert weak.max() <= 1


def test_no_stain_jitter_is_no_change():
    image = torch.rand(3, 8, 8)
    assert stain_jitter(image, 0.0, np.random.default_rng(0)) is image


def test_boxes_keep_their_bounds():
    views = build_settings(overrides={"views.cutmix_probability": 1.0}).views
    rng = np.random.default_rng(0)
    for _ in range(200):
        box = cutmix_box(100, views, rng)
        rows, columns = box.any(1).sum().item(), box.any(0).sum().item()
        assert box.sum() == rows * columns
        assert 0.01 <= rows * columns / 100**2 <= 0.42
        assert 0.25 <= rows / columns <= 4
    none = build_settings(overrides={"views.cutmix_probability": 0.0}).views
    assert not cutmix_box(100, none, rng).any()
    for least, most, pixels in ((0.0, 0.0, 0), (0.0, 1e-6, 1)):
        assert _box(least, most, rng).sum() == pixels
    # As large as the crop: nothing but a square fits, so it is cut.
    assert _box(1.0, 1.0, rng).sum() > 0.5 * 100**2


def _box(least, most, rng):
    areas = {"views.cutmix_area_min": least, "views.cutmix_area_max": most}
    views = build_settings(overrides={"views.cutmix_probability": 1.0, **areas}).views
    return cutmix_box(100, views, rng)
