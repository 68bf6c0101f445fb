"""DuSSS: words guide a mean teacher. Source: eq. 1–17 of the paper; decisions in methods.md C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.methods.balance import ClassBalance
from unisemalign.methods.consistency import unlabelled_of
from unisemalign.methods.labelled import decoder_losses, detached
from unisemalign.methods.losses import ramp, summed
from unisemalign.methods.method import Batch, Method, Needs
from unisemalign.methods.teacher import Teacher
from unisemalign.methods.unisemalign import gathering_no_statistics
from unisemalign.metrics import IGNORE
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.dusss import DuSSSSettings

_PAIRS_FROM = 8
"""Crops a batch needs for pairs to have enough negatives."""


class Embedded(NamedTuple):
    """What a head says of ``N`` things: unit vectors, and a Gaussian, each ``(N, D)``."""

    unit: Tensor
    mean: Tensor
    sd: Tensor


class GaussianHead(nn.Module):
    """A vector's place in the shared space, and how unsure that is."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(channels_in, channels), nn.GELU(), nn.LayerNorm(channels)
        )
        self.place = nn.Linear(channels, channels)
        self.mean = nn.Linear(channels, channels)
        self.log_sd = nn.Linear(channels, channels)

    def forward(self, vectors: Tensor) -> Embedded:
        """Map ``(N, C)``."""
        seen = self.body(vectors)
        sd = self.log_sd(seen).clamp(-5, 5).exp()
        return Embedded(F.normalize(self.place(seen), dim=1), self.mean(seen), sd)


