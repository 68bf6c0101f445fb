"""UniSemAlign: pseudo-labels from fused logits. Source: METHODS A5, A8, A9."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unisemalign.methods.labelled import LabelledMethod, labelled_losses, told, total_loss
from unisemalign.methods.losses import confident_ce, confident_kl, next_threshold, ramp
from unisemalign.methods.method import Batch, Needs, Unlabelled
from unisemalign.model import Network
from unisemalign.model.network import Features, Logits
from unisemalign.settings import Settings, UniSemAlignSettings

SOFTNESS = 0.1
"""How far below the threshold a soft pseudo-label still counts (Gaussian σ)."""


@dataclass(frozen=True)
class PseudoLabels:
    """What the labeller says of a batch of weak views.

    ``decoder`` ``(B, C, H, W)``: probabilities of the decoder alone; ``label`` and ``confidence``
    ``(B, H, W)``: winner of the fused logits and its probability; ``valid``: real tissue.
    """

    decoder: Tensor
    label: Tensor
    confidence: Tensor
    valid: Tensor

    @staticmethod
    def joined(batches: Sequence[PseudoLabels]) -> PseudoLabels:
        """Return several batches as one, in order."""
        return PseudoLabels(
            torch.cat([b.decoder for b in batches]),
            torch.cat([b.label for b in batches]),
            torch.cat([b.confidence for b in batches]),
            torch.cat([b.valid for b in batches]),
        )

    def flipped(self) -> PseudoLabels:
        """Return the batch in reverse."""
        return PseudoLabels(
            self.decoder.flip(0), self.label.flip(0), self.confidence.flip(0), self.valid.flip(0)
        )

    def with_donor(self, donor: PseudoLabels, box: Tensor) -> PseudoLabels:
        """Return the labels of the composed image: inside ``box`` everything is the donor's."""
        return PseudoLabels(
            torch.where(box.unsqueeze(1), donor.decoder, self.decoder),
            torch.where(box, donor.label, self.label),
            torch.where(box, donor.confidence, self.confidence),
            torch.where(box, donor.valid, self.valid),
        )


