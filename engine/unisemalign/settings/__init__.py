"""One frozen tree of settings: TOML, command line and form are views of it."""

from unisemalign.settings.inference import InferenceSettings
from unisemalign.settings.methods import (
    METHODS,
    DecoderLosses,
    LabelledLosses,
    MethodSettings,
    SupervisedSettings,
    UniSemAlignSettings,
    register_method,
)
from unisemalign.settings.model import ModelSettings
from unisemalign.settings.training import TrainingSettings
from unisemalign.settings.tree import (
    HARDWARE,
    PRESETS,
    Settings,
    build_settings,
    read_settings,
    write_settings,
)
from unisemalign.settings.views import ViewSettings

__all__ = [
    "HARDWARE",
    "METHODS",
    "PRESETS",
    "DecoderLosses",
    "InferenceSettings",
    "LabelledLosses",
    "MethodSettings",
    "ModelSettings",
    "Settings",
    "SupervisedSettings",
    "TrainingSettings",
    "UniSemAlignSettings",
    "ViewSettings",
    "build_settings",
    "read_settings",
    "register_method",
    "write_settings",
]
