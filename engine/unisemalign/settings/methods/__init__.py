"""How labelled and unlabelled tissue is used: one file and one class of settings a method."""

from unisemalign.settings.methods.base import DecoderLosses, LabelledLosses, MethodSettings
from unisemalign.settings.methods.registry import METHODS, KnownMethod, register_method
from unisemalign.settings.methods.supervised import SupervisedSettings
from unisemalign.settings.methods.unisemalign import UniSemAlignSettings

__all__ = [
    "METHODS",
    "DecoderLosses",
    "KnownMethod",
    "LabelledLosses",
    "MethodSettings",
    "SupervisedSettings",
    "UniSemAlignSettings",
    "register_method",
]
