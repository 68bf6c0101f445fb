"""A form generated from the settings tree, where titles, bounds and tooltips live."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from magicgui.widgets import ComboBox, FloatSpinBox, create_widget
from magicgui.widgets.bases import ValueWidget
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from unisemalign.settings import METHODS, PRESETS, Settings, build_settings

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
    """Preset, method, and the titled settings as magicgui widgets.

    Attributes
    ----------
    preset, method
        What the other settings start from.
    fields
        Address → widget.
    """

    def __init__(self) -> None:
        self.preset = ComboBox(
            label=Settings.model_fields["preset"].title,
            choices=list(PRESETS),
            tooltip=Settings.model_fields["preset"].description,
        )
        self.method = ComboBox(
            label=Settings.model_fields["method"].title,
            choices=list(METHODS),
            tooltip=Settings.model_fields["method"].description,
        )
        base = build_settings()
        self.fields: dict[str, ValueWidget] = {}
        for each in iter_fields():
            self.fields[each.address] = create_widget(
                value=value_at(base, each.address),
                annotation=each.annotation,
                label=each.title,
                options={**dict(each.options), "tooltip": each.description},
            )
        self.preset.changed.connect(self._on_preset_changed)
        self.method.changed.connect(self._on_preset_changed)

    def widgets(self) -> list[ValueWidget]:
        """Return every widget, top to bottom."""
        return [self.preset, self.method, *self.fields.values()]

    def settings(self) -> Settings:
        """Return the settings of the form. SettingsError: a value is impossible."""
        return build_settings(self.preset.value, self.method.value, self._changes())

    def options(self) -> list[str]:
        """Return the form as options of ``unisemalign train``: what differs from the preset."""
        self.settings()
        options = ["--preset", str(self.preset.value), "--method", str(self.method.value)]
        for address, value in self._changes().items():
            options += ["--set", f"{address}={_toml(value)}"]
        return options

    def _changes(self) -> dict[str, Any]:
        base = build_settings(self.preset.value, self.method.value)
        changes = {}
        for address, widget in self.fields.items():
            value = widget.value
            if isinstance(value, str):
                value = value.strip()
            if value != value_at(base, address):
                changes[address] = value
        return changes

    def _on_preset_changed(self) -> None:
        base = build_settings(self.preset.value, self.method.value)
        for address, widget in self.fields.items():
            widget.value = value_at(base, address)


def value_at(settings: BaseModel, address: str) -> Any:
    """Return the setting at ``address``."""
    value: Any = settings
    for name in address.split("."):
        value = getattr(value, name)
    return value


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


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
