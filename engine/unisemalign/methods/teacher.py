"""The mean teacher: an average of the student over time. Source: methods.md A9 step 7."""

from __future__ import annotations

import torch

from unisemalign.methods.step_counter import StepCounter
from unisemalign.model import Network


class Teacher(StepCounter):
    """An exponential moving average of every trained part, batch norm statistics included.

    It stays in evaluation mode. A frozen encoder, its kept tokens and the text tower are shared
    with the student, not copied.

    Parameters
    ----------
    student
        The network to follow.
    decay
        α of methods.md A9; the first steps use min(1 − 1/(t+1), α), so step 0 copies the student.
    """

    def __init__(self, student: Network, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.network = student.copied().requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever ``mode``."""
        del mode
        super().train(False)
        return self

    @torch.no_grad()
    def follow(self, *students: Network) -> None:
        """Move towards the student, or towards the mean of several of one shape."""
        alpha = min(1 - 1 / (self.step + 1), self.decay)
        mine = self.network.state_dict()
        others = [student.state_dict() for student in students[1:]]
        averages, news = [], []
        for name, theirs in students[0].state_dict().items():
            value = mine[name]
            if value.data_ptr() == theirs.data_ptr():
                continue
            if value.is_floating_point():
                averages.append(value)
                same = [theirs, *(other[name] for other in others)]
                news.append(theirs if not others else torch.stack(same).mean(0))
            else:
                value.copy_(theirs)
        # All at once: on a GPU hundreds of small kernels would take longer than their work.
        torch._foreach_mul_(averages, alpha)
        torch._foreach_add_(averages, news, alpha=1 - alpha)
        self.step += 1
