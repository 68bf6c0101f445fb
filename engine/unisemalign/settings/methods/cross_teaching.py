"""Settings of cross teaching."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.two_networks import TwoNetworksSettings


class CrossTeachingSettings(TwoNetworksSettings):
    """Cross teaching: a convolutional network and a transformer teach each other."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_cross",)

    name: Literal["cross_teaching"] = "cross_teaching"
    weight_cross: Weight = Field(0.1, description="Weight of what each learns from the other.")
    second_encoder: str = Field(
        "small-transformer",
        description="The transformer's encoder: a name `--encoder` takes, or small-transformer, "
        "six blocks that start from nothing.",
    )
