"""What a person should look at next."""

from unisemalign.active.ranking import (
    DEFAULT_WEIGHTS,
    LEAST_PREDICTED,
    RankingWeights,
    rank_regions,
)

__all__ = ["DEFAULT_WEIGHTS", "LEAST_PREDICTED", "RankingWeights", "rank_regions"]
