"""Published weights: which there are, where they lie, how they are fetched. Free of torch."""

from unisemalign.weights.choosing import choice_sentence
from unisemalign.weights.places import find_tokenizer, find_weights, is_here
from unisemalign.weights.registry import PUBLISHED, Published, find_published, split_name
from unisemalign.weights.spacing import spacing_advice

__all__ = [
    "PUBLISHED",
    "Published",
    "choice_sentence",
    "find_published",
    "find_tokenizer",
    "find_weights",
    "is_here",
    "spacing_advice",
    "split_name",
]
