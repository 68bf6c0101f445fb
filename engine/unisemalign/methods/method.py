"""What a method is given, and what it must give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unisemalign.methods.step_counter import StepCounter
from unisemalign.model import Network
from unisemalign.model.checkpoints import load_trained_state, trained_state
from unisemalign.settings import Settings


@dataclass(frozen=True)
class Unlabelled:
    """Unlabelled crops in 0…1.

    ``weak`` ``(B, 3, H, W)``, ``strong`` ``(V, B, 3, H, W)`` with V strong views of each, ``valid``
    ``(B, H, W)``.
    """

    weak: Tensor
    strong: Tensor
    valid: Tensor

    def to(self, device: torch.device) -> Unlabelled:
        """Move every tensor."""
        return Unlabelled(self.weak.to(device), self.strong.to(device), self.valid.to(device))

    def flipped(self) -> Unlabelled:
        """Return the batch in reverse: sample b's donor is sample B−1−b (methods.md A9)."""
        return Unlabelled(self.weak.flip(0), self.strong.flip(1), self.valid.flip(0))


@dataclass(frozen=True)
class Batch:
    """One step's crops.

    Attributes
    ----------
    images, labels
        Labelled crops ``(B, 3, H, W)`` in 0…1 and class indices ``(B, H, W)``, 255 = ignore.
    unlabelled
        Unlabelled crops, or ``None`` for a method that needs none.
    box
        ``(V, B, H, W)``, true where a donor is pasted into a strong view (CutMix).
    donor
        The donors when they were drawn on their own; ``None``: the batch reversed.
    captions
        A sentence for each labelled crop, then for each unlabelled one, "" where its slide has
        none; ``None`` for a method that needs none.
    """

    images: Tensor
    labels: Tensor
    unlabelled: Unlabelled | None = None
    box: Tensor | None = None
    donor: Unlabelled | None = None
    captions: tuple[str, ...] | None = None

    def to(self, device: torch.device) -> Batch:
        """Move every tensor."""
        return Batch(
            self.images.to(device),
            self.labels.to(device),
            self.unlabelled.to(device) if self.unlabelled else None,
            self.box.to(device) if self.box is not None else None,
            self.donor.to(device) if self.donor else None,
            self.captions,
        )


@dataclass(frozen=True)
class Needs:
    """What a method needs in every batch.

    Attributes
    ----------
    unlabelled
        Unlabelled crops, with their strong views and boxes.
    strong_views
        How many strong views of each.
    drawn_donor
        CutMix donors drawn on their own, not the batch reversed.
    captions
        A sentence for each crop's slide, where there is one: class words stand in.
    """

    unlabelled: bool = False
    strong_views: int = 0
    drawn_donor: bool = False
    captions: bool = False


@dataclass(frozen=True)
class Group:
    """Parameters that learn at one rate: ``share`` of the base rate."""

    parameters: tuple[nn.Parameter, ...]
    share: float


class Method(StepCounter, ABC):
    """Who labels, which views, which targets, which loss: the module that owns all it learns.

    Every student, teacher and extra head is a submodule; thresholds and prototypes that are not
    learned by gradient are buffers. So one optimiser, one state and one mode serve them all, and
    training knows nothing else of a method. Parameters that do not learn by gradient, a teacher's,
    need ``requires_grad`` off.

    Parameters
    ----------
    settings
        The whole tree; the method's own part is ``settings.method_as(ItsSettings)``.

    Attributes
    ----------
    needs
        What every batch must hold.
    carried
        Names of buffers that a round takes over from the round it goes on from.
    step
        Steps taken so far, over a resumed round too.
    """

    needs = Needs()
    carried: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step's loss and its parts, for the log: 0-d, no gradient, on the device.

        No parameter may move here, and of the buffers only running statistics and the method's own.
        """

    def after_step(self) -> None:
        """Count the step; teachers follow here, once the optimiser has moved the students."""
        self.step += 1

    def extras(self) -> tuple[str, ...]:
        """Return what it needs beyond one network and labelled crops, in words."""
        needs, students = self.needs, self.students()
        others = len(self.networks()) - len(students)
        said = {
            "unlabelled tissue": needs.unlabelled,
            f"{needs.strong_views} strong views of a crop": needs.strong_views > 1,
            "captions, or class words in their place": needs.captions,
            f"{len(students)} networks that learn": len(students) > 1,
            "an averaged teacher" if others == 1 else f"{others} averaged teachers": others > 0,
        }
        return tuple(words for words, needed in said.items() if needed)

    def missing_captions(self, captioned: int) -> str:
        """Return a sentence where captions are needed and cannot be read; "" where they can.

        ``captioned`` is how many areas to learn from have one.
        """
        if not captioned:
            return (
                "No slide has a caption: the words of the classes that a crop holds stand in. Give "
                "sentences with: unisemalign add PROJECT --captions FILE.csv"
            )
        if not self.networks()[0].semantic.text.reads_sentences:
            return (
                "The slides' captions are not read: the project's text tower reads no words. Make "
                "the project with --text minilm, or another tower, to use them."
            )
        return ""

    def networks(self) -> list[Network]:
        """Return every network in here, students and teachers, each once."""
        return [module for module in self.modules() if isinstance(module, Network)]

    def students(self) -> list[Network]:
        """Return the networks that learn by gradient."""
        return [n for n in self.networks() if any(p.requires_grad for p in n.parameters())]

    def groups(self) -> list[Group]:
        """Return everything that learns by gradient, each parameter in one group.

        By default the students' encoders and projections, at ``training.backbone_rate`` times the
        encoder's pace, and the rest.
        """
        slow: dict[float, dict[int, nn.Parameter]] = {}
        known: set[int] = set()
        for network in self.students():
            paced = slow.setdefault(network.encoder.pace, {})
            for part in (network.encoder, network.low, network.high):
                learned = {id(p): p for p in part.parameters() if p.requires_grad}
                paced.update({k: p for k, p in learned.items() if k not in known})
                known |= learned.keys()
        rest = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        rate = self.settings.training.backbone_rate
        groups = [Group(tuple(found.values()), rate * pace) for pace, found in slow.items()]
        return [*groups, Group(tuple(rest), 1.0)]

    def candidates(self) -> dict[str, Network]:
        """Return the networks that may be kept, by name, the best guess first.

        By default the first student. Where there are several, validation scores each and keeps the
        best; without validation the first is kept.
        """
        return {"student": self.students()[0]}

    def gathered(self) -> list[Tensor]:
        """Return what a step gathers besides gradients, for several processes to average.

        By default every floating-point buffer, but those of networks that do not learn.
        """
        students = self.students()
        still = {
            id(buffer)
            for network in self.networks()
            if network not in students
            for buffer in network.buffers()
        }
        return [b for b in self.buffers() if b.is_floating_point() and id(b) not in still]

    def inherit(self, parent: Network) -> None:
        """Go on from an earlier round's network.

        By default every network of its shape takes its weights, teachers too. A method with two
        students of one shape must make them differ again.

        Raises
        ------
        WeightsError
            If no network has its shape.
        """
        state = trained_state(parent)
        shapes = {name: value.shape for name, value in state.items()}
        networks = self.networks()
        fitting = [
            n for n in networks if {k: v.shape for k, v in trained_state(n).items()} == shapes
        ]
        for network in fitting or networks[:1]:
            load_trained_state(network, state)
