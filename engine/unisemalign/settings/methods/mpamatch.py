"""Settings of MPAMatch."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.consistency import ConsistencySettings


class MPAMatchSettings(ConsistencySettings):
    """MPAMatch: pixels are drawn to several visual prototypes a class, and to its text."""

    network: ClassVar[str] = "mpa"
    unlabelled_weights: ClassVar[tuple[str, ...]] = (
        "weight_strong",
        "weight_features",
        "weight_unlabelled_prototype",
        "weight_unlabelled_text",
    )

    name: Literal["mpamatch"] = "mpamatch"
    weight_decoder: Weight = Field(0.5, description="Weight of the decoder's loss.")
    weight_dice: Weight = Field(0.25, description="Weight of the soft Dice loss beside it.")
    weight_prototype: Weight = Field(
        0.0625,
        description="Weight of alignment and contrast with visual prototypes, L_PAL + L_PCL.",
    )
    weight_text: Weight = Field(0.0625, description="The same with the class texts.")
    weight_unlabelled_prototype: Weight = Field(
        0.0625, description="The same with visual prototypes, on sure pixels of strong views."
    )
    weight_unlabelled_text: Weight = Field(
        0.0625, description="The same with the class texts, on sure pixels of strong views."
    )
    weight_strong: Weight = Field(0.0625, description="Weight of each strong view's loss.")
    weight_features: Weight = Field(0.125, description="Weight of the loss with dropped features.")
    feature_dropout: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.5, description="Share of the encoder's channels that is dropped."
    )
    prototypes_per_class: Annotated[int, Ge(1), Le(64)] = Field(
        4, description="Visual prototypes a class, K."
    )
    prototype_momentum: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.99, description="How slowly a prototype follows its pixels; 0.999 for long trainings."
    )
    contrast_temperature: Annotated[float, Gt(0.0), Le(10.0)] = Field(
        0.1, description="Cosines are divided by this in the contrast loss."
    )
    prototype_pixels: Annotated[int, Ge(1), Le(1 << 20)] = Field(
        4096, description="Pixels a step that are compared with prototypes, as many of each class."
    )
    prototypes_from: Annotated[int, Ge(0)] = Field(
        100, description="Steps after which prototypes count; before, they only move."
    )

    def network_options(self) -> dict[str, Any]:
        """Return how many visual prototypes the network holds."""
        return {"prototypes": self.prototypes_per_class}
