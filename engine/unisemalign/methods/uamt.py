"""Uncertainty-aware mean teacher.

Source: SSL4MIS's ``train_uncertainty_aware_mean_teacher_2D.py``; facts in methods.md B.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unisemalign.methods.balance import ClassBalance
from unisemalign.methods.consistency import kept_share, unlabelled_of
from unisemalign.methods.labelled import decoder_losses, detached
from unisemalign.methods.losses import entropy, ramp, summed
from unisemalign.methods.method import Batch, Method, Needs
from unisemalign.methods.teacher import Teacher
from unisemalign.model import Network
from unisemalign.model.network import Features
from unisemalign.settings import Settings
from unisemalign.settings.methods.uamt import UAMTSettings


class NoisyTeacher(Teacher):
    """An average of the student's parameters that normalises by the batch it sees.

    It keeps no running statistics: as published, it is never put into evaluation mode.
    """

    def __init__(self, student: Network, decay: float) -> None:
        super().__init__(student, decay)
        for norm in self.network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.track_running_stats = False
                norm.running_mean = norm.running_var = norm.num_batches_tracked = None

    @torch.no_grad()
    def follow(self, *students: Network) -> None:
        """Move the parameters towards the student's."""
        alpha = min(1 - 1 / (self.step + 1), self.decay)
        theirs = dict(students[0].named_parameters())
        for name, mine in self.network.named_parameters():
            if mine is not theirs[name]:
                mine.lerp_(theirs[name], 1 - alpha)
        self.step += 1


class UAMT(Method):
    """A student agrees with its averaged teacher where the teacher's noisy answers agree.

    The student is deployed. The published network drops channels inside its encoder; here channels
    of the projected maps are dropped, in student and teacher.
    """

    def __init__(self, network: Network, settings: Settings) -> None:
        super().__init__(settings)
        self.own = settings.method_as(UAMTSettings)
        self.student = network
        self.balance = ClassBalance(network.n_classes)
        self.teacher = NoisyTeacher(network, self.own.ema)
        self.needs = Needs(unlabelled=True, strong_views=1)

    def after_step(self) -> None:
        """Count the step, and let the teacher follow."""
        super().after_step()
        self.teacher.follow(self.student)

    def certain_below(self, n_classes: int) -> float:
        """Return the entropy, in nats, below which the teacher counts as certain now."""
        rise = ramp(self.step, self.settings.training.steps)
        return (0.75 + 0.25 * rise) * math.log(n_classes)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return labelled + w·ramp·Σ mask·(σ(f(w)) − q)²/(2Σ mask), and the parts."""
        u, _ = unlabelled_of(batch)
        n, net = len(batch.images), self.student
        features = net.features(torch.cat([batch.images, u.weak]))
        decoded = net.decode(self._dropped(features))
        weights = self.balance.label_weights(batch.labels, self.own.balance)
        parts = decoder_losses(decoded[:n], self.own, batch.labels, weights)
        target, doubt = self.taught(u.weak)
        certain = (doubt < self.certain_below(net.n_classes)) & u.valid
        gap = ((decoded[n:].softmax(1) - target) ** 2).sum(1)
        rising = round(self.own.ramp_share * self.settings.training.steps)
        weight = self.own.weight_consistency * ramp(self.step, rising)
        parts["consistency"] = weight * (gap * certain).sum() / (2 * certain.sum() + 1e-16)
        kept = kept_share(certain.to(gap.dtype), u.valid)
        return summed(parts), {**detached(parts), "kept": kept}

    @torch.no_grad()
    def taught(self, weak: Tensor) -> tuple[Tensor, Tensor]:
        """Return the teacher's probabilities ``(B, C, H, W)`` and its doubt ``(B, H, W)``, nats.

        The probabilities are of one noisy pass, the doubt is the entropy of the mean of further
        ones. A frozen encoder sees the crops once and without noise: its answers may be kept, and
        the passes then differ by what is dropped.
        """
        network = self.teacher.network
        once = None if network.train_encoder else network.features(weak)
        answers = [
            network.decode(self._dropped(once or network.features(self._noisy(weak)))).softmax(1)
            for _ in range(1 + self.own.passes)
        ]
        return answers[0], entropy(torch.stack(answers[1:]).mean(0))

    def _noisy(self, images: Tensor) -> Tensor:
        sd = self.own.noise
        drawn = (torch.randn_like(images) * sd).clamp(-2 * sd, 2 * sd)
        return images + drawn * self.teacher.network.std

    def _dropped(self, features: Features) -> Features:
        return features.with_dropout(self.own.dropout) if self.training else features
