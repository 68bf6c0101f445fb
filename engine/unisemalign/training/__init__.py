"""Training a round. Imports torch."""

from unisemalign.training.rounds import last_network, train_round, unfinished_round
from unisemalign.training.team import gather_team

__all__ = ["gather_team", "last_network", "train_round", "unfinished_round"]
