"""How labelled and unlabelled tissue is used: one class of settings a method."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from unisemalign.settings.base import SettingsModel

Weight = Annotated[float, Ge(0.0), Le(1000.0)]
Share = Annotated[float, Ge(0.0), Le(1.0)]


class LabelledLosses(SettingsModel):
    """What every method does with labelled tissue, and with its teacher."""

    weight_decoder: Weight = Field(1.0, description="Weight of the decoder's loss, L_dl.")
    weight_dice: Weight = Field(0.5, description="Weight of the soft Dice loss beside it.")
    weight_prototype: Weight = Field(1.0, description="Weight of the prototypes' loss, L_p.")
    weight_text: Weight = Field(1.0, description="Weight of the words' loss, L_t.")
    weight_align: Weight = Field(1.0, description="Weight of the alignment of both, L_al.")
    align: Literal["none", "mse", "cosine", "kl"] = Field(
        "mse", description="How prototypes and words are brought together (A8 row 13)."
    )
    temperature: Annotated[float, Gt(0.0), Le(10.0)] = Field(
        0.1, description="Cosines are divided by this; 1 is the paper's (A8 row 12)."
    )
    eta_prototype: Weight = Field(0.1, description="Share of the prototypes in the fused logits.")
    eta_text: Weight = Field(0.1, description="Share of the words in the fused logits.")
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.99, description="How slowly the teacher follows the student; 0 copies it each step."
    )


class SupervisedSettings(LabelledLosses):
    """Labelled tissue only: the yardstick for every semi-supervised method."""

    name: Literal["supervised"] = "supervised"


class UniSemAlignSettings(LabelledLosses):
    """UniSemAlign (METHODS part A); defaults are table A8's recommendation."""

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


MethodSettings = Annotated[UniSemAlignSettings | SupervisedSettings, Field(discriminator="name")]
