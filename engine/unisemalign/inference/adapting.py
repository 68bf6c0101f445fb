"""Adapts a trained model to another scanner or stain by a slide's own statistics, without labels.

Two things can be asked for. ``inference.match_stain`` moves the slide's colours to those of the
training slides; ``inference.slide_norms`` replaces the statistics of the network's batch norms by
the slide's own (AdaBN, Li et al. 2016), wholly or in part.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from unisemalign.geometry import Rect
from unisemalign.inference.predictor import Predictor
from unisemalign.inference.stains import StainLook, look_at
from unisemalign.model import Network
from unisemalign.model.decoder import PooledBranch
from unisemalign.project import Project, RegionState, Split
from unisemalign.runtime.device import computing_in
from unisemalign.slides import SpacedSlide, TissueMask

_WINDOWS = 16
_WINDOW_PX = 512


def look_of_training(project: Project) -> StainLook | None:
    """Return the look of what a project's rounds learn from: its accepted training regions."""
    regions = project.regions(state=RegionState.ACCEPTED, split=Split.TRAIN)
    windows = []
    for region in (regions[i] for i in _spread(len(regions))):
        slide = project.open_slide(region.slide)
        try:
            windows.append(slide.read(_middle(region.rect), []))
        finally:
            slide.slide.close()
    return look_at(windows)


def adapted(predictor: Predictor, slide: SpacedSlide, tissue: TissueMask | None) -> Predictor:
    """Return ``predictor`` as the settings want it for this slide; itself where they want nothing.

    Up to 16 windows of tissue are read, the same at every call; what comes of them is kept for as
    long as ``slide`` is.
    """
    inference = predictor.settings.inference
    stain = predictor.reference if inference.match_stain else None
    if stain is None and not inference.slide_norms:
        return predictor
    if slide not in predictor.of_slides:
        windows = [slide.read(rect, []) for rect in _some_windows(slide, tissue)]
        found = copy.copy(predictor)
        seen = look_at(windows) if stain is not None else None
        if stain is not None and seen is not None:
            found.change = seen.change_to(stain)
        if inference.slide_norms and windows:
            found.network = _with_norms_of(found, windows, inference.slide_norms)
            found.recent = None
        predictor.of_slides[slide] = found
    found = predictor.of_slides[slide]
    found.batch_windows = min(found.batch_windows, predictor.batch_windows)
    return found


def _with_norms_of(predictor: Predictor, windows: list[NDArray[np.uint8]], share: float) -> Network:
    """Return a copy of the network whose batch norms know ``windows`` to ``share``."""
    network = copy.deepcopy(predictor.network).eval()
    norms = list(_norms(network))
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over windows
        norm.train()
    temperature = predictor.settings.method.temperature
    for window in windows:
        pixels = window if predictor.change is None else predictor.change(window)
        images = torch.from_numpy(pixels).to(predictor.device).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad(), computing_in(predictor.precision, predictor.device):
            network.logits(network.features(images), network.words(), temperature)
    for norm, (mean, var) in zip(norms, before, strict=True):
        norm.running_mean.lerp_(mean, 1 - share)
        norm.running_var.lerp_(var, 1 - share)
    return network.eval()


def _norms(network: Network) -> Iterator[Any]:
    """Yield the batch norms that see many pixels of a window: not those of image-level branches."""
    pooled = {
        part
        for branch in network.modules()
        if isinstance(branch, PooledBranch)
        for part in branch.modules()
    }
    for module in network.modules():
        tracked = isinstance(module, nn.BatchNorm2d) and module.track_running_stats
        if tracked and module not in pooled:
            yield module


def _some_windows(slide: SpacedSlide, tissue: TissueMask | None) -> list[Rect]:
    """Return up to 16 windows spread over the slide's tissue, or over all of it without a map."""
    height, width = slide.shape_yx
    # The last of a row moves inside, so that it is no sliver.
    windows = [
        Rect(y, x, min(height, _WINDOW_PX), min(width, _WINDOW_PX))
        for y in _starts(height)
        for x in _starts(width)
    ]
    if tissue is not None:
        windows = [w for w in windows if tissue.fraction(w) > 0.25] or windows
    return [windows[i] for i in _spread(len(windows))]


def _starts(side: int) -> list[int]:
    return sorted({min(start, max(0, side - _WINDOW_PX)) for start in range(0, side, _WINDOW_PX)})


def _middle(rect: Rect) -> Rect:
    height, width = (min(side, _WINDOW_PX) for side in rect.shape)
    return Rect(rect.y + (rect.h - height) // 2, rect.x + (rect.w - width) // 2, height, width)


def _spread(count: int) -> Iterator[int]:
    """Return up to 16 places of ``count``, evenly spread."""
    return iter(sorted({round(i) for i in np.linspace(0, count - 1, min(count, _WINDOWS))}))
