"""How tissue, labelled or not, becomes a loss. Imports torch."""

from __future__ import annotations

from importlib import import_module

from unisemalign.methods.labelled import LabelledMethod
from unisemalign.methods.method import Batch, Group, Method, Needs, Unlabelled
from unisemalign.methods.supervised import Supervised
from unisemalign.methods.teacher import Teacher
from unisemalign.methods.unisemalign import UniSemAlign
from unisemalign.model import Network
from unisemalign.settings import METHODS, Settings

__all__ = [
    "Batch",
    "Group",
    "LabelledMethod",
    "Method",
    "Needs",
    "Supervised",
    "Teacher",
    "UniSemAlign",
    "Unlabelled",
    "build_method",
]


def build_method(network: Network, settings: Settings) -> Method:
    """Return the method ``settings.method`` describes, around ``network``."""
    module, name = METHODS[settings.method.name].implementation.split(":")
    method: Method = getattr(import_module(module), name)(network, settings)
    return method
