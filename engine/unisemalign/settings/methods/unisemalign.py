"""Settings of UniSemAlign."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Le, Lt
from pydantic import Field

from unisemalign.settings.base import Share
from unisemalign.settings.methods.base import LabelledLosses, Weight


class UniSemAlignSettings(LabelledLosses):
    """UniSemAlign: decoder, class prototypes and words label together; the surer labels teach."""

    unlabelled_weights: ClassVar[tuple[str, ...]] = (
        "weight_hard",
        "weight_hard_dice",
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
    threshold_kind: Literal["one", "class"] = Field(
        "class",
        description="One threshold for all classes, as published: it rises with the steps. Or one "
        "a class: the mean confidence of the pixels given that class. So of each class the surer "
        "pixels count, however rare and doubtful it is.",
    )
    alignment: Share = Field(
        0.0,
        description="How far the labeller's class shares are drawn to the labelled ones: 0 not "
        "at all, 1 all the way.",
    )
    logit_adjustment: Annotated[float, Ge(0.0), Le(2.0)] = Field(
        0.0,
        description="Share of the logarithm of each class's labelled share that is added to the "
        "logits while labelled tissue teaches them: without it, rare classes are favoured.",
    )
    weight_hard_dice: Weight = Field(
        0.0, description="Weight of a soft Dice loss over the hard pseudo-labels' classes."
    )
    guard: Share = Field(
        0.0,
        description="Unlabelled tissue counts less while a class is predicted on less than this "
        "share of its labelled share. 0: it always counts.",
    )
    labeller: Literal["teacher", "student"] = Field(
        "teacher",
        description="Who labels weak views: the averaged teacher, or the student as it trains.",
    )
    hard_target: Literal["weak", "strong"] = Field(
        "weak",
        description="Pseudo-label from the weak view, or the strong view's own.",
    )
    soft_target: Literal["composite", "plain"] = Field(
        "composite",
        description="Whether the soft target carries the donor's box as the image does.",
    )
    threshold_map: Literal["plain", "composite"] = Field(
        "plain",
        description="Which validity map the threshold is updated on.",
    )
    donor: Literal["flip", "draw"] = Field(
        "flip",
        description="CutMix donors: the batch reversed, or a second draw.",
    )
    donor_label: Literal["fused", "decoder"] = Field(
        "fused", description="Whose labels a donor carries."
    )
