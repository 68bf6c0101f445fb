"""What the published code computes, written plainly: the yardstick of the speed budgets.

Written from docs/methods.md (A1–A8, column `released`), with random weights, and never used by the
product. A step encodes 16 crops (labelled, weak, strong, donor: 4 each) through all 24 blocks of a
ViT-L/16, reads the class names four times on 128 positions without masks, and stretches
256-channel embeddings to the image before making them unit vectors. A window is one pass of the
whole network, pixel embedding included, though only the decoder's logits are used.

Where the arithmetic of a step goes, batch 4 + 4 (GFLOP, 2 to a multiply-add):

=========================================  ======
16 crops through the encoder, no gradient    2594
4 runs of the text tower                      179
gradient through two of them, to contexts      92
decoder on 24 maps (8 doubled, 4, 4)          220
its gradient on 20 of them                    349
pixel embedding on 16, gradient on 8           77
cosines at image size                           3
=========================================  ======
"""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

SIDE_PX, BATCH, CLASSES = 256, 4, 2
LOW, HIGH, EMBED, TEXT, POSITIONS, CONTEXT = 256, 2048, 256, 768, 128, 4
TAPS = (2, 9)
IGNORE = 255


@dataclass(frozen=True)
class LiteralBatch:
    """A step's crops ``(B, 3, H, W)``, labels ``(B, H, W)`` and CutMix boxes ``(B, H, W)``.

    Of a donor, ``pasted`` goes into the box and ``donor``, its weak view, is labelled.
    """

    images: Tensor
    labels: Tensor
    weak: Tensor
    strong: Tensor
    donor: Tensor
    pasted: Tensor
    box: Tensor


def draw_batch(device: torch.device | str) -> LiteralBatch:
    """Return random crops: what a step costs does not depend on what they show."""
    crop = (BATCH, 3, SIDE_PX, SIDE_PX)
    images, weak, strong, donor, pasted = (torch.randn(crop, device=device) for _ in range(5))
    labels = torch.randint(0, CLASSES, (BATCH, SIDE_PX, SIDE_PX), device=device)
    box = torch.zeros(BATCH, SIDE_PX, SIDE_PX, dtype=torch.bool, device=device)
    box[:, 40:140, 60:180] = True
    return LiteralBatch(images, labels, weak, strong, donor, pasted, box)


class Text(nn.Module):
    """A frozen text transformer of CONCH's size behind learnable contexts: no mask at all."""

    def __init__(self) -> None:
        super().__init__()
        frozen = [
            nn.Embedding(32007, TEXT),
            nn.Sequential(*(Block(TEXT, 12, qkv_bias=True) for _ in range(12))),
            nn.LayerNorm(TEXT),
            nn.Linear(TEXT, 512, bias=False),
        ]
        self.frozen = nn.ModuleList(frozen).requires_grad_(False)
        self.positions = nn.Parameter(torch.randn(POSITIONS, TEXT) / 100, requires_grad=False)
        self.context = nn.Parameter(torch.randn(CLASSES, CONTEXT, TEXT) / TEXT**0.5)
        self.project = nn.Linear(512, EMBED, bias=False)
        ids = torch.zeros(CLASSES, POSITIONS, dtype=torch.long)
        ids[:, 0], ids[:, 1 : 1 + CONTEXT], ids[:, 6] = 1, 1410, 2
        ids[:, 5] = torch.tensor([1078, 1245])
        self.register_buffer("ids", ids)

    def forward(self) -> Tensor:
        """Return unit vectors ``(C, 256)``, read at the highest token id."""
        embedding, blocks, norm, projection = self.frozen
        tokens = embedding(self.ids)
        tokens = torch.cat([tokens[:, :1], self.context, tokens[:, 1 + CONTEXT :]], dim=1)
        hidden = norm(blocks(tokens + self.positions))
        pooled = hidden[torch.arange(CLASSES, device=hidden.device), self.ids.argmax(1)]
        return F.normalize(self.project(projection(pooled)), dim=1)


def conv(channels_in: int, channels_out: int, kernel: int, dilation: int = 1) -> nn.Module:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, 1, padding, dilation, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


