"""Settings of CorrMatch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, Lt
from pydantic import Field

from unisemalign.settings.base import Share
from unisemalign.settings.methods.base import Weight
from unisemalign.settings.methods.consistency import ConsistencySettings


class CorrMatchSettings(ConsistencySettings):
    """CorrMatch: labels spread along correlations between pixels, to whole regions."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = (
        "weight_hard",
        "weight_soft",
        "weight_features",
        "weight_spread",
    )

    name: Literal["corrmatch"] = "corrmatch"
    weight_labelled_spread: Weight = Field(
        0.5, description="Weight of the spread logits' loss on labelled crops."
    )
    weight_decoder: Weight = Field(0.5, description="Weight of the decoder's loss.")
    weight_dice: Weight = Field(0.25, description="Weight of the soft Dice loss beside it.")
    weight_hard: Weight = Field(0.25, description="Weight of hard labels of the strong view.")
    weight_soft: Weight = Field(0.25, description="Weight of soft agreement of both views.")
    weight_features: Weight = Field(0.25, description="Weight of the loss with dropped features.")
    weight_spread: Weight = Field(
        0.25, description="Weight of the spread logits' loss on unlabelled crops."
    )
    feature_dropout: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.5, description="Share of the encoder's channels that is dropped."
    )
    threshold: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.85, description="Confidence a pseudo-label needs at the start."
    )
    threshold_momentum: Share = Field(
        0.999, description="How slowly the threshold follows the model's own confidence."
    )
    regions: Annotated[int, Ge(0), Le(4096)] = Field(
        128, description="Correlation maps drawn in each step that may relabel a whole region."
    )
    spread_channels: Annotated[int, Ge(1), Le(4096)] = Field(
        256, description="Channels of the map whose pixels are correlated."
    )
    soft_target: Literal["composite", "plain"] = Field(
        "composite",
        description="Whether the soft target carries the donor's box as the image does. The "
        "public code: plain, which is wrong inside the box.",
    )
