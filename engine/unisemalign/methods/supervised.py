"""Labelled tissue only: what unlabelled tissue must be measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.losses import alignment, labelled_ce, soft_dice
from unisemalign.methods.method import Batch
from unisemalign.methods.teacher import Teacher
from unisemalign.model import Network
from unisemalign.model.checkpoints import load_trained_state, trained_state
from unisemalign.model.network import Logits
from unisemalign.settings.method import LabelledLosses


class LabelledMethod:
    """The part every method shares: losses on labelled tissue, and an averaged teacher.

    Parameters
    ----------
    student
        The network that learns.
    settings
        Weights of the losses, temperature, and how slowly the teacher follows.
    """

    wants_unlabelled = False
    wants_drawn_donor = False
    strong_views = 0

    def __init__(self, student: Network, settings: LabelledLosses) -> None:
        self.student = student
        self.common = settings
        self.teacher = Teacher(student, settings.ema) if settings.ema > 0 else None

    @property
    def deployed(self) -> Network:
        """The teacher where there is one, else the student."""
        return self.teacher.network if self.teacher else self.student

    def labelled_losses(self, seen: Logits, words: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the weighted parts on labelled crops (METHODS A5).

        Parameters
        ----------
        seen
            The student's logits of the labelled crops.
        words
            Class texts ``(C, D)``.
        labels
            ``(B, H, W)``, 255 = ignore.
        """
        c = self.common
        prototypes = self.student.semantic.unit_prototypes()
        parts = {
            "decoder": c.weight_decoder * labelled_ce(seen.decoder, labels),
            "prototype": c.weight_prototype * labelled_ce(seen.prototype, labels),
            "text": c.weight_text * labelled_ce(seen.text, labels),
            "align": c.weight_align * alignment(prototypes, words, c.align),
        }
        if c.weight_dice > 0:
            parts["dice"] = c.weight_dice * soft_dice(seen.decoder, labels)
        return parts

    def after_step(self) -> None:
        """Let the teacher follow."""
        if self.teacher:
            self.teacher.follow(self.student)

    def statistics(self) -> list[Tensor]:
        """Return what a step gathers besides gradients: the student's running statistics."""
        return [b for b in self.student.buffers() if b.is_floating_point()]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's state."""
        if not self.teacher:
            return {}
        state = {f"teacher.{k}": v for k, v in trained_state(self.teacher.network).items()}
        return {**state, "teacher_step": torch.tensor(self.teacher.step)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the teacher's state."""
        if self.teacher:
            self.teacher.step = int(state["teacher_step"])
            prefix = "teacher."
            load_trained_state(
                self.teacher.network,
                {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)},
            )


class Supervised(LabelledMethod):
    """The labelled losses alone, with the same network, views, teacher and steps."""

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return ½·Σ of the labelled losses, and the parts."""
        features, words = self.student.features(batch.images), self.student.words()
        seen = self.student.logits(features, words, self.common.temperature)
        parts = self.labelled_losses(seen, words, batch.labels)
        return total_loss(parts), told(parts)


def total_loss(parts: dict[str, Tensor]) -> Tensor:
    """Return ½·Σ parts (METHODS A5)."""
    return 0.5 * torch.stack(list(parts.values())).sum()


def told(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parts for the log, without their gradient."""
    return {name: value.detach() for name, value in parts.items()}
