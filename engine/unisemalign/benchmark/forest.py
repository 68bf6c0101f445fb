"""What a person of another program would get from the same pixels: a random forest.

QuPath's and ilastik's pixel classifiers are of this kind: smoothed colours, edges and textures at
several scales, and a random forest. Source of the features: scikit-image's
``multiscale_basic_features``.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from skimage.feature import multiscale_basic_features

from unisemalign.errors import SettingsError
from unisemalign.geometry import Rect
from unisemalign.metrics import IGNORE, Scores
from unisemalign.project import Project, RegionState, Split

_TREES = 100
_SIGMA_MAX = 16
_PIXELS = 40_000
_STEP = 2
"""The forest answers every second pixel of every second row; the others take their neighbour's."""


def check_forest() -> None:
    """Check that scikit-learn is there.

    Raises
    ------
    SettingsError
        If it is not.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise SettingsError(
            "The random forest needs scikit-learn, found none. Run pip install scikit-learn, or "
            "leave it out with --no-forest."
        ) from error


def score_forest(project: Project, seed: int) -> float:
    """Return the val mDice of a random forest that learned from the project's accepted regions."""
    from sklearn.ensemble import RandomForestClassifier

    rng = np.random.default_rng(seed)
    rows, marks = [], []
    for region in project.regions(state=RegionState.ACCEPTED, split=Split.TRAIN):
        truth = project.labels(region.slide).read(region.rect)
        features = _features(project, region.slide, region.rect)
        rows.append(features[truth > 0])
        marks.append(truth[truth > 0])
    seen, labels = np.concatenate(rows), np.concatenate(marks)
    kept = rng.permutation(len(labels))[:_PIXELS]
    forest = RandomForestClassifier(_TREES, random_state=seed, class_weight="balanced", n_jobs=1)
    forest.fit(seen[kept], labels[kept])
    scores = Scores(len(project.info.classes))
    for region in project.regions(state=RegionState.ACCEPTED, split=Split.VAL):
        truth = project.labels(region.slide).read(region.rect)
        predicted = _answer(forest, _features(project, region.slide, region.rect))
        scores.add(predicted - np.uint8(1), np.where(truth > 0, truth - np.uint8(1), IGNORE))
    return cast("float", scores.summary()["mdice"])


def _features(project: Project, slide: str, rect: Rect) -> NDArray[np.float32]:
    """Return ``(h, w, F)`` of colour, edges and texture at scales of ½ to 16 px."""
    opened = project.open_slide(slide)
    try:
        pixels = opened.read(rect)
    finally:
        opened.slide.close()
    found: NDArray[np.float32] = multiscale_basic_features(
        pixels, channel_axis=-1, sigma_min=0.5, sigma_max=_SIGMA_MAX
    )
    return found


def _answer(forest: Any, features: NDArray[np.float32]) -> NDArray[np.uint8]:
    coarse = features[::_STEP, ::_STEP]
    classes = forest.predict(coarse.reshape(-1, coarse.shape[-1])).astype(np.uint8)
    whole: NDArray[np.uint8] = classes.reshape(coarse.shape[:2]).repeat(_STEP, 0).repeat(_STEP, 1)
    return whole[: features.shape[0], : features.shape[1]]
