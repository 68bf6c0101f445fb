"""Settings of UniSemAlign."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Lt
from pydantic import Field

from unisemalign.settings.methods.base import LabelledLosses, Share, Weight


class UniSemAlignSettings(LabelledLosses):
    """UniSemAlign (METHODS part A); defaults are table A8's recommendation."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = (
        "weight_hard",
        "weight_soft",
        "weight_dropout",
    )

    name: Literal["unisemalign"] = "unisemalign"
    weight_hard: Weight = Field(0.5, description="Weight of hard pseudo-labels, L_h.")
    weight_soft: Weight = Field(0.25, description="Weight of soft agreement, L_s.")
    weight_dropout: Weight = Field(0.25, description="Weight of feature-dropout agreement, L_c.")
    ramp_steps: Annotated[int, Ge(0)] = Field(
        50,
        description="Steps over which the three weights above rise from e⁻⁵ to full: a decoder "
        "that starts untrained would else believe its first guesses. 0: full at once.",
    )
    strong_views: Literal[1, 2] = Field(
        1,
        description="Strong views of each crop. 2: each has a box of its own, and the two keep "
        "complementary channels (UniMatch V2).",
    )
    confidence: Literal["hard", "soft"] = Field(
        "hard",
        description="Pixels below the threshold count nothing, or less the further they lie below "
        "it (a Gaussian of 0.1).",
    )
    feature_dropout: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.5, description="Share of channels dropped in the feature-dropout stream."
    )
    clean_statistics: bool = Field(
        True,
        description="Gather batch norm statistics from clean crops alone: strong and dropped-out "
        "ones would shift them away from what is seen when a slide is segmented.",
    )
    threshold: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.7, description="Confidence a pseudo-label needs at the start, τ₀."
    )
    threshold_momentum: Share = Field(
        0.999, description="How slowly the threshold follows the model's own confidence."
    )
    labeller: Literal["teacher", "student"] = Field(
        "teacher",
        description="Who labels weak views: the averaged teacher, or the student as it trains "
        "(A8 row 21).",
    )
    hard_target: Literal["weak", "strong"] = Field(
        "weak",
        description="Pseudo-label from the weak view, or the strong view's own (A8 row 3).",
    )
    soft_target: Literal["composite", "plain"] = Field(
        "composite",
        description="Whether the soft target carries the donor's box as the image does (A8 row 5).",
    )
    threshold_map: Literal["plain", "composite"] = Field(
        "plain",
        description="Which validity map the threshold is updated on (A8 row 19).",
    )
    donor: Literal["flip", "draw"] = Field(
        "flip",
        description="CutMix donors: the batch reversed, or a second draw (A8 row 25).",
    )
    donor_label: Literal["fused", "decoder"] = Field(
        "fused", description="Whose labels a donor carries (A8 row 4)."
    )
