"""Encoders: pixels in, a shallow and a deep feature map out."""

from unisemalign.model.encoders.build import build_encoder
from unisemalign.model.encoders.embedded import EmbeddedEncoder
from unisemalign.model.encoders.encoder import Encoder
from unisemalign.model.encoders.organs import OrgansEncoder
from unisemalign.model.encoders.pyramid import PyramidEncoder
from unisemalign.model.encoders.vit import ViTEncoder

__all__ = [
    "EmbeddedEncoder",
    "Encoder",
    "OrgansEncoder",
    "PyramidEncoder",
    "ViTEncoder",
    "build_encoder",
]
