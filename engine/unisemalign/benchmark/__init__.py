"""Public benchmarks, run through the same project, rounds and scores as a person's own study."""

from unisemalign.benchmark.runs import benchmark_settings, run_benchmark
from unisemalign.benchmark.spread import SCORED_AT, spread_over_seeds, spread_text
from unisemalign.benchmark.table import TableChoice, make_table, row_scores

__all__ = [
    "SCORED_AT",
    "TableChoice",
    "benchmark_settings",
    "make_table",
    "row_scores",
    "run_benchmark",
    "spread_over_seeds",
    "spread_text",
]
