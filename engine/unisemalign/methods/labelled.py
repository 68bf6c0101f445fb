"""What every method does with labelled tissue, and a base for those with a single student."""

from __future__ import annotations

import torch
from torch import Tensor

from unisemalign.methods.balance import ClassBalance
from unisemalign.methods.losses import alignment, labelled_ce, sample_dice, soft_dice, squared_dice
from unisemalign.methods.method import Method
from unisemalign.methods.teacher import Teacher
from unisemalign.metrics import IGNORE
from unisemalign.model import Network
from unisemalign.model.network import Logits
from unisemalign.settings import LabelledLosses, Settings


class LabelledMethod(Method):
    """One student with losses on labelled tissue, and an averaged teacher where there is one.

    Parameters
    ----------
    student
        The network that learns.
    settings
        Weights of the losses, temperature, and how slowly the teacher follows.
    """

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(settings)
        self.student = student
        self.common = settings.method_as(LabelledLosses)
        self.balance = ClassBalance(student.n_classes)
        self.teacher = Teacher(student, self.common.ema) if self.common.ema > 0 else None

    @property
    def deployed(self) -> Network:
        """The teacher where there is one, else the student."""
        return self.teacher.network if self.teacher else self.student

    def candidates(self) -> dict[str, Network]:
        """Return the teacher where there is one, else the student."""
        return {"teacher" if self.teacher else "student": self.deployed}

    def after_step(self) -> None:
        """Count the step, and let the teacher follow."""
        super().after_step()
        if self.teacher:
            self.teacher.follow(self.student)


def labelled_losses(
    student: Network,
    losses: LabelledLosses,
    seen: Logits,
    words: Tensor,
    labels: Tensor,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the weighted parts on labelled crops (methods.md A5).

    Parameters
    ----------
    student
        Whose logits they are.
    losses
        Weights and alignment.
    seen
        The student's logits of the labelled crops.
    words
        Class texts ``(C, D)``.
    labels
        ``(B, H, W)``, 255 = ignore.
    weights
        How much a pixel of each class counts in the cross-entropies, ``(C,)``.
    """
    prototypes = student.semantic.unit_prototypes()
    own = decoder_losses(seen.decoder, losses, labels, weights)
    return {
        "decoder": own.pop("decoder"),
        "prototype": losses.weight_prototype * labelled_ce(seen.prototype, labels, weights),
        "text": losses.weight_text * labelled_ce(seen.text, labels, weights),
        "align": losses.weight_align * alignment(prototypes, words, losses.align),
        **own,
    }


def decoder_losses(
    decoded: Tensor, losses: LabelledLosses, labels: Tensor, weights: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the weighted parts of the decoder alone: ``decoder`` and, if it weighs, ``dice``.

    ``decoded`` ``(B, C, H, W)`` logits; ``labels`` ``(B, H, W)``, 255 = ignore; ``weights``
    ``(C,)`` of the classes in the cross-entropy.
    """
    parts = {"decoder": losses.weight_decoder * labelled_ce(decoded, labels, weights)}
    if losses.weight_dice > 0:
        if losses.dice == "occurring":
            loss = soft_dice(decoded, labels)
        else:
            form = squared_dice if losses.dice == "all" else sample_dice
            loss = form(decoded.softmax(1), labels, labels != IGNORE)
        parts["dice"] = losses.weight_dice * loss
    return parts


def total_loss(parts: dict[str, Tensor]) -> Tensor:
    """Return ½·Σ parts (methods.md A5)."""
    return 0.5 * torch.stack(list(parts.values())).sum()


def detached(parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the parts for the log, without their gradient."""
    return {name: value.detach() for name, value in parts.items()}
