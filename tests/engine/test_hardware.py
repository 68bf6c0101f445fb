"""A round's length follows the computer."""

from __future__ import annotations

import pytest

from unisemalign.errors import SettingsError
from unisemalign.runtime import hardware
from unisemalign.settings import HARDWARE, PRESETS, build_settings


def test_the_field_defaults_are_a_workstations():
    assert next(iter(HARDWARE)) == "workstation"
    assert build_settings(hardware="workstation") == build_settings()


@pytest.mark.parametrize("name", HARDWARE)
def test_overrides_and_presets_prevail(name):
    assert build_settings(overrides=["training.steps=7"], hardware=name).training.steps == 7
    for preset in PRESETS[1:]:
        steps = build_settings(preset).training.steps
        assert build_settings(preset, hardware=name).training.steps == steps


def test_unknown_hardware_is_named():
    with pytest.raises(SettingsError, match="Unknown hardware 'abacus'. Choose one of: workst"):
        build_settings(hardware="abacus")


@pytest.mark.parametrize(
    ("gpu", "cores", "found"),
    [(True, 2, "gpu"), (False, 8, "workstation"), (False, 7, "laptop")],
)
def test_what_this_computer_is(monkeypatch, gpu, cores, found):
    monkeypatch.setattr(hardware, "has_gpu", lambda: gpu)
    monkeypatch.setattr(hardware, "usable_cores", lambda: cores)
    assert hardware.find_hardware() == found


def test_a_gpu_needs_a_torch_that_is_built_for_it(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "torch" / "__init__.py")

    monkeypatch.setattr(hardware.sys, "platform", "win32")
    monkeypatch.setenv("SystemRoot", str(tmp_path))
    monkeypatch.setattr(hardware, "find_spec", lambda _name: Spec)
    assert not hardware.has_gpu()
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvcuda.dll").touch()
    assert not hardware.has_gpu()
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "lib" / "torch_cuda.dll").touch()
    assert hardware.has_gpu()
