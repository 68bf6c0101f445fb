"""How long an import of many outlines takes, as a cell detection of QuPath exports them.

    python benchmarks/outlines.py --cells 12500 --cells 25000 --cells 50000 --cells 100000

Cells lie in clusters all over a slide of 40 000² pixels, each an outline of 30 points with a
measurement. ``of a core`` is the processor's time: other programs do not change it. Where it grows
with the number of cells, microseconds a cell fall, since opening tiles is paid once.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
import zarr

from unisemalign.exchange import import_geojson
from unisemalign.project import Project

SIDE_PX = 40_000
POINTS = 30
_RADIUS_PX = 12
_IN_CLUSTER = 200


def write_cells(path: Path, count: int, seed: int = 0) -> None:
    """Write ``count`` cells as QuPath does, one feature each."""
    rng = np.random.default_rng(seed)
    turns = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for index in range(count):
            if index % _IN_CLUSTER == 0:
                middle = rng.uniform(1000, SIDE_PX - 1000, 2)
            radius = _RADIUS_PX * rng.uniform(0.8, 1.2, POINTS)
            centre = middle + rng.normal(0, 300, 2)
            ring = centre + radius[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
            ring = np.round(np.concatenate([ring, ring[:1]]), 2)
            feature = {
                "type": "Feature",
                "id": f"{index:032x}",
                "geometry": {"type": "Polygon", "coordinates": [ring.tolist()]},
                "properties": {
                    "objectType": "detection",
                    "classification": {"name": "Tumor" if index % 3 else "Stroma"},
                    "measurements": {"Area µm^2": 110.5, "Circularity": 0.93},
                },
            }
            file.write(("," if index else "") + "\n" + json.dumps(feature))
        file.write("]}")


def write_slide(path: Path) -> None:
    """Write an OME-Zarr of that size without a single chunk."""
    group = zarr.create_group(path, zarr_format=2)
    group.create_array("0", shape=(3, SIDE_PX, SIDE_PX), chunks=(3, 512, 512), dtype="uint8")
    axes = [{"name": "c"}] + [{"name": name, "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 0.25, 0.25]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": datasets}]


def main(
    cells: Annotated[list[int] | None, typer.Option(help="How many; may be repeated.")] = None,
) -> None:
    """Import as many cells as asked for, each number into a project of its own."""
    print("   cells     MB  seconds of a core  µs a cell  regions  peak MB")
    for count in cells or [12_500, 25_000, 50_000, 100_000]:
        with tempfile.TemporaryDirectory() as folder:
            path, slide = Path(folder) / "cells.geojson", Path(folder) / "s.zarr"
            write_cells(path, count)
            write_slide(slide)
            with Project.create(Path(folder) / "p", classes=["Stroma", "Tumor"]) as project:
                project.add_slide(slide)
                begun, busy = time.perf_counter(), time.process_time()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    regions = import_geojson(project, "s", path)
                seconds, busy = time.perf_counter() - begun, time.process_time() - busy
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            size = path.stat().st_size / 1e6
            print(
                f"{count:8} {size:6.0f} {seconds:8.1f} {busy:9.1f} {1e6 * busy / count:10.0f} "
                f"{len(regions):8} {peak:8.0f}",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
