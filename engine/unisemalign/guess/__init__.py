"""The first guess: a map before any label, from class words or from clusters. Imports torch."""

from unisemalign.guess.guessing import guess_by_clusters, guess_by_words, name_clusters
from unisemalign.guess.words import find_pair

__all__ = ["find_pair", "guess_by_clusters", "guess_by_words", "name_clusters"]
