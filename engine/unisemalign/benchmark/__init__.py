"""Public benchmarks, run through the same project, rounds and scores as a person's own study."""

from unisemalign.benchmark.glas import run_benchmark

__all__ = ["run_benchmark"]
