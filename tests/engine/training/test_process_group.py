"""Two processes on one machine train one round, started as a person would start them."""

import copy
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.engine.conftest import QUICK
from unisemalign.errors import SettingsError
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.settings import build_settings
from unisemalign.training.batches import Batches
from unisemalign.training.loop import train_step
from unisemalign.training.optimiser import build_optimiser
from unisemalign.training.process_group import Alone, check_shares
from unisemalign.training.tissue import open_tissue

SHARED = {**QUICK, "training.batch_labelled": 4, "training.batch_unlabelled": 4}


class Member(Alone):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


def launch(root, *more, **changed):
    """Start ``accelerate launch`` with two processes."""
    settings = [f"--set={k}={v}" for k, v in {**SHARED, **changed}.items()]
    return subprocess.Popen(
        # --multi_gpu is what starts several processes, with a GPU or without.
        [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
        + ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"]
        + ["--main_process_port=0", "-m", "unisemalign", "train", str(root), "--json"]
        + (list(more) if "--resume" in more else [*settings, *more]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def events_of(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_the_members_draw_the_crops_of_one_batch_between_them(study):
    chosen = build_settings(overrides=SHARED)
    method = build_method(build_network(["a", "b"], chosen.model), chosen)
    tissue = open_tissue(study)
    whole = Batches(tissue, chosen, method.needs).draw(3)
    parts = [Batches(tissue, chosen, method.needs, Member(rank, 2)).draw(3) for rank in (0, 1)]
    for k in range(4):
        mine = parts[k % 2]
        assert torch.equal(mine.images[k // 2], whole.images[k])
        assert torch.equal(mine.labels[k // 2], whole.labels[k])
        assert torch.equal(mine.unlabelled.weak[k // 2], whole.unlabelled.weak[k])
        assert torch.equal(mine.unlabelled.strong[:, k // 2], whole.unlabelled.strong[:, k])
        assert torch.equal(mine.box[:, k // 2], whole.box[:, k])


class Thread(Member):
    """A member among threads: all wait for one another, then take the mean."""

    def __init__(self, rank, barrier, given):
        super().__init__(rank, barrier.parties)
        self._barrier, self._given = barrier, given

    def average(self, tensors):
        self._given[self.rank] = [t.clone() for t in tensors]
        self._barrier.wait(60)
        for tensor, *others in zip(tensors, *self._given, strict=True):
            tensor.copy_(torch.stack(others).mean(0))
        self._barrier.wait(60)


def test_the_members_stay_the_same(study):
    chosen = build_settings(overrides={**SHARED, "method.ema": 0.9})
    torch.manual_seed(0)
    network = build_network(["a", "b"], chosen.model)
    tissue = open_tissue(study)
    barrier, given = threading.Barrier(2), [None, None]

    def three_steps(rank):
        processes = Thread(rank, barrier, given)
        method = build_method(copy.deepcopy(network), chosen)
        optimiser = build_optimiser(method.groups(), chosen.training)
        batches = Batches(tissue, chosen, method.needs, processes)
        with torch.enable_grad():
            parts = [
                train_step(method, optimiser, chosen, batches.draw(k), k, torch.float32, processes)
                for k in range(3)
            ]
        return method, parts

    with ThreadPoolExecutor(2) as pool:
        (one, told), (two, same) = pool.map(three_steps, (0, 1))
    assert told == same
    assert torch.equal(one.threshold, two.threshold)
    for network_of in (lambda m: m.student, lambda m: m.deployed):
        mine, theirs = network_of(one).state_dict(), network_of(two).state_dict()
        assert all(torch.equal(mine[k], theirs[k]) for k in mine)
    moved = one.student.state_dict()
    assert any(not torch.equal(moved[k], v) for k, v in network.state_dict().items())


@pytest.mark.parametrize(("count", "size", "advice"), [(4, 3, "6"), (2, 2, "4"), (8, 3, "9")])
def test_crops_that_cannot_be_shared_out_are_refused(count, size, advice):
    training = build_settings(overrides={"training.batch_labelled": count}).training
    with pytest.raises(SettingsError, match=f"batch_labelled={advice}"):
        check_shares(training, Member(0, size))


def test_a_launched_round_is_resumed_after_a_killed_process(study):
    """Killed in the middle, a process loses nothing that was kept."""
    child = launch(study.root, **{"training.steps": 400})
    for line in child.stdout:
        if line.startswith("{") and json.loads(line).get("step", 0) >= 4:
            break
    found = study.rounds()[-1]
    os.kill(assistant_of(child.pid), signal.SIGKILL)
    child.communicate(timeout=120)
    assert child.returncode != 0
    kept = torch.load(found.folder / "last.pt", weights_only=True)["step"]
    assert kept >= 4
    (found.folder / "run.toml").write_text(
        (found.folder / "run.toml").read_text().replace("steps = 400", f"steps = {kept + 2}")
    )
    again = launch(study.root, "--resume")
    out, said = again.communicate(timeout=120)
    assert again.returncode == 0, out[-600:] + said[:1500]
    steps = [e["step"] for e in events_of(out) if e["event"] == "step"]
    assert steps == [kept + 1, kept + 2]
    assert study.round(found.number).state == "done"
    assert len(study.rounds()) == 1


def assistant_of(launcher):
    """Return the process that does not lead, among the launcher's children."""
    import psutil

    for each in psutil.Process(launcher).children(recursive=True):
        if each.environ().get("RANK") == "1":
            return each.pid
    raise AssertionError("no second process found")
