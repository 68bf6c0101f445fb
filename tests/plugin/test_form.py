"""The form is the settings tree, seen once more."""

from __future__ import annotations

import re

import pytest

from napari_unisemalign.session.training_choice import TrainingChoice, value_at
from napari_unisemalign.widgets.settings_form import SettingsForm, iter_fields
from unisemalign.runtime import find_hardware
from unisemalign.settings import HARDWARE, METHODS, PRESETS, build_settings


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
    here = find_hardware()
    assert form.choice.settings() == build_settings(hardware=here)
    starts = ["--preset", PRESETS[0], "--method", next(iter(METHODS)), "--hardware", here]
    assert form.choice.options() == starts


def test_hardware_fills_the_form_and_a_preset_prevails(form: SettingsForm) -> None:
    for name in HARDWARE:
        form.hardware.value = name
        steps = {"laptop": 200, "workstation": 400, "gpu": 1000}[name]
        assert form.fields["training.steps"].value == steps
        assert form.choice.settings() == build_settings(hardware=name)
    form.preset.value = "paper"
    assert form.fields["training.steps"].value == 1280


def test_changes_become_options(form: SettingsForm) -> None:
    form.fields["training.steps"].value = 25
    form.fields["inference.skip_glass"].value = False
    assert "training.steps=25" in form.choice.options()
    assert "inference.skip_glass=false" in form.choice.options()
    assert form.choice.settings().training.steps == 25


def test_bounds_and_tooltips_come_from_the_tree(form: SettingsForm) -> None:
    crop = form.fields["views.crop_px"]
    assert (crop.min, crop.max) == (32, 2048)
    assert crop.tooltip == "Side of a training crop at working spacing."
    assert form.fields["training.start_from"].choices == ("previous", "scratch")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS)
def test_a_preset_fills_the_form(form: SettingsForm, preset: str, method: str) -> None:
    form.preset.value, form.method.value = preset, method
    made = build_settings(preset, method, hardware=form.choice.hardware)
    assert form.choice.settings() == made
    for address, widget in form.fields.items():
        assert widget.value == value_at(made, address)


def test_a_new_form_shows_what_was_chosen(qtbot, form: SettingsForm) -> None:
    form.preset.value = PRESETS[1]
    form.fields["training.steps"].value = 25
    again = SettingsForm(form.choice)
    assert again.preset.value == PRESETS[1]
    assert again.fields["training.steps"].value == 25
    assert again.choice.options() == form.choice.options()


def test_no_description_points_into_a_paper_nobody_has() -> None:
    for field in iter_fields():
        assert not re.search(r"\bA\d+\b|METHODS|\brow \d", field.description), field.address


def test_the_chosen_method_is_explained(dock) -> None:
    note, method = dock.train.method_note, dock.train.form.method
    dock.train.fold.setChecked(True)
    for name, known in METHODS.items():
        method.native.setCurrentText(name)
        assert note.text() == known.explained
        assert known.sentence in note.text()
        assert not note.isHidden()


def test_the_settings_of_a_project_are_there_again(make_dock, root, monkeypatch):
    first = make_dock()
    first.controller.opener.open_project(root)
    form, choice = first.train.form, first.controller.trainer.choice
    form.method.native.setCurrentText("fixmatch")
    form.fields["training.steps"].value = 123
    monkeypatch.setattr(first.controller.trainer, "_start", lambda options: None)
    first.controller.trainer.start()
    said = choice.options()
    first.controller.shut_down()

    second = make_dock()
    assert second.train.form.method.value == "unisemalign"
    second.controller.opener.open_project(root)
    assert second.controller.trainer.choice.options() == said
    assert second.train.form.method.value == "fixmatch"
    assert second.train.form.fields["training.steps"].value == 123
    assert second.train.method_note.text() == METHODS["fixmatch"].explained


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {"preset": "recommended", "method": "no such", "chosen": {}},
        {"preset": "recommended", "method": "unisemalign", "hardware": "no such", "chosen": {}},
        {"preset": "recommended", "method": "unisemalign", "hardware": [], "chosen": {}},
        {"preset": "recommended", "method": ["unisemalign"], "chosen": {}},
        {"preset": "recommended", "method": "unisemalign", "chosen": {"training.steps": -5}},
        {"preset": "recommended", "method": "unisemalign", "chosen": {"no.such": 1}},
        {"preset": "recommended", "method": "unisemalign", "chosen": {"training": {"x": 1}}},
    ],
)
def test_what_no_setting_takes_is_not_restored(record) -> None:
    choice = TrainingChoice()
    before = choice.record()
    assert not choice.restore(record)
    assert choice.record() == before
