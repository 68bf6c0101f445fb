"""What memory cannot hold is refused before the first step."""

from __future__ import annotations

import pytest
import torch

from tests.engine.conftest import QUICK, ListEvents
from unisemalign.errors import SettingsError
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.settings import build_settings
from unisemalign.training import memory, train_round
from unisemalign.training.tissue import open_tissue

CPU = torch.device("cpu")


def _step(project, method: str = "unisemalign", **changes: object):
    overrides = {**QUICK, **{name.replace("__", "."): value for name, value in changes.items()}}
    settings = build_settings(method=method, overrides=overrides)
    network = build_network(["a", "b"], settings.model, settings.method)
    made = build_method(network, settings)
    return made, open_tissue(project), settings


def test_what_does_not_fit_is_refused_before_the_first_step(study, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 400_000_000)
    events = ListEvents()
    large = {**QUICK, "views.crop_px": 1024}
    with pytest.raises(
        SettingsError, match=r"needs about \d+\.\d GB .* found 0\.4 GB free"
    ) as said:
        train_round(study, build_settings(overrides=large), events=events)
    assert not [each for each in events.events if each.event == "step"]
    side = int(str(said.value).split("Crops of ")[1].split()[0])
    assert 64 <= side < 1024
    fits = build_settings(overrides={**QUICK, "views.crop_px": side})
    assert train_round(study, fits, events=events).state == "done"


def test_where_no_crop_fits_fewer_are_named(study, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda _device: 1_000_000)
    with pytest.raises(SettingsError, match="crops a step"):
        train_round(study, build_settings(overrides={**QUICK, "views.crop_px": 256}))


def test_a_small_step_is_not_looked_at(study, monkeypatch):
    monkeypatch.setattr(memory, "measure_step", None)
    assert train_round(study, build_settings(overrides=QUICK)).state == "done"


def test_memory_grows_with_crops_and_pixels(study):
    small, double, wide = (
        memory.measure_step(*_step(study, views__crop_px=side, **more), CPU, torch.float32)
        for side, more in (
            (256, {}),
            (256, {"training__batch_labelled": 8, "training__batch_unlabelled": 8}),
            (512, {}),
        )
    )
    assert small.fixed == double.fixed == wide.fixed
    assert double.of_crops == pytest.approx(4 * small.of_crops, rel=0.01)
    assert wide.of_crops == pytest.approx(4 * small.of_crops, rel=0.01)


# Thresholds, moving prototypes, a teacher without running statistics, two networks.
@pytest.mark.parametrize("name", ["unisemalign", "mpamatch", "uamt", "cps"])
def test_looking_at_a_method_leaves_it_as_it_was(study, name):
    method, tissue, settings = _step(study, name)
    before = {key: value.clone() for key, value in method.state_dict().items() if value.ndim}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert memory.measure_step(method, tissue, settings, CPU, torch.float32).of_crops > 0
    assert torch.equal(torch.rand(3), expected)
    after = method.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert all(each.grad is None for each in method.parameters())


def test_a_container_limits_memory(tmp_path, monkeypatch):
    for name, text in (("max", "300"), ("current", "250")):
        (tmp_path / f"memory.{name}").write_text(text)
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 30\nactive_file 10\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free_bytes(CPU) == 90
    (tmp_path / "memory.max").write_text("max")
    assert memory.free_bytes(CPU) > 1_000_000
