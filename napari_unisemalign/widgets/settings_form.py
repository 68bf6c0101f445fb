"""A form generated from the settings tree, where titles, bounds and tooltips live."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import ComboBox, FloatSpinBox, create_widget
from magicgui.widgets.bases import ValueWidget
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from qtpy.QtWidgets import QAbstractSpinBox

from napari_unisemalign.session.training_choice import TrainingChoice
from unisemalign.settings import HARDWARE, METHODS, PRESETS, Settings

PROJECT_OWNS = frozenset({"model.encoder", "model.text"})
"""Chosen once for the whole project, not for a round."""
STARTING_POINTS = ("preset", "method")
"""What every other setting starts from: widgets of their own, on top."""


@dataclass(frozen=True)
class FormField:
    """One setting that has a title, at its address in the tree."""

    address: str
    title: str
    description: str
    annotation: Any
    options: tuple[tuple[str, Any], ...]


def iter_fields(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[FormField]:
    """Yield every setting of ``model`` that has a title."""
    for name, info in model.model_fields.items():
        address = f"{prefix}{name}"
        if (inner := _inner_model(info.annotation)) is not None:
            yield from iter_fields(inner, f"{address}.")
        elif info.title is not None and address not in {*PROJECT_OWNS, *STARTING_POINTS}:
            annotation, options = _widget_of(info)
            yield FormField(
                address, info.title, info.description or "", annotation, tuple(options.items())
            )


class SettingsForm:
    """Preset, method, hardware, and the titled settings as magicgui widgets.

    Parameters
    ----------
    choice
        Where the values are kept; a choice of its own unless given.

    Attributes
    ----------
    preset, method, hardware
        What the other settings start from.
    fields
        Address → widget.
    """

    def __init__(self, choice: TrainingChoice | None = None) -> None:
        self.choice = TrainingChoice() if choice is None else choice
        self.preset = _starting_point("preset", PRESETS, self.choice.preset)
        self.method = _starting_point("method", METHODS, self.choice.method)
        self.hardware = ComboBox(
            label="Hardware",
            choices=list(HARDWARE),
            value=self.choice.hardware,
            tooltip="How long a round may be; chosen by itself for this computer.",
        )
        self.fields: dict[str, ValueWidget[Any]] = {}
        for each in iter_fields():
            widget: ValueWidget[Any] = create_widget(  # type: ignore[assignment]
                value=self.choice.value(each.address),
                annotation=each.annotation,
                label=each.title,
                options={**dict(each.options), "tooltip": each.description},
            )
            if isinstance(widget.native, QAbstractSpinBox):
                # Taken when the field is left: half a number is often below the least.
                widget.native.setKeyboardTracking(False)
            widget.changed.connect(partial(self.choice.choose, each.address))
            self.fields[each.address] = widget
        for start in (self.preset, self.method, self.hardware):
            start.changed.connect(self._on_start_changed)

    def widgets(self) -> list[ValueWidget[Any]]:
        """Return every widget, top to bottom."""
        return [self.preset, self.method, self.hardware, *self.fields.values()]

    def show_choice(self) -> None:
        """Show the choice as it is now: another project brought its own."""
        choice = self.choice
        starts = (self.preset, self.method, self.hardware)
        values = (choice.preset, choice.method, choice.hardware)
        for widget, value in zip(starts, values, strict=True):
            with widget.changed.blocked():
                widget.value = value
        for address, field in self.fields.items():
            with field.changed.blocked():
                field.value = choice.value(address)

    def _on_start_changed(self) -> None:
        starts = (self.preset, self.method, self.hardware)
        self.choice.start_from(*(str(each.value) for each in starts))
        for address, widget in self.fields.items():
            widget.value = self.choice.value(address)


def _starting_point(name: str, choices: Iterable[str], value: str) -> ComboBox:
    info = Settings.model_fields[name]
    return ComboBox(label=info.title, choices=list(choices), value=value, tooltip=info.description)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        models = [_inner_model(part) for part in get_args(annotation)]
        return next((model for model in models if model is not None), None)
    return None


def _widget_of(info: FieldInfo) -> tuple[Any, dict[str, Any]]:
    """Return the annotation and the magicgui options that express the field's type and bounds."""
    annotation = info.annotation
    if get_origin(annotation) is Literal:
        return None, {"choices": list(get_args(annotation)), "widget_type": ComboBox}
    options: dict[str, Any] = {}
    for rule in info.metadata:
        if isinstance(rule, Ge):
            options["min"] = rule.ge
        elif isinstance(rule, Gt):
            options["min"] = 0.0 if annotation is float else rule.gt + 1  # type: ignore[operator]
        elif isinstance(rule, Le):
            options["max"] = rule.le
        elif isinstance(rule, Lt):
            options["max"] = rule.lt
    if annotation is int:
        options.setdefault("max", 2**31 - 1)
    if annotation is float:
        options.update({"widget_type": FloatSpinBox, "step": 1e-4})
    return annotation, options
