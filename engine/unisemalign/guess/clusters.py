"""What looks alike: k-means on the embedded encoder's fine features.

The features are those of its feature pyramid at stride 2, which knows the tissue around as well as
the borders. Standardised, smoothed and compared by direction (spherical k-means), they agree best
with GlaS's glands (``benchmarks/guess.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from unisemalign.errors import DataError
from unisemalign.geometry import Rect
from unisemalign.guess.network import GuessNetwork
from unisemalign.model import build_encoder
from unisemalign.project import GuessNote, Project
from unisemalign.slides import SpacedSlide, TissueMask
from unisemalign.weights import find_published

ENCODER = "embedded"
WINDOW_PX = 256
"""Side of the encoder's input, in its own pixels."""

_SMOOTH_PX = 5
_TEMPERATURE = 0.1
_WINDOWS = 32
_PIXELS_A_WINDOW = 1024
_TRIES = 4

Numbers = NDArray[np.float64]


def find_clusters(
    project: Project,
    slides: Sequence[str],
    rect: Rect | None,
    count: int,
    *,
    seed: int,
    on_slide: Callable[[int, int], None],
) -> GuessNote:
    """Return ``count`` directions in which the features of the tissue fall, without names yet.

    Parameters
    ----------
    project, slides, rect
        Windows are drawn from these slides' tissue, or from ``rect`` of the one slide.
    count
        K, 2 or more.
    seed
        Of the drawing and of k-means.
    on_slide
        Called with (slides read, slides in all). May raise, to stop.

    Raises
    ------
    DataError
        If there is no tissue to look at.
    """
    rng = np.random.default_rng(seed)
    encoder = build_encoder(ENCODER)
    anything = torch.ones(1, encoder.low_channels)
    looking = GuessNetwork(
        encoder,
        anything,
        [0],
        zoom=_zoom(project.info.spacing_um),
        temperature=_TEMPERATURE,
        smooth_px=_SMOOTH_PX,
    ).eval()
    rows: list[Numbers] = []
    for done, name in enumerate(slides, start=1):
        slide = project.open_slide(name)
        try:
            tissue = project.tissue(name, slide)
            side_px = round(WINDOW_PX / looking.settings.zoom)
            windows = _tissue_windows(slide, tissue, rect, side_px)
            chosen = rng.permutation(len(windows))[: max(1, _WINDOWS // len(slides))]
            rows += [_some_features(looking, slide.read(windows[i]), rng) for i in chosen]
        finally:
            slide.slide.close()
        on_slide(done, len(slides))
    if not rows:
        raise DataError(
            f"Clusters need tissue, found none on {', '.join(slides)}. Name another slide, or a "
            f"region of tissue with --region Y,X,H,W."
        )
    features = np.concatenate(rows)
    centre, scale = features.mean(0), features.std(0) + 1e-6
    directions, shares = _directions((features - centre) / scale, count, rng)
    return GuessNote(
        made_by="clusters",
        model=ENCODER,
        seed=seed,
        centre=tuple(centre.tolist()),
        scale=tuple(scale.tolist()),
        directions=tuple(tuple(row) for row in directions.tolist()),
        shares=tuple(shares.tolist()),
    )


def cluster_network(note: GuessNote, spacing_um: float, answers: Sequence[int]) -> GuessNetwork:
    """Return the network that tells the clusters of ``note`` apart, or what they stand for.

    ``answers`` as in :class:`GuessNetwork`; slides are read at ``spacing_um``.
    """
    return GuessNetwork(
        build_encoder(note.model),
        torch.tensor(note.directions),
        answers,
        zoom=_zoom(spacing_um),
        temperature=_TEMPERATURE,
        centre=torch.tensor(note.centre),
        scale=torch.tensor(note.scale),
        smooth_px=_SMOOTH_PX,
    )


def _zoom(spacing_um: float) -> float:
    """Return the scaling that shows the encoder the pixel size it learned at."""
    entry = find_published(ENCODER, "encoder")
    learned_um = entry.spacing_um if entry and entry.spacing_um else spacing_um
    return float(np.clip(spacing_um / learned_um, 0.1, 8.0))


def _tissue_windows(
    slide: SpacedSlide, tissue: TissueMask, rect: Rect | None, side_px: int
) -> list[Rect]:
    """Return the windows that are tissue for the better part, else those with any."""
    whole = Rect(0, 0, *slide.shape_yx)
    area = whole if rect is None else rect.intersect(whole)
    windows = [
        Rect(y, x, side_px, side_px).intersect(area)
        for y in range(area.y, area.y1, side_px)
        for x in range(area.x, area.x1, side_px)
    ]
    shares = [tissue.fraction(window) for window in windows]
    for least in (0.5, 1e-6):
        kept = [w for w, share in zip(windows, shares, strict=True) if share >= least]
        if kept:
            return kept
    return []


@torch.inference_mode()
def _some_features(
    network: GuessNetwork, pixels: NDArray[np.uint8], rng: np.random.Generator
) -> Numbers:
    """Return some of the features looked at in a window ``(h, w, 3)``: ``(N, D)``."""
    images = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
    rows = network.smoothed_features(images)[0].flatten(1).T.double().numpy()
    chosen: Numbers = rows[rng.permutation(len(rows))[:_PIXELS_A_WINDOW]]
    return chosen


def _directions(features: Numbers, count: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Return unit directions ``(K, D)`` of standardised features ``(N, D)``, and their shares.

    The largest cluster comes first.
    """
    unit = _unit(features)
    tries = []
    for _ in range(_TRIES):
        centres, _labels = kmeans2(unit, count, minit="++", rng=rng, iter=30)
        directions = _unit(centres)
        tries.append((float((unit @ directions.T).max(1).mean()), directions))
    best = max(tries, key=lambda each: each[0])[1]
    shares = np.bincount((unit @ best.T).argmax(1), minlength=count) / len(unit)
    order = np.argsort(-shares, kind="stable")
    return best[order], shares[order]


def _unit(rows: Numbers) -> Numbers:
    lengths: Numbers = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return rows / lengths
