"""GlaS with the UniSemAlign paper's 10 % and 20 % partitions."""

from __future__ import annotations

import hashlib
import shutil
import statistics
import tomllib
from pathlib import Path
from typing import Any

from unisemalign.errors import DataError
from unisemalign.exchange import import_mask
from unisemalign.project import Project, Split
from unisemalign.runtime import Events
from unisemalign.runtime.files import read_json, write_json
from unisemalign.settings import Settings

SPACING_UM = 0.62
"""GlaS is scanned at this pixel size (Sirinukunwattana et al. 2017)."""


def run_benchmark(
    dataset: str,
    data: Path,
    fraction: int,
    settings: Settings,
    *,
    encoder: str,
    text: str,
    seeds: list[int],
    out: Path,
    events: Events,
) -> dict[str, Any]:
    """Train once a seed and report val scores, mean ± SD in percent.

    Each run lives in a folder of its own under ``out``, named after its settings: a run that is
    there already is read, one that was interrupted goes on.

    Raises
    ------
    DataError
        For an unknown data set, fraction, or a folder that does not hold it.
    """
    from unisemalign.training import train_round

    if dataset != "glas":
        raise DataError(f"A benchmark wants the name 'glas', found '{dataset}'.")
    runs = []
    for seed in seeds:
        mine = settings.model_copy(update={"seed": seed})
        tower = mine.model.model_copy(update={"encoder": encoder, "text": text})
        mine = mine.model_copy(update={"model": tower})
        digest = hashlib.sha256(mine.model_dump_json().encode()).hexdigest()[:10]
        folder = out / f"glas{fraction}-{mine.preset}-{mine.method.name}-{digest}-s{seed}"
        scores = read_json(folder / "scores.json")
        if scores is None:
            with _open_glas(folder / "glas.unisem", data, fraction, encoder, text) as project:
                rounds = project.rounds()
                if not rounds or rounds[-1].state != "done":
                    train_round(project, mine, resume=bool(rounds), events=events)
                scores = project.rounds()[-1].scores
            write_json(folder / "scores.json", scores)
        events.emit(
            "message",
            text=f"seed {seed}: best {100 * scores['best_val']['mdice']:.2f}, "
            f"last {100 * scores['last_val']['mdice']:.2f}",
        )
        runs.append({"seed": seed, "folder": str(folder), **scores})
    return {
        "dataset": dataset,
        "fraction": fraction,
        "preset": settings.preset,
        "method": settings.method.name,
        "encoder": encoder,
        "best": _spread([run["best_val"]["mdice"] for run in runs]),
        "last": _spread([run["last_val"]["mdice"] for run in runs]),
        "best_jaccard": _spread([run["best_val"]["mjaccard"] for run in runs]),
        "seconds_per_step": _spread([run["seconds_per_step"] for run in runs], 1),
        "runs": runs,
    }


def _spread(values: list[float], scale: float = 100) -> dict[str, float]:
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": round(scale * statistics.mean(values), 4), "sd": round(scale * sd, 4)}


def _open_glas(root: Path, data: Path, fraction: int, encoder: str, text: str) -> Project:
    if root.exists():
        return Project.open(root)
    part = _partition(data, fraction)
    # Made under another name first: a project cut off half way is never trained on.
    making = root.with_name(f"making-{root.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.parent.mkdir(parents=True, exist_ok=True)
    project = Project.create(
        making,
        classes=["background", "gland"],
        spacing_um=SPACING_UM,
        encoder=encoder,
        text=text,
    )
    for names, split, labelled in (
        (part["labeled"], Split.TRAIN, True),
        (part["unlabeled"], Split.TRAIN, False),
        (part["val"], Split.VAL, True),
    ):
        for name in names:
            record = project.add_slide(
                data / "images" / f"{name}.png", spacing_um=SPACING_UM, split=split
            )
            if labelled:
                import_mask(project, record.name, data / "masks" / f"{name}.png")
    project.close()
    making.rename(root)
    return Project.open(root)


def _partition(data: Path, fraction: int) -> dict[str, list[str]]:
    path = data / "splits.toml"
    try:
        splits = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"GlaS wants images/, masks/ and splits.toml in '{data}', found no splits.toml. "
            f"Check --data."
        ) from None
    key = f"glas_{fraction}"
    if key not in splits:
        raise DataError(f"GlaS wants a fraction of 10 or 20, found {fraction}.")
    found: dict[str, list[str]] = splits[key]
    return found
