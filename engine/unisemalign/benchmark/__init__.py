"""Public benchmarks, run through the same project, rounds and scores as a person's own study."""

from unisemalign.benchmark.runs import benchmark_settings, run_benchmark
from unisemalign.benchmark.spread import SCORED_AT, spread_over_seeds, spread_text

__all__ = [
    "SCORED_AT",
    "benchmark_settings",
    "run_benchmark",
    "spread_over_seeds",
    "spread_text",
]
