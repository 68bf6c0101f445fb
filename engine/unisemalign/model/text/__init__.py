"""Words: towers that read class names, and free vectors where there is none."""

from unisemalign.model.text.build import build_text_tower
from unisemalign.model.text.prompted import PromptedText
from unisemalign.model.text.tower import FreeVectors, Pooling, PromptedTower, TextTower

__all__ = [
    "FreeVectors",
    "Pooling",
    "PromptedText",
    "PromptedTower",
    "TextTower",
    "build_text_tower",
]
