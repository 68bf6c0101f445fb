import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unisemalign.errors import SettingsError
from unisemalign.settings import (
    METHODS,
    PRESETS,
    Settings,
    build_settings,
    read_settings,
    write_settings,
)

ROOT = Path(__file__).parents[2]


def test_the_default_is_recommended_unisemalign():
    assert build_settings() == Settings()
    assert PRESETS[0] == "recommended"
    assert next(iter(METHODS)) == "unisemalign"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_every_preset_and_method_round_trips(tmp_path, preset, method):
    settings = build_settings(preset, method, ["training.steps=7", "seed=3"])
    write_settings(settings, tmp_path / "run.toml")
    assert read_settings(tmp_path / "run.toml") == settings
    assert settings.method.name == method
    assert settings.training.steps == 7


def test_a_method_keeps_the_presets_numbers_it_shares():
    assert build_settings("released", "supervised").method.weight_decoder == 0.5


@given(st.integers(1, 10**6), st.floats(1e-6, 1.0))
def test_overrides_arrive(steps, rate):
    settings = build_settings(overrides={"training.steps": steps, "training.learning_rate": rate})
    assert (settings.training.steps, settings.training.learning_rate) == (steps, rate)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("training.stepz=3", "Unknown setting 'training.stepz'"),
        ("training.steps=abc", "'training.steps'.*found 'abc'"),
        ("training.steps=0", "greater than or equal to 1, found 0"),
        ("inference.stride_px=1000", "stride_px must not be above window_px, found 1000 and"),
        ("training.steps", "place.name=value"),
        ("method.tau=3", "Unknown setting 'method.tau'"),
        ("method.name=magic", "Unknown method 'magic'. Choose one of"),
        ("seed.x=1", "seed"),
    ],
)
def test_a_mistake_gets_a_sentence(override, sentence):
    with pytest.raises(SettingsError, match=f"(?i){sentence}"):
        build_settings(overrides=[override])


def test_unknown_preset_names_the_known():
    with pytest.raises(SettingsError, match="recommended, paper, released"):
        build_settings("best")


def test_a_torn_file_is_told(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text("a = [")
    with pytest.raises(SettingsError, match="not valid TOML"):
        read_settings(path)


@pytest.mark.parametrize(
    "content", [b"", b"# nothing\n", b"seed = 1\n", "# \xe4".encode("latin-1")]
)
def test_a_round_without_its_settings_is_told(tmp_path, content):
    path = tmp_path / "run.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="needs every setting of its round|not valid TOML"):
        read_settings(path)


def test_figures_of_the_methods_are_those_of_the_kept_runs():
    done = subprocess.run([sys.executable, ROOT / "tools" / "method_figures.py", "--check"])
    assert done.returncode == 0, "python tools/method_figures.py"
    for name, known in METHODS.items():
        assert re.search(r"GlaS \(colon glands\) \d\d\.\d", known.measured), name
        assert known.explained == f"{known.sentence} {known.measured}"
