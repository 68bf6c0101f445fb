"""Methods beside each other on several data sets: every run a process, one table at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisemalign.benchmark.processes import BenchmarkProcesses, Planned
from unisemalign.benchmark.runs import benchmark_settings
from unisemalign.benchmark.spread import spread_over_seeds
from unisemalign.benchmark.table_page import write_table_page
from unisemalign.datasets import read_dataset
from unisemalign.errors import SettingsError
from unisemalign.protocol import Message
from unisemalign.runtime import CancelToken, Events
from unisemalign.runtime.results import check_results
from unisemalign.settings import METHODS


@dataclass(frozen=True)
class TableChoice:
    """What is compared, and how.

    Attributes
    ----------
    data
        Data set → its folder.
    methods
        Names; each is trained on each data set with each seed.
    seeds, fraction, preset, encoder, text, overrides
        As of a single benchmark, the same for all.
    at_once
        How many runs go on side by side; each has its share of the cores.
    out
        Folder for the runs and the page. Runs that are there are read, others go on.
    """

    data: Mapping[str, Path]
    methods: Sequence[str]
    seeds: Sequence[int]
    out: Path
    fraction: int = 10
    preset: str = "recommended"
    encoder: str = "embedded"
    text: str = "free"
    overrides: Sequence[str] = ()
    at_once: int = 1

    def planned(self) -> list[Planned]:
        """Return every run, seed by seed: the first seed's whole table is there first."""
        settings = {name: self._settings(name) for name in self.methods}
        return [
            Planned(
                name=f"{dataset} {method} seed {seed}",
                group=f"{dataset} {method}",
                steps=settings[method].training.steps,
                arguments=self._arguments(dataset, method, seed),
            )
            for seed in self.seeds
            for dataset in self.data
            for method in self.methods
        ]

    def _settings(self, method: str) -> Any:
        return benchmark_settings(self.fraction, self.preset, method, self.overrides)

    def _arguments(self, dataset: str, method: str, seed: int) -> tuple[str, ...]:
        given = ["benchmark", dataset, "--data", str(self.data[dataset])]
        given += ["--method", method, "--seeds", str(seed), "--fraction", str(self.fraction)]
        given += ["--preset", self.preset, "--encoder", self.encoder, "--text", self.text]
        given += ["--out", str(self.out / dataset), "--json"]
        return (*given, *(part for each in self.overrides for part in ("--set", each)))


def make_table(choice: TableChoice, *, events: Events, cancel: CancelToken) -> dict[str, Any]:
    """Train what is missing and return one row a data set and method.

    Every run is a process of its own, and each is a folder that the single benchmark would make:
    a table that was stopped goes on, and nothing is trained twice. A run that fails is told and
    the others go on.

    Returns
    -------
    dict
        ``rows``: ``dataset``, ``method``, ``needs``, ``seeds``, the spreads of
        :func:`~unisemalign.benchmark.spread_over_seeds`, ``learned_parameters``,
        ``peak_memory_mb`` (the most of its runs) and ``failed``: seed → sentence. ``report``: the
        page. ``failed``: how many runs did.

    Raises
    ------
    CancelledError
        If it was stopped.
    DataError
        If a data set is not what its reader needs, or the page would replace something else.
    SettingsError
        For an unknown method, or a setting that one of them does not have.
    """
    for name in choice.methods:
        if name not in METHODS:
            raise SettingsError(f"There is no method '{name}'. There are: {', '.join(METHODS)}.")
    planned = choice.planned()  # before hours of training: every setting is read
    found = {name: read_dataset(name, path, choice.fraction) for name, path in choice.data.items()}
    page = choice.out / f"table-{_digest(choice)}.html"
    check_results(choice.out, [page.name])
    for remark in (each.remark for each in found.values() if each.remark):
        events.emit(Message(text=remark))
    choice.out.mkdir(exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // choice.at_once)
    processes = BenchmarkProcesses(planned, choice.at_once, threads, events, cancel)
    outcomes = processes.run()
    rows = []
    for dataset in choice.data:
        for method in choice.methods:
            ended = {s: outcomes[f"{dataset} {method} seed {s}"] for s in choice.seeds}
            rows.append(_row(dataset, method, ended))
    failed = sum(len(row["failed"]) for row in rows)
    write_table_page(page, choice, found, rows)
    return {"rows": rows, "failed": failed, "report": str(page)}


def _row(dataset: str, method: str, ended: Mapping[int, Any]) -> dict[str, Any]:
    runs = [each.runs[0] for each in ended.values() if each.runs]

    def known(name: str) -> list[Any]:
        return [run[name] for run in runs if run.get(name) is not None]

    return {
        "dataset": dataset,
        "method": method,
        "seeds": [run["seed"] for run in runs],
        **spread_over_seeds(runs),
        "needs": next(iter(known("needs")), []),
        "learned_parameters": max(known("learned_parameters"), default=None),
        "peak_memory_mb": max(known("peak_memory_mb"), default=None),
        "failed": {str(seed): each.failure for seed, each in ended.items() if each.failure},
    }


def _digest(choice: TableChoice) -> str:
    parts = [sorted(choice.data), list(choice.methods), list(choice.seeds), choice.fraction]
    parts += [choice.preset, choice.encoder, choice.text, list(choice.overrides)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]
