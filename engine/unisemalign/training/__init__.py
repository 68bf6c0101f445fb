"""Training a round. Imports torch."""

from unisemalign.training.process_group import join_processes
from unisemalign.training.rounds import last_network, train_round, unfinished_round

__all__ = ["join_processes", "last_network", "train_round", "unfinished_round"]
