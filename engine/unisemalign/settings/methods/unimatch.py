"""Settings of UniMatch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Lt
from pydantic import Field

from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.consistency import ConsistencySettings


class UniMatchSettings(ConsistencySettings):
    """UniMatch: two strong views and a view with dropped features learn from the weak one."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_strong", "weight_features")

    name: Literal["unimatch"] = "unimatch"
    weight_strong: Weight = Field(0.25, description="Weight of each strong view's loss.")
    weight_features: Weight = Field(0.5, description="Weight of the loss with dropped features.")
    feature_dropout: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.5, description="Share of the encoder's channels that is dropped."
    )
    unlabelled_loss: Literal["ce", "dice"] = Field(
        "ce",
        description="Cross-entropy over valid pixels, or soft Dice over sure pixels, as published "
        "for medical images.",
    )
