"""Training a round. Imports torch."""

from unisemalign.training.loop import train_round

__all__ = ["train_round"]
