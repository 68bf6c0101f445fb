"""Settings of the uncertainty-aware mean teacher."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, Lt
from pydantic import Field

from unisemalign.settings.base import Share
from unisemalign.settings.methods.base import DecoderLosses, Weight


class UAMTSettings(DecoderLosses):
    """UAMT: agreement with an averaged teacher where its answers under noise agree."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_consistency",)

    name: Literal["uamt"] = "uamt"
    weight_consistency: Weight = Field(0.1, description="Weight of the agreement.")
    ramp_share: Share = Field(
        0.4,
        description="Share of the round's steps over which that weight rises from e⁻⁵ to full.",
    )
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.99, description="How slowly the teacher follows the student; 0: at once."
    )
    passes: Annotated[int, Ge(1), Le(64)] = Field(
        4, description="Passes of the teacher under noise that measure its uncertainty."
    )
    noise: Annotated[float, Ge(0.0), Le(10.0)] = Field(
        0.1, description="SD of the noise on normalised pixels, clipped at twice that."
    )
    dropout: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.3, description="Share of the encoder's channels dropped in student and teacher."
    )
