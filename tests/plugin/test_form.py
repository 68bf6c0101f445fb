"""The form is the settings tree, seen once more."""

from __future__ import annotations

import pytest

from napari_unisemalign.widgets.form import SettingsForm, iter_fields, value_at
from unisemalign.settings import METHODS, PRESETS, build_settings


@pytest.fixture
def form(qtbot) -> SettingsForm:
    return SettingsForm()


def test_every_titled_setting_is_there_once() -> None:
    fields = list(iter_fields())
    addresses = [each.address for each in fields]
    assert {"seed", "device", "training.steps", "training.learning_rate"} <= set(addresses)
    assert "model.encoder" not in addresses
    assert len(addresses) == len(set(addresses))
    assert all(each.title and each.description for each in fields)


def test_the_form_begins_as_the_recommended_preset(form: SettingsForm) -> None:
    assert form.settings() == build_settings()
    assert form.options() == ["--preset", PRESETS[0], "--method", next(iter(METHODS))]


def test_changes_become_options(form: SettingsForm) -> None:
    form.fields["training.steps"].value = 25
    form.fields["inference.skip_glass"].value = False
    assert "training.steps=25" in form.options()
    assert "inference.skip_glass=false" in form.options()
    assert form.settings().training.steps == 25


def test_bounds_and_tooltips_come_from_the_tree(form: SettingsForm) -> None:
    crop = form.fields["views.crop_px"]
    assert (crop.min, crop.max) == (32, 2048)
    assert crop.tooltip == "Side of a training crop at working spacing."
    assert form.fields["training.start_from"].choices == ("previous", "scratch")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_a_preset_fills_the_form(form: SettingsForm, preset: str, method: str) -> None:
    form.preset.value, form.method.value = preset, method
    assert form.settings() == build_settings(preset, method)
    for address, widget in form.fields.items():
        assert widget.value == value_at(build_settings(preset, method), address)
