"""How far a tiled map is from an untiled one, and whether windows show: by weight of the window.

A drawn image is labelled in one piece and in windows of 512 px at stride 384, by a round of
`--steps` steps. The network looks at all of its window (attention, image-level pooling), so the two
differ everywhere; a local network's differ at the borders of windows only, which
tests/engine/inference proves. Reported: pixels of equal class, the mean difference of confidence
(of 255), and the mean jump of confidence across the borders of windows over the jump elsewhere: 1
means that no seam is seen.

    python benchmarks/seams.py [--steps 40] [--json]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unisemalign import Project, Rect, build_settings, load_predictor, train_round
from unisemalign.inference import blending, predict_rect
from unisemalign.project import Origin, RegionState
from unisemalign.runtime import SilentEvents
from unisemalign.slides import synthetic

SIDE_PX = 1472  # as the network takes it: 32 × 46
SHARES = {"uniform": None, "gaussian 1/4": 0.25, "gaussian 1/8": 0.125}


class Held:
    """A slide in memory."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.shape_yx = (pixels.shape[0], pixels.shape[1])

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        """Return ``(h, w, 3)``."""
        return self.pixels[rect.slices]


def measure(steps: int) -> dict[str, Any]:
    """Return the figures of each weight."""
    with tempfile.TemporaryDirectory() as name:
        folder, region = Path(name), Rect(512, 512, 768, 768)
        path = synthetic.draw_slide(folder / "drawn.tif", size_px=2048, seed=0)
        with Project.create(folder / "s.unisem", classes=list(synthetic.CLASSES)) as project:
            project.add_slide(path)
            truth = synthetic.truth(region, size_px=2048, seed=0)
            project.write_labels("drawn", region, truth, Origin.DRAWN, action="accept")
            project.add_region("drawn", region, state=RegionState.ACCEPTED)
            train_round(
                project,
                build_settings(overrides={"training.steps": steps}),
                events=SilentEvents(),
            )
            predictor, _ = load_predictor(project)
    whole = Rect(0, 0, SIDE_PX, SIDE_PX)
    slide = Held(synthetic.image(whole, size_px=SIDE_PX, seed=0))
    answer = predictor(slide.pixels[None])[0, :-2]
    classes, sure = answer.argmax(0).numpy() + 1, 255 * answer.amax(0).numpy()
    side, step = (getattr(predictor.settings.inference, f"{n}_px") for n in ("window", "stride"))
    borders = {x - 1 for k in range(0, SIDE_PX, step) for x in (k, k + side) if 0 < x < SIDE_PX}
    report = {}
    for kind, share in SHARES.items():
        blending.SIGMA = share or 0.0
        predictor.weights = blending.window_weights(side, kind.split()[0], predictor.device)
        band = predict_rect(slide, predictor, whole)
        jumps = np.abs(np.diff(band.confidence.astype(float), axis=1)).mean(0)
        elsewhere = [x for x in range(len(jumps)) if min(abs(x - b) for b in borders) > 4]
        report[kind] = {
            "equal_share": round(float((band.classes == classes).mean()), 4),
            "confidence_off": round(float(np.abs(band.confidence - sure).mean()), 2),
            "jump": round(float(jumps[sorted(borders)].mean() / jumps[elsewhere].mean()), 2),
        }
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    figures = measure(given.steps)
    if given.json:
        print(json.dumps(figures))
    else:
        for name, row in figures.items():
            print(f"{name:14} {row}")
