"""What the settings of every method share."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field

from unisemalign.settings.base import SettingsModel, Share

Weight = Annotated[float, Ge(0.0), Le(1000.0)]


class MethodSettings(SettingsModel):
    """The least a method has: its name, and what inference reads.

    Attributes
    ----------
    network
        Which network it trains and leaves behind: a name in ``unisemalign.model.NETWORKS``.
    unlabelled_weights
        The settings that weigh unlabelled tissue. With all of them at 0 the method is its labelled
        losses alone: the contract test of the methods holds that.
    """

    network: ClassVar[str] = "plain"
    unlabelled_weights: ClassVar[tuple[str, ...]] = ()

    name: str = ""
    temperature: Annotated[float, Gt(0.0), Le(10.0)] = Field(
        0.1, description="Cosines are divided by this; 1 is the paper's."
    )
    eta_prototype: Weight = Field(0.0, description="Share of the prototypes in the fused logits.")
    eta_text: Weight = Field(0.0, description="Share of the words in the fused logits.")

    def network_options(self) -> dict[str, Any]:
        """Return what its kind of network is built with besides ``model``'s settings."""
        return {}

    @property
    def learns_prototypes(self) -> bool:
        """Whether the prototypes are trained, so that their answer means something."""
        return False

    @property
    def learns_words(self) -> bool:
        """Whether the class texts are trained, so that their answer means something."""
        return False


class LabelledLosses(MethodSettings):
    """Losses of decoder, prototypes and words on labelled tissue, and an averaged teacher."""

    weight_decoder: Weight = Field(1.0, description="Weight of the decoder's loss, L_dl.")
    weight_dice: Weight = Field(0.5, description="Weight of the soft Dice loss beside it.")
    dice: Literal["occurring", "all", "sample"] = Field(
        "occurring",
        description="Which classes the soft Dice loss averages: those that occur in the batch; "
        "all of them, with squared sums, as UAMT, CPS and cross teaching were published for "
        "medical images; or all of them in each crop by itself, as XNet v2 was.",
    )
    balance: Share = Field(
        0.5,
        description="How much more a pixel of a rare class counts in the cross-entropies: its "
        "labelled share to the power of minus this. 0: all pixels alike, as published.",
    )
    weight_prototype: Weight = Field(1.0, description="Weight of the prototypes' loss, L_p.")
    weight_text: Weight = Field(1.0, description="Weight of the words' loss, L_t.")
    weight_align: Weight = Field(1.0, description="Weight of the alignment of both, L_al.")
    align: Literal["none", "mse", "cosine", "kl"] = Field(
        "mse", description="How prototypes and words are brought together."
    )
    eta_prototype: Weight = Field(0.1, description="Share of the prototypes in the fused logits.")
    eta_text: Weight = Field(0.1, description="Share of the words in the fused logits.")
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.99, description="How slowly the teacher follows the student; 0: there is no teacher."
    )

    @property
    def learns_prototypes(self) -> bool:
        """Whether a loss reaches the prototypes."""
        return self.weight_prototype > 0

    @property
    def learns_words(self) -> bool:
        """Whether a loss reaches the class texts."""
        return self.weight_text > 0 or (self.weight_align > 0 and self.align != "none")


class DecoderLosses(LabelledLosses):
    """Losses of the decoder alone: for methods that know neither prototypes nor words."""

    weight_prototype: Weight = Field(0.0, description="Weight of the prototypes' loss, L_p.")
    weight_text: Weight = Field(0.0, description="Weight of the words' loss, L_t.")
    weight_align: Weight = Field(0.0, description="Weight of the alignment of both, L_al.")
    eta_prototype: Weight = Field(0.0, description="Share of the prototypes in the fused logits.")
    eta_text: Weight = Field(0.0, description="Share of the words in the fused logits.")
    ema: Annotated[float, Ge(0.0), Lt(1.0)] = Field(
        0.0, description="How slowly the teacher follows the student; 0: there is no teacher."
    )