class Literal(nn.Module):
    """A ViT, two projections, DeepLabV3+, pixel embedding, prototypes and words.

    ``vit`` is a timm model; published, and by default, a ViT-L/16.
    """

    def __init__(self, vit: str = "vit_large_patch16_224") -> None:
        super().__init__()
        self.vit = timm.create_model(
            vit, init_values=1e-5, dynamic_img_size=True, num_classes=0
        ).requires_grad_(False)
        width = self.vit.embed_dim
        self.low, self.high = nn.Conv2d(width, LOW, 1), nn.Conv2d(width, HIGH, 1)
        self.branches = nn.ModuleList(
            [conv(HIGH, 256, 1), *(conv(HIGH, 256, 3, rate) for rate in (12, 24, 36))]
        )
        self.pooled = conv(HIGH, 256, 1)
        self.join, self.skip = conv(5 * 256, 256, 1), conv(LOW, 48, 1)
        self.fuse = nn.Sequential(conv(256 + 48, 256, 3), conv(256, 256, 3))
        self.classify = nn.Conv2d(256, CLASSES, 1)
        self.pixels = nn.Sequential(
            nn.Conv2d(HIGH, EMBED, 3, padding=1),
            nn.BatchNorm2d(EMBED),
            nn.ReLU(),
            nn.Dropout2d(0.1),
        )
        self.prototypes = nn.Parameter(torch.randn(CLASSES, EMBED) / EMBED**0.5)
        self.text = Text()

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Run every block, keep the outputs of two, project them."""
        with torch.no_grad():
            low, high = self.vit.forward_intermediates(
                images, indices=list(TAPS), norm=False, intermediates_only=True, stop_early=False
            )
        return self.low(low), self.high(high)

    def decode(self, low: Tensor, high: Tensor) -> Tensor:
        """Return logits ``(B, C, H, W)`` at image size."""
        pooled = self.pooled(F.adaptive_avg_pool2d(high, 1)).expand(-1, -1, *high.shape[2:])
        deep = self.join(torch.cat([*(branch(high) for branch in self.branches), pooled], dim=1))
        logits = self.classify(self.fuse(torch.cat([deep, self.skip(low)], dim=1)))
        return stretched(logits)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's logits and the pixel embedding ``(B, 256, h, w)``."""
        low, high = self.encode(images)
        return self.decode(low, high), self.pixels(high)

    def cosines(self, unit: Tensor, classes: Tensor) -> Tensor:
        """Return ``(B, C, H, W)`` of unit pixels ``(B, 256, H, W)`` and unit classes."""
        return torch.einsum("bdhw,cd->bchw", unit, classes)

    def fused(self, decoder: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Return confidence and label of the fused logits. Reads the class names once more."""
        with torch.no_grad():
            prototypes, words = F.normalize(self.prototypes, dim=1), self.text()
            fused = decoder + 0.1 * self.cosines(unit, prototypes) + 0.1 * self.cosines(unit, words)
            confidence, label = fused.softmax(1).max(1)
        return confidence, label

    def loss(self, batch: LiteralBatch, threshold: float = 0.7) -> Tensor:
        """Return the loss of one step, weights as published."""
        with torch.no_grad():
            self.eval()
            donor, _ = self(batch.donor)
            self.train()
            donor_confidence, donor_label = donor.softmax(1).max(1)
        n = len(batch.images)
        low, high = self.encode(torch.cat([batch.images, batch.weak]))
        decoded, dropped = self.decode(
            torch.cat([low, F.dropout2d(low, 0.5)]), torch.cat([high, F.dropout2d(high, 0.5)])
        ).chunk(2)
        unit = F.normalize(stretched(self.pixels(high)), dim=1)

        strong = torch.where(batch.box.unsqueeze(1), batch.pasted, batch.strong)
        strong_decoded, embedded = self(strong)
        strong_unit = F.normalize(stretched(embedded), dim=1)

        weak = decoded[n:].detach()
        confidence, label = self.fused(weak, unit[n:].detach())
        # The composed weak label is made and then passed over for the strong view's own.
        torch.where(batch.box, donor_label, label)
        kept = torch.where(batch.box, donor_confidence, confidence) >= threshold
        own_confidence, own = self.fused(strong_decoded.detach(), strong_unit.detach())

        prototypes = F.normalize(self.prototypes, dim=1)
        labelled = unit[:n]
        ce = F.cross_entropy
        l_dl = ce(decoded[:n], batch.labels, ignore_index=IGNORE)
        l_p = ce(self.cosines(labelled, prototypes), batch.labels, ignore_index=IGNORE)
        l_t = ce(self.cosines(labelled, self.text()), batch.labels, ignore_index=IGNORE)
        l_al = F.mse_loss(prototypes, self.text())
        hard = (ce(strong_decoded, own, reduction="none") * (own_confidence >= threshold)).mean()
        kl = F.kl_div(strong_decoded.log_softmax(1), weak.softmax(1), reduction="none").sum(1)
        soft = (kl * kept).mean()
        drop = (ce(dropped[n:], label, reduction="none") * (confidence >= threshold)).mean()
        return 0.5 * (0.5 * l_dl + l_p + l_t + l_al + 0.25 * (hard + soft + drop))


def stretched(maps: Tensor) -> Tensor:
    """Stretch to the image."""
    return F.interpolate(maps, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=True)


def build_optimiser(network: Literal) -> torch.optim.Optimizer:
    """Return SGD over what is trained: the projections at a tenth of the rate."""
    slow = [*network.low.parameters(), *network.high.parameters()]
    known = {id(p) for p in slow}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    groups = [{"params": slow, "lr": 1e-3}, {"params": rest}]
    return torch.optim.SGD(groups, lr=1e-2, momentum=0.9, weight_decay=1e-4)
