"""Public benchmarks, run through the same project, rounds and scores as a person's own study."""

from unisemalign.benchmark.effort import EffortChoice, measure_effort
from unisemalign.benchmark.effort_page import enough_text
from unisemalign.benchmark.region_choice import ARMS
from unisemalign.benchmark.runs import benchmark_settings, run_benchmark
from unisemalign.benchmark.spread import SCORED_AT, spread_over_seeds, spread_text
from unisemalign.benchmark.table import TableChoice, make_table
from unisemalign.benchmark.table_page import row_scores

__all__ = [
    "ARMS",
    "SCORED_AT",
    "EffortChoice",
    "TableChoice",
    "benchmark_settings",
    "enough_text",
    "make_table",
    "measure_effort",
    "row_scores",
    "run_benchmark",
    "spread_over_seeds",
    "spread_text",
]