class UniSemAlign(LabelledMethod):
    """Dual-modal alignment with weak-to-strong consistency.

    Every row of METHODS table A8 that changes the result is a setting.
    """

    threshold: Tensor

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings)
        self.own = settings.method_as(UniSemAlignSettings)
        self.needs = Needs(
            unlabelled=True,
            strong_views=self.own.strong_views,
            drawn_donor=self.own.donor == "draw",
        )
        self.register_buffer("threshold", torch.tensor(self.own.threshold))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step's loss (METHODS A9) and its parts, with ``tau`` and ``kept``."""
        if batch.unlabelled is None or batch.box is None:
            raise ValueError("UniSemAlign needs unlabelled crops and boxes in every batch")
        s, net = self.own, self.student
        labelled, box, u = len(batch.images), batch.box, batch.unlabelled
        teaches = s.labeller == "teacher"
        donor = batch.donor or u.flipped()
        strong = torch.where(box.unsqueeze(2), donor.strong, u.strong).flatten(0, 1)

        words = net.words()
        # As published, drawn donors are labelled before this step moves any running statistic.
        drawn = None if batch.donor is None else self._teach(batch.donor, words)
        images = torch.cat([batch.images, u.weak])
        encoded = net.encode(images)
        features = net.project(encoded, images)
        weak = features.rows(labelled, len(images))
        # With a teacher to label them, clean weak views are not seen by the student's decoder.
        seen = features.rows(0, labelled) if s.clean_statistics and teaches else features
        dropped: Tensor | None = None
        if s.weight_dropout == 0:
            decoded = net.decode(seen)
        elif s.clean_statistics:
            copy = weak.with_dropout(s.feature_dropout)
            decoded = net.decode(seen)
            with gathering_no_statistics(net):
                dropped = net.decode(copy)
        else:
            # As published: one pass over everything and its dropped-out copy.
            both = net.decode(_stacked([seen, seen.with_dropout(s.feature_dropout)]))
            decoded, dropped = both[: len(images)], both[len(images) + labelled :]
        logits = Logits(decoded, *net.semantics(seen, words, s.temperature))
        parts = labelled_losses(net, s, logits.rows(0, labelled), words, batch.labels)

        if teaches:
            shared = None if net.train_encoder else tuple(e[labelled:] for e in encoded)
            pseudo = self._teach(u, words, shared)
        else:
            pseudo = self._judge(logits.rows(labelled, len(images)).detached(), u.valid)
        given = self._of_donors(drawn or pseudo.flipped())
        mixed = PseudoLabels.joined([pseudo.with_donor(given, each) for each in box])

        with gathering_no_statistics(net) if s.clean_statistics else nullcontext():
            strong_features = net.features(strong)
            if s.strong_views == 2:
                strong_features = strong_features.with_complements()
            strong_decoded = net.decode(strong_features)
        composed = s.threshold_map == "composite"
        valid_map = mixed.valid[: len(u.weak)] if composed else pseudo.valid
        self.threshold = next_threshold(
            self.threshold, pseudo.decoder, valid_map, s.threshold_momentum
        )
        tau = self.threshold

        target = mixed
        if s.hard_target == "strong":
            quiet = gathering_no_statistics(net) if s.clean_statistics else nullcontext()
            with torch.no_grad(), quiet:
                own_logits = Logits(
                    strong_decoded.detach(), *net.semantics(strong_features, words, s.temperature)
                )
                target = self._judge(own_logits, mixed.valid)
        keep = self._weights(target.confidence)
        # The soft target is never the strong view's own, so neither is its threshold.
        keep_soft = self._weights(mixed.confidence)
        share = ramp(self.step, s.ramp_steps)
        parts["hard"] = (
            share * s.weight_hard * confident_ce(strong_decoded, target.label, keep, mixed.valid)
        )
        plainly = PseudoLabels.joined([pseudo] * s.strong_views)
        soft = mixed if s.soft_target == "composite" else plainly
        parts["soft"] = (
            share
            * s.weight_soft
            * confident_kl(strong_decoded, soft.decoder, keep_soft, mixed.valid)
        )
        if dropped is not None:
            parts["dropout"] = (
                share
                * s.weight_dropout
                * confident_ce(
                    dropped, pseudo.label, self._weights(pseudo.confidence), pseudo.valid
                )
            )
        kept = (keep * mixed.valid).sum() / mixed.valid.sum().clamp(min=1)
        return total_loss(parts), {**told(parts), "tau": tau, "kept": kept}

    def _weights(self, confidence: Tensor) -> Tensor:
        """Return how much each pixel's pseudo-label counts, 0…1 (part E row 11)."""
        sure = (confidence >= self.threshold).to(confidence.dtype)
        if self.own.confidence == "hard":
            return sure
        below = (confidence - self.threshold) / SOFTNESS
        return torch.maximum(sure, torch.exp(-0.5 * below**2))

    @torch.no_grad()
    def _teach(
        self, crops: Unlabelled, words: Tensor, encoded: tuple[Tensor, ...] | None = None
    ) -> PseudoLabels:
        """Label weak views with the deployed network in evaluation mode, no gradient.

        ``words`` are the student's, for all of a step share one run of the tower (METHODS A9).
        """
        network = self.deployed
        mode = network.training
        network.eval()
        pair = (encoded[0], encoded[1]) if encoded else network.encode(crops.weak)
        features = network.project(pair, crops.weak)
        logits = network.logits(features, words, self.own.temperature)
        network.train(mode)
        return self._judge(logits, crops.valid)

    def _of_donors(self, labels: PseudoLabels) -> PseudoLabels:
        """Return the labels the donors carry into the box."""
        if self.own.donor_label == "decoder":
            confidence, winner = labels.decoder.max(1)
            labels = PseudoLabels(labels.decoder, winner, confidence, labels.valid)
        return labels

    def _judge(self, logits: Logits, valid: Tensor) -> PseudoLabels:
        fused = logits.fused(self.own.eta_prototype, self.own.eta_text)
        confidence, label = fused.softmax(1).max(1)
        return PseudoLabels(logits.decoder.softmax(1), label, confidence, valid)


@contextmanager
def gathering_no_statistics(network: Network) -> Iterator[None]:
    """Normalise by the batch inside the block, but leave the running statistics alone."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _stacked(batches: list[Features]) -> Features:
    """Join batches of features, in order."""
    stems = [b.stem for b in batches if b.stem is not None]
    return Features(
        torch.cat([b.low for b in batches]),
        torch.cat([b.high for b in batches]),
        torch.cat(stems) if stems else None,
        batches[0].size,
    )