class PixelHead(nn.Module):
    """The deep map, four times as fine, as unit vectors that words can be compared with."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels_in, channels, 1)
        self.residuals = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for _ in range(2)
        )

    def forward(self, deep: Tensor) -> Tensor:
        """Map ``(B, C, h, w)`` to ``(B, D, 4h, 4w)``."""
        found = self.squeeze(deep)
        for residual in self.residuals:
            found = F.interpolate(found, scale_factor=2, mode="bilinear", align_corners=False)
            found = found + residual(found)
        return F.normalize(found, dim=1)


class DuSSS(Method):
    """A mean teacher whose targets are met halfway by a mask that the class words draw.

    A crop's words are its slide's caption, or else the classes that its labels hold. The student
    is deployed: it needs no words.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        super().__init__(settings)
        self.own = settings.method_as(DuSSSSettings)
        self.student = network
        self.balance = ClassBalance(network.n_classes)
        self.teacher = Teacher(network, self.own.ema)
        dim, deep = settings.model.embed_dim, network.encoder.high_channels
        self.crops = GaussianHead(deep, dim)
        self.texts = GaussianHead(network.semantic.text.dim, dim)
        self.pixels = PixelHead(deep, dim)
        self.distance = nn.Parameter(torch.tensor([1e-2, 0.0]))
        """a and b of D_u = aW + b."""
        self.log_temperature = nn.Parameter(torch.tensor(self.own.mask_temperature).log())
        self.needs = Needs(unlabelled=True, strong_views=1, captions=True)
        self._sentences: dict[str, Tensor] = {}

    def after_step(self) -> None:
        """Count the step, and let the teacher follow."""
        super().after_step()
        self.teacher.follow(self.student)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return labelled + pairs (first stage) + mask + regions + ramp·agreement, and parts."""
        s, net, n = self.own, self.student, len(batch.images)
        u, box = unlabelled_of(batch)
        images = torch.cat([batch.images, u.weak])
        encoded = net.encode(images)
        deep = encoded[1].detach().float()
        decoded = net.decode(net.project(encoded, images).rows(0, n))
        weights = self.balance.label_weights(batch.labels, s.balance)
        parts = decoder_losses(decoded, s, batch.labels, weights)
        words = self.texts(net.semantic.text().float())
        cosine = torch.einsum("bdhw,cd->bchw", self.pixels(deep), words.unit)
        mask_logits = F.interpolate(
            cosine / s.mask_temperature, size=images.shape[2:], mode="bilinear", align_corners=False
        )
        known = batch.labels != IGNORE
        own = F.cross_entropy(mask_logits[:n], batch.labels, ignore_index=IGNORE, reduction="sum")
        parts["mask"] = s.weight_mask * own / known.sum().clamp(min=1)
        parts["regions"] = s.weight_regions * self._regions(cosine, deep, words.unit.detach())
        if self._pairs_now(len(images)):
            parts["pairs"] = s.weight_pairs * self._pairs(batch, deep, words)
        mask = mask_logits[n:].detach().softmax(1)
        parts["guided"] = self._guided(batch, mask, box[0])
        return summed(parts), detached(parts)

    def _guided(self, batch: Batch, mask: Tensor, box: Tensor) -> Tensor:
        """Return w·ramp·½[CE(student, target) + CE(student, mask)] on unlabelled crops."""
        s, net = self.own, self.student
        u, _ = unlabelled_of(batch)
        teacher = self.teacher.network
        with torch.no_grad():
            share = teacher.decode(teacher.features(u.weak)).softmax(1)
        rising = round(s.ramp_share * self.settings.training.steps)
        weight = s.weight_guided * ramp(self.step, rising)
        if s.targets == "literal":
            target, valid, view = torch.sigmoid(share + mask), u.valid, u.weak
        else:
            target = _with_donors(self.sharpened(0.5 * share + 0.5 * mask), box)
            mask = _with_donors(mask, box)
            valid = torch.where(box, u.valid.flip(0), u.valid)
            view = torch.where(box.unsqueeze(1), u.strong[0].flip(0), u.strong[0])
        with gathering_no_statistics(net):
            seen = net.decode(net.features(view)).log_softmax(1)
        both = -((target + mask) * seen).sum(1)
        return weight * 0.5 * (both * valid).sum() / valid.sum().clamp(min=1)

    def sharpened(self, target: Tensor) -> Tensor:
        """Return probabilities ``(B, C, H, W)``, those that are sure as their winner alone."""
        confidence, winner = target.max(1, keepdim=True)
        one = torch.zeros_like(target).scatter_(1, winner, 1.0)
        return torch.where(confidence >= self.own.sharpened_from, one, target)

    def _regions(self, cosine: Tensor, deep: Tensor, words: Tensor) -> Tensor:
        """Return L_tg: a class's words against the features pooled under its mask, both ways."""
        share = (cosine / self.own.mask_temperature).softmax(1)
        small = F.adaptive_avg_pool2d(share, (deep.shape[2], deep.shape[3]))
        pooled = torch.einsum("bchw,bdhw->cd", small, deep) / small.sum((0, 2, 3))[:, None]
        seen = self.crops(pooled)
        logits = seen.unit @ words.T / self.own.mask_temperature
        return _both_ways(logits)

    def _pairs_now(self, crops: int) -> bool:
        first = round(self.own.pretrain_share * self.settings.training.steps)
        return self.step < first and crops >= _PAIRS_FROM

    def _pairs(self, batch: Batch, deep: Tensor, words: Embedded) -> Tensor:
        """Return ½(crops ↔ words) + ½(crops ↔ their strong views), with uncertain similarities."""
        u, _ = unlabelled_of(batch)
        n = len(batch.images)
        crops = self.crops(deep.mean((2, 3)))
        with torch.no_grad():
            strong = self.student.encode(u.strong[0])[1].float().mean((2, 3))
        again = self.crops(strong)
        theirs = Embedded(*(part[n:] for part in crops))
        within = _both_ways(self.similarity(theirs, again) / self.log_temperature.exp())
        kept, texts, same = self._words_of(batch, words)
        mine = Embedded(*(part[kept] for part in crops))
        across = self.similarity(mine, texts) / self.log_temperature.exp()
        return 0.5 * within + 0.5 * _both_ways(across.masked_fill(same, float("-inf")))

    def _words_of(self, batch: Batch, words: Embedded) -> tuple[Tensor, Embedded, Tensor]:
        """Return which crops have words, those words, and whose are the same: no negatives.

        Labelled crops without a caption have the words of their classes; unlabelled ones, none.
        """
        n, count = len(batch.images), len(words.unit)
        present = torch.stack([(batch.labels == c).flatten(1).any(1) for c in range(count)]).T
        of_classes = _of_classes(words, present.to(words.unit.dtype))
        read = self.student.semantic.text.reads_sentences
        captions = (batch.captions if read else None) or ("",) * n
        keys: list[object] = [
            caption or tuple(present[k].tolist()) for k, caption in enumerate(captions[:n])
        ]
        keys += [caption for caption in captions[n:] if caption]
        kept = [k for k, caption in enumerate(captions) if k < n or caption]
        said = [k for k in kept if captions[k]]
        parts = of_classes
        if said:
            spoken = self.texts(self._read([captions[k] for k in said]).float())
            own = [k for k in kept if not captions[k]]
            order = torch.tensor([*own, *said], device=present.device).argsort()
            both = zip(of_classes, spoken, strict=True)
            parts = Embedded(*(torch.cat([mine[own], theirs])[order] for mine, theirs in both))
        same = torch.tensor([[a == b for b in keys] for a in keys], device=present.device)
        same.fill_diagonal_(False)
        return torch.tensor(kept, device=present.device), parts, same

    def _read(self, captions: Sequence[str]) -> Tensor:
        """Return what the frozen text tower makes of captions ``(N, dim)``; each is read once."""
        text = self.student.semantic.text
        if new := [each for each in dict.fromkeys(captions) if each not in self._sentences]:
            self._sentences.update(zip(new, text.sentences(new), strict=True))
        return torch.stack([self._sentences[each] for each in captions])

    def similarity(self, one: Embedded, two: Embedded) -> Tensor:
        """Return ŝ = 1 − (1 − cos)·exp(−λ·D_u/D_s) ``(N, M)`` (eq. 3–6).

        D_u = a·(‖μ₁ − μ₂‖² + ‖σ₁ − σ₂‖²) + b; D_s the distance of the unit vectors.
        """
        cosine = one.unit @ two.unit.T
        apart = torch.cdist(one.mean, two.mean) ** 2 + torch.cdist(one.sd, two.sd) ** 2
        unsure = (self.distance[0] * apart + self.distance[1]).clamp(min=0)
        between = (2 - 2 * cosine).clamp(min=1e-6).sqrt()
        return 1 - (1 - cosine) * torch.exp(-self.own.uncertainty * unsure / between)


def _of_classes(words: Embedded, present: Tensor) -> Embedded:
    """Return the words of crops ``(N, C)`` that hold some classes: the mean of those classes'."""
    share = present / present.sum(1, keepdim=True).clamp(min=1)
    return Embedded(F.normalize(share @ words.unit, dim=1), share @ words.mean, share @ words.sd)


def _both_ways(logits: Tensor) -> Tensor:
    """Return InfoNCE of ``(N, N)``, rows and columns, where thing k belongs to thing k."""
    target = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def _with_donors(plane: Tensor, box: Tensor) -> Tensor:
    return torch.where(box.unsqueeze(1), plane.flip(0), plane)
