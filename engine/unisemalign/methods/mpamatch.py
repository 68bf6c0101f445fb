"""MPAMatch: multimodal prototypes. Source: abstract and summary; the rest in methods.md C."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unisemalign.methods.consistency import ConsistencyMethod, kept_share, labels_from
from unisemalign.methods.labelled import decoder_losses, detached
from unisemalign.methods.losses import confident_ce, summed
from unisemalign.methods.method import Batch
from unisemalign.metrics import IGNORE
from unisemalign.model import Network
from unisemalign.model.mpa import MPANetwork
from unisemalign.settings import Settings
from unisemalign.settings.methods.mpamatch import MPAMatchSettings


class MPAMatch(ConsistencyMethod):
    """UniMatch's views; pixels are drawn to prototypes of their class, visual and textual."""

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings, strong_views=2)
        self.own = settings.method_as(MPAMatchSettings)

    @property
    def net(self) -> MPANetwork:
        """The student."""
        if not isinstance(self.student, MPANetwork):
            raise TypeError("MPAMatch needs a network of its own kind")
        return self.student

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ¼·L_proto + ½·L_lab + ¼·L_unlab, and the parts, with ``kept`` and ``alike``."""
        s, net, n = self.own, self.net, len(batch.images)
        u, _, strong = self.views(batch)
        words = net.words()
        drawn = self.drawn_labels(batch)
        features = net.features(torch.cat([batch.images, u.weak]))
        decoded, embedded = net.decode_and_embed(features, words)
        weights = self.balance.label_weights(batch.labels, s.balance)
        parts = decoder_losses(decoded[:n], s, batch.labels, weights)
        pseudo = labels_from(decoded[n:], u.valid)
        mixed = self.mixed(batch, pseudo, drawn)
        with self.quiet():
            rows = features.rows(n, n + len(u.weak)).with_dropout(s.feature_dropout)
            dropped = net.decode(rows, words)
            seen, strong_embedded = net.decode_and_embed(net.features(strong), words)
        for k, (view, labels) in enumerate(zip(seen.chunk(2), mixed, strict=True), start=1):
            parts[f"strong_{k}"] = s.weight_strong * confident_ce(
                view, labels.label, self.sure(labels), labels.valid
            )
        parts["features"] = s.weight_features * confident_ce(
            dropped, pseudo.label, self.sure(pseudo), pseudo.valid
        )
        counts = float(self.step >= s.prototypes_from)
        pixels, classes, right = self._pixels(embedded[:n], decoded[:n], batch.labels)
        sure = torch.cat(
            [m.label.masked_fill((self.sure(m) * m.valid) == 0, IGNORE) for m in mixed]
        )
        theirs, their_classes, _ = self._pixels(strong_embedded, seen, sure)
        visual, text = net.visual.clone(), words.unsqueeze(1)
        for name, weight, vectors, mine, of in (
            ("prototype", s.weight_prototype, visual, pixels, classes),
            ("text", s.weight_text, text, pixels, classes),
            ("strong_prototype", s.weight_unlabelled_prototype, visual, theirs, their_classes),
            ("strong_text", s.weight_unlabelled_text, text, theirs, their_classes),
        ):
            parts[name] = counts * weight * drawn_to(mine, of, vectors, s.contrast_temperature)
        if self.training:
            net.move_prototypes(pixels[right].detach(), classes[right], s.prototype_momentum)
        kept = kept_share(self.sure(pseudo), pseudo.valid)
        return summed(parts), {**detached(parts), "kept": kept, "alike": alike(net.visual)}

    def _pixels(
        self, embedded: Tensor, decoded: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return some pixels ``(N, D)``, their classes, and which the decoder gets right.

        As many of each class as there is room for. ``embedded`` ``(B, D, h, w)``; ``labels``
        ``(B, H, W)``, 255 = left out.
        """
        size = embedded.shape[2:]
        small = F.interpolate(labels.unsqueeze(1).float(), size=size).squeeze(1).long()
        winner = F.interpolate(decoded.detach(), size=size, mode="bilinear").argmax(1)
        flat, said = small.flatten(), winner.flatten()
        room = max(1, self.own.prototype_pixels // self.net.n_classes)
        chosen = []
        for c in range(self.net.n_classes):
            mine = (flat == c).nonzero().squeeze(1)
            chosen.append(mine[torch.randperm(len(mine), device=mine.device)[:room]])
        index = torch.cat(chosen)
        pixels = embedded.permute(0, 2, 3, 1).flatten(0, 2)[index]
        return pixels, flat[index], said[index] == flat[index]


def drawn_to(pixels: Tensor, classes: Tensor, vectors: Tensor, temperature: float) -> Tensor:
    """Return L_PAL + L_PCL: how far pixels stand from the nearest vector of their class.

    L_PAL = mean (1 − cos)², L_PCL the cross-entropy over all vectors' cosines over
    ``temperature``, with that nearest one for a target. 0 without pixels.

    Parameters
    ----------
    pixels
        Unit vectors ``(N, D)``.
    classes
        ``(N,)``.
    vectors
        Unit vectors ``(C, K, D)``.
    """
    if len(pixels) == 0:
        return pixels.sum() * 0
    cosine = torch.einsum("nd,ckd->nck", pixels, vectors)
    own = cosine[torch.arange(len(pixels), device=pixels.device), classes]
    near, which = own.max(1)
    target = classes * vectors.shape[1] + which
    contrast = F.cross_entropy(cosine.flatten(1) / temperature, target)
    return ((1 - near) ** 2).mean() + contrast


def alike(visual: Tensor) -> Tensor:
    """Return the mean |cos| between prototypes of one class, 0-d: near 1, they have collapsed."""
    count = visual.shape[1]
    if count == 1:
        return visual.new_zeros(())
    cosine = torch.einsum("ckd,cjd->ckj", visual, visual).abs()
    others = cosine.sum((1, 2)) - cosine.diagonal(dim1=1, dim2=2).sum(1)
    return (others / (count * (count - 1))).mean()
