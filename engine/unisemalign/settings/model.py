"""What the network is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Field

from unisemalign.settings.base import SettingsModel

Channels = Annotated[int, Ge(8), Le(4096)]


class ModelSettings(SettingsModel):
    """Encoder, text tower, decoder and semantic head (methods.md A1–A4)."""

    encoder: str = Field(
        "embedded",
        title="Encoder",
        description="What turns pixels into features: 'embedded' needs no download.",
    )
    text: str = Field(
        "free",
        title="Words",
        description="What turns class names into vectors. 'free' uses learnable vectors, no words.",
    )
    train_encoder: Literal["auto", "yes", "no"] = Field(
        "auto",
        title="Train the encoder",
        description="'auto' trains the embedded one, and one that starts without weights.",
    )
    zoom: Annotated[float, Ge(0.1), Le(8.0)] = Field(
        0.5,
        description="Images are scaled by this before the encoder: below 1 is cheaper and sees "
        "further, above 1 is finer.",
    )
    low_stride: Annotated[int, Ge(0), Le(64)] = Field(
        0,
        description="Pixels of the encoder's input per pixel of the shallow features: finer maps "
        "are averaged down to it. 0: as fine as the encoder gives them.",
    )
    low_dim: Channels = Field(48, description="Channels of the projected shallow features.")
    high_dim: Channels = Field(128, description="Channels of the projected deep features.")
    skip_dim: Channels = Field(32, description="Channels of the shallow features in the decoder.")
    decoder_dim: Channels = Field(48, description="Channels inside the decoder.")
    embed_dim: Channels = Field(128, description="Dimension of the shared embedding space.")
    dilations: tuple[int, int, int] = Field(
        (1, 3, 6), description="Dilations of the three dilated branches of the pyramid pooling."
    )
    stem_dim: Annotated[int, Ge(0), Le(256)] = Field(
        0, description="Channels of an extra high-resolution convolution path; 0 leaves it out."
    )
    align_corners: bool = Field(False, description="How logits are stretched to the image.")
    semantic_upsample: Literal["logits", "features"] = Field(
        "logits",
        description="Stretch the cosines (cheap) or the embeddings to the image.",
    )
    context_tokens: Annotated[int, Ge(0), Le(32)] = Field(
        4, description="Learnable context tokens before each class name (CoOp)."
    )
    text_pooling: Literal["cls", "eos", "argmax"] = Field(
        "cls", description="Which token stands for the sentence."
    )
    text_masks: bool = Field(True, description="Use the tower's own attention masks.")
    train_text_projection: bool = Field(
        True, description="Train the projection of words into the shared space."
    )
