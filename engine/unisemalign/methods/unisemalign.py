"""UniSemAlign: pseudo-labels from fused logits. Source: methods.md A5, A8, A9."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unisemalign.methods.balance import ClassBalance
from unisemalign.methods.labelled import LabelledMethod, detached, labelled_losses, total_loss
from unisemalign.methods.losses import (
    confident_ce,
    confident_kl,
    next_threshold,
    ramp,
    soft_dice,
)
from unisemalign.methods.method import Batch, Needs, Unlabelled
from unisemalign.metrics import IGNORE
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


@dataclass(frozen=True)
class CleanViews:
    """What the student says of labelled crops and weak views, before any strong one.

    ``labelled``: its logits of the labelled crops; ``weak``: those of the weak views, ``None``
    where a teacher labels them; ``dropped``: the decoder's logits ``(B, C, H, W)`` of
    channel-dropped weak features, ``None`` without their loss; ``encoded``: what the encoder gave
    for the weak views.
    """

    labelled: Logits
    weak: Logits | None
    dropped: Tensor | None
    encoded: tuple[Tensor, ...]


class UniSemAlign(LabelledMethod):
    """Dual-modal alignment with weak-to-strong consistency.

    Every row of methods.md A8 that changes the result is a setting.
    """

    threshold: Tensor
    carried = ("threshold", "balance.confidence")

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings)
        self.own = settings.method_as(UniSemAlignSettings)
        self.needs = Needs(
            unlabelled=True,
            strong_views=self.own.strong_views,
            drawn_donor=self.own.donor == "draw",
        )
        self.register_buffer("threshold", torch.tensor(self.own.threshold))
        self.balance = ClassBalance(student.n_classes, self.own.threshold)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step's loss (methods.md A9) and its parts, with ``tau`` and ``kept``."""
        if batch.unlabelled is None or batch.box is None:
            raise ValueError("UniSemAlign needs unlabelled crops and boxes in every batch")
        s, net, u = self.own, self.student, batch.unlabelled
        weights = self.balance.label_weights(batch.labels, s.balance)
        words = net.words()
        # As published, drawn donors are labelled before this step moves any running statistic.
        drawn = None if batch.donor is None else self._teach(batch.donor, words)
        clean = self._clean(batch.images, u.weak, words)
        seen = clean.labelled
        if s.logit_adjustment > 0:
            seen = seen.plus(s.logit_adjustment * self.balance.log_prior())
        parts = labelled_losses(net, s, seen, words, batch.labels, weights)

        pseudo = self._pseudo(clean, u, words)
        given = self._of_donors(drawn or pseudo.flipped())
        mixed = PseudoLabels.joined([pseudo.with_donor(given, each) for each in batch.box])
        donor = batch.donor or u.flipped()
        strong = torch.where(batch.box.unsqueeze(2), donor.strong, u.strong).flatten(0, 1)
        features, decoded = self._strong(strong)
        composed = s.threshold_map == "composite"
        self._follow(pseudo, mixed.valid[: len(u.weak)] if composed else pseudo.valid)
        target = mixed
        if s.hard_target == "strong":
            target = self._own_labels(features, decoded, words, mixed.valid)
        keep = self._weights(target)
        share = ramp(self.step, s.ramp_steps) * self.balance.guard(s.guard)
        own = self._unlabelled_losses(decoded, target, keep, mixed, pseudo, clean, weights)
        parts |= {name: share * value for name, value in own.items()}
        kept = (keep * mixed.valid).sum() / mixed.valid.sum().clamp(min=1)
        tau = self.threshold
        if s.threshold_kind == "class":
            tau = self.balance.confidence.mean()
        return total_loss(parts), {**detached(parts), "tau": tau, "kept": kept}

    def _clean(self, labelled: Tensor, weak: Tensor, words: Tensor) -> CleanViews:
        """Return the student's answers to labelled crops and weak views ``(B, 3, H, W)``."""
        s, net, count = self.own, self.student, len(labelled)
        images = torch.cat([labelled, weak])
        encoded = net.encode(images)
        features = net.project(encoded, images)
        teaches = s.labeller == "teacher"
        # With a teacher to label them, clean weak views are not seen by the student's decoder.
        seen = features.rows(0, count) if s.clean_statistics and teaches else features
        dropped: Tensor | None = None
        if s.weight_dropout == 0:
            decoded = net.decode(seen)
        elif s.clean_statistics:
            copy = features.rows(count, len(images)).with_dropout(s.feature_dropout)
            decoded = net.decode(seen)
            with gathering_no_statistics(net):
                dropped = net.decode(copy)
        else:
            # As published: one pass over everything and its dropped-out copy.
            both = net.decode(_stacked([seen, seen.with_dropout(s.feature_dropout)]))
            decoded, dropped = both[: len(images)], both[len(images) + count :]
        logits = Logits(decoded, *net.semantics(seen, words, s.temperature))
        own = None if teaches else logits.rows(count, len(images)).detached()
        return CleanViews(logits.rows(0, count), own, dropped, tuple(e[count:] for e in encoded))

    def _pseudo(self, clean: CleanViews, crops: Unlabelled, words: Tensor) -> PseudoLabels:
        """Return the labels of the weak views, and see how the classes fare among them."""
        if clean.weak is not None:
            return self._judge(clean.weak, crops.valid, follow=True)
        shared = None if self.student.train_encoder else clean.encoded
        return self._teach(crops, words, shared, follow=True)

    def _strong(self, strong: Tensor) -> tuple[Features, Tensor]:
        """Return features and decoder's logits of strong views ``(V·B, 3, H, W)``."""
        s, net = self.own, self.student
        with gathering_no_statistics(net) if s.clean_statistics else nullcontext():
            features = net.features(strong)
            if s.strong_views == 2:
                features = features.with_complements()
            return features, net.decode(features)

    def _follow(self, pseudo: PseudoLabels, valid: Tensor) -> None:
        """Let the thresholds follow the labeller's confidence on ``valid`` pixels."""
        momentum = self.own.threshold_momentum
        self.threshold = next_threshold(self.threshold, pseudo.decoder, valid, momentum)
        self.balance.see_labelling(pseudo.label, pseudo.confidence, valid)

    def _own_labels(
        self, features: Features, decoded: Tensor, words: Tensor, valid: Tensor
    ) -> PseudoLabels:
        """Return the strong views' own labels (methods.md A8 row 3)."""
        s, net = self.own, self.student
        quiet = gathering_no_statistics(net) if s.clean_statistics else nullcontext()
        with torch.no_grad(), quiet:
            semantics = net.semantics(features, words, s.temperature)
            return self._judge(Logits(decoded.detach(), *semantics), valid)

    def _unlabelled_losses(
        self,
        decoded: Tensor,
        target: PseudoLabels,
        keep: Tensor,
        mixed: PseudoLabels,
        pseudo: PseudoLabels,
        clean: CleanViews,
        weights: Tensor | None,
    ) -> dict[str, Tensor]:
        """Return L_h, L_s and L_c, weighted; before ramp and guard."""
        s = self.own
        hard = confident_ce(decoded, target.label, keep, mixed.valid, weights)
        # The soft target is never the strong view's own, so neither is its threshold.
        keep_soft = self._weights(mixed)
        plainly = PseudoLabels.joined([pseudo] * s.strong_views)
        soft = mixed if s.soft_target == "composite" else plainly
        parts = {
            "hard": s.weight_hard * hard,
            "soft": s.weight_soft * confident_kl(decoded, soft.decoder, keep_soft, mixed.valid),
        }
        if clean.dropped is not None:
            sure = self._weights(pseudo)
            ce = confident_ce(clean.dropped, pseudo.label, sure, pseudo.valid, weights)
            parts["dropout"] = s.weight_dropout * ce
        if s.weight_hard_dice > 0:
            counted = (keep >= 1) & mixed.valid
            labels = torch.where(counted, target.label, IGNORE)
            parts["hard_dice"] = s.weight_hard_dice * soft_dice(decoded, labels)
        return parts

    def _weights(self, labels: PseudoLabels) -> Tensor:
        """Return how much each pixel's pseudo-label counts, 0…1 (part E row 11)."""
        needed = self.threshold
        if self.own.threshold_kind == "class":
            needed = self.balance.confidence[labels.label]
        confidence = labels.confidence
        sure = (confidence >= needed).to(confidence.dtype)
        if self.own.confidence == "hard":
            return sure
        below = (confidence - needed) / SOFTNESS
        return torch.maximum(sure, torch.exp(-0.5 * below**2))

    @torch.no_grad()
    def _teach(
        self,
        crops: Unlabelled,
        words: Tensor,
        encoded: tuple[Tensor, ...] | None = None,
        *,
        follow: bool = False,
    ) -> PseudoLabels:
        """Label weak views with the deployed network in evaluation mode, no gradient.

        ``words`` are the student's, for all of a step share one run of the tower (methods.md A9).
        """
        network = self.deployed
        mode = network.training
        network.eval()
        pair = (encoded[0], encoded[1]) if encoded else network.encode(crops.weak)
        features = network.project(pair, crops.weak)
        logits = network.logits(features, words, self.own.temperature)
        network.train(mode)
        return self._judge(logits, crops.valid, follow=follow)

    def _of_donors(self, labels: PseudoLabels) -> PseudoLabels:
        """Return the labels the donors carry into the box."""
        if self.own.donor_label == "decoder":
            confidence, winner = labels.decoder.max(1)
            labels = PseudoLabels(labels.decoder, winner, confidence, labels.valid)
        return labels

    def _judge(self, logits: Logits, valid: Tensor, *, follow: bool = False) -> PseudoLabels:
        """Return the labels in ``logits``; ``follow``: their class shares are seen too."""
        fused = logits.fused(self.own.eta_prototype, self.own.eta_text).softmax(1)
        decoder = logits.decoder.softmax(1)
        if follow:
            self.balance.see_probabilities(fused, valid)
        confidence, label = self.balance.aligned(fused, self.own.alignment).max(1)
        decoder = self.balance.aligned(decoder, self.own.alignment)
        return PseudoLabels(decoder, label, confidence, valid)


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
