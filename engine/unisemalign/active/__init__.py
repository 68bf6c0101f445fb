"""What a person should look at next."""

from unisemalign.active.ranking import rank_regions

__all__ = ["rank_regions"]
