"""Settings of DuSSS."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from unisemalign.settings.base import Share
from unisemalign.settings.methods.base import DecoderLosses, Weight


class DuSSSSettings(DecoderLosses):
    """DuSSS: words say where each class lies, and that guides what a teacher's student learns."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = ("weight_guided", "weight_regions")

    name: Literal["dusss"] = "dusss"
    weight_pairs: Weight = Field(
        1.0, description="Weight of what brings crops and their words together, in the first stage."
    )
    weight_mask: Weight = Field(1.0, description="Weight of the words' own mask on labelled crops.")
    weight_regions: Weight = Field(
        0.1,
        description="Weight of what brings a class's words and the features under its mask "
        "together.",
    )
    weight_guided: Weight = Field(
        1.0, description="Weight of the student's agreement with teacher and mask."
    )
    pretrain_share: Share = Field(
        0.25,
        description="Share of the round's steps in which crops and words are brought together. "
        "Batches of fewer than 8 crops leave it out.",
    )
    ramp_share: Share = Field(
        0.4,
        description="Share of the round's steps over which the agreement rises from e⁻⁵ to full.",
    )
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.99, description="How slowly the teacher follows the student; 0: at once."
    )
    mask_temperature: Annotated[float, Gt(0.0), Le(10.0)] = Field(
        0.07, description="Cosines of words and pixels are divided by this in the mask."
    )
    sharpened_from: Share = Field(
        0.7, description="From this probability on, the target becomes its winner alone."
    )
    uncertainty: Annotated[float, Ge(0.0), Le(100.0)] = Field(
        1.0, description="How much uncertain pairs are taken for alike, λ of eq. 5."
    )
    targets: Literal["mended", "literal"] = Field(
        "mended",
        description="Mean of teacher and mask for the strong view; or σ(teacher + mask) for the "
        "weak one, as printed, which never falls below one half.",
    )
