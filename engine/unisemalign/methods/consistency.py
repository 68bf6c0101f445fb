"""What methods with weak and strong views share: sure labels, and CutMix of views and labels."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from unisemalign.methods.labelled import LabelledMethod
from unisemalign.methods.method import Batch, Needs, Unlabelled
from unisemalign.methods.unisemalign import PseudoLabels, gathering_no_statistics
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.consistency import ConsistencySettings


class ConsistencyMethod(LabelledMethod):
    """A student whose strong views learn from the labels of the weak view, mixed by CutMix.

    Parameters
    ----------
    student
        The network that learns.
    settings
        The whole tree.
    strong_views
        How many strong views of each unlabelled crop.
    """

    def __init__(self, student: Network, settings: Settings, strong_views: int) -> None:
        super().__init__(student, settings)
        self.shared = settings.method_as(ConsistencySettings)
        self.needs = Needs(
            unlabelled=True, strong_views=strong_views, drawn_donor=self.shared.donor == "draw"
        )

    def views(self, batch: Batch) -> tuple[Unlabelled, Tensor, Tensor]:
        """Return unlabelled crops, boxes and strong views with their donors pasted in.

        The views are ``(V·B, 3, H, W)``, one view of every crop after the other.
        """
        u, box = unlabelled_of(batch)
        donor = batch.donor or u.flipped()
        strong = torch.where(box.unsqueeze(2), donor.strong, u.strong).flatten(0, 1)
        return u, box, strong

    def mixed(
        self, batch: Batch, pseudo: PseudoLabels, drawn: PseudoLabels | None
    ) -> list[PseudoLabels]:
        """Return the labels of :meth:`views`, mixed as the views are: one batch a view.

        ``drawn`` are the labels of donors that were drawn on their own (:meth:`drawn_labels`).
        """
        _, box = unlabelled_of(batch)
        given = drawn or pseudo.flipped()
        return [pseudo.with_donor(given, each) for each in box]

    @torch.no_grad()
    def drawn_labels(self, batch: Batch) -> PseudoLabels | None:
        """Return the student's labels, in evaluation mode, of donors drawn on their own."""
        if batch.donor is None:
            return None
        mode = self.student.training
        self.student.eval()
        decoded = self.student.decode(self.student.features(batch.donor.weak))
        self.student.train(mode)
        return labels_from(decoded, batch.donor.valid)

    def quiet(self) -> AbstractContextManager[None]:
        """Return the block in which crops that are not clean are seen."""
        if self.shared.clean_statistics:
            return gathering_no_statistics(self.student)
        return nullcontext()

    def sure(self, pseudo: PseudoLabels, threshold: Tensor | float | None = None) -> Tensor:
        """Return which pixels are sure enough to teach, as 0 and 1 ``(B, H, W)``."""
        least = self.shared.threshold if threshold is None else threshold
        return (pseudo.confidence >= least).to(pseudo.confidence.dtype)


def labels_from(decoded: Tensor, valid: Tensor) -> PseudoLabels:
    """Return what logits ``(B, C, H, W)`` say, without their gradient."""
    share = decoded.detach().softmax(1)
    confidence, label = share.max(1)
    return PseudoLabels(share, label, confidence, valid)


def unlabelled_of(batch: Batch) -> tuple[Unlabelled, Tensor]:
    """Return the unlabelled crops and the boxes of a batch that has to have both."""
    if batch.unlabelled is None or batch.box is None:
        raise ValueError("This method needs unlabelled crops and boxes in every batch")
    return batch.unlabelled, batch.box


def kept_share(keep: Tensor, valid: Tensor) -> Tensor:
    """Return the share of valid pixels that teach, 0-d, for the log; ``keep`` are 0 and 1."""
    return (keep * valid).sum() / valid.sum().clamp(min=1)
