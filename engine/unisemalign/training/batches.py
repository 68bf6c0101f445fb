"""Batches: each depends on the seed and the step alone, so a resumed round sees the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from unisemalign.geometry import Rect
from unisemalign.methods import Batch, Needs, Unlabelled
from unisemalign.metrics import IGNORE
from unisemalign.settings import Settings
from unisemalign.slides import SpacedSlide
from unisemalign.slides.padding import read_padded
from unisemalign.training.process_group import ALONE, ProcessGroup
from unisemalign.training.tissue import LabelledArea, Tissue, UnlabelledArea
from unisemalign.training.views import cutmix_box, strong_view, turned, weak_view

_LABELLED, _UNLABELLED, _DONOR, _ORDER, _CUT = range(5)


class Batches:
    """Draws the crops of any step.

    Parameters
    ----------
    tissue
        Where crops come from.
    settings
        Crop size, views, batch sizes and seed.
    needs
        Whether unlabelled crops, and donors of their own, are needed.
    processes
        The processes a step's crops are shared out to, in turns.
    """

    def __init__(
        self, tissue: Tissue, settings: Settings, needs: Needs, processes: ProcessGroup = ALONE
    ) -> None:
        self._tissue = tissue
        self._settings = settings
        self._needs = needs
        self._labelled = range(processes.rank, settings.training.batch_labelled, processes.size)
        self._unlabelled = range(processes.rank, settings.training.batch_unlabelled, processes.size)
        self._by_image = settings.training.sampling == "image"
        self._slots = self._in_turns() if self._by_image else self._by_area()
        weights = np.array([a.area_px for a in tissue.unlabelled])
        self._weights = weights / weights.sum()

    def _by_area(self) -> list[int]:
        """Return labelled regions, one as large as several crops several times.

        So every labelled pixel is about as likely to be seen as any other.
        """
        crop_area = self._settings.views.crop_px**2
        return [
            index
            for index, area in enumerate(self._tissue.labelled)
            for _ in range(max(1, round(area.rect.area / crop_area)))
        ]

    def _in_turns(self) -> list[int]:
        """Return as many labelled regions as there are unlabelled slides (methods.md A6)."""
        count, wanted = len(self._tissue.labelled), len(self._tissue.unlabelled)
        times = -(-max(wanted, count) // count)
        order = self._rng(_CUT).permutation(count * times) % count
        return [int(index) for index in order[: max(wanted, count)]]

    def draw(self, step: int) -> Batch:
        """Return this process's share of batch number ``step`` (0-based), on the CPU."""
        views = self._settings.views
        labelled = [self._labelled_crop(step, k) for k in self._labelled]
        images = torch.stack([image for image, _ in labelled])
        labels = torch.stack([target for _, target in labelled])
        captions = self._captions(step) if self._needs.captions else None
        if not self._needs.unlabelled:
            return Batch(images, labels, captions=captions)
        boxes = torch.stack(
            [
                torch.stack(
                    [
                        cutmix_box(views.crop_px, views, self._rng(step, _UNLABELLED, k, 1 + v))
                        for k in self._unlabelled
                    ]
                )
                for v in range(self._needs.strong_views)
            ]
        )
        return Batch(
            images,
            labels,
            self._unlabelled_crops(step, _UNLABELLED),
            boxes,
            self._unlabelled_crops(step, _DONOR) if self._needs.drawn_donor else None,
            captions,
        )

    def _captions(self, step: int) -> tuple[str, ...]:
        """Return the captions of a batch's crops, labelled ones first."""
        labelled = [self._labelled_area(step, k).caption for k in self._labelled]
        if not self._needs.unlabelled:
            return tuple(labelled)
        there = [
            self._unlabelled_area(step, _UNLABELLED, k, self._rng(step, _UNLABELLED, k, 0)).caption
            for k in self._unlabelled
        ]
        return (*labelled, *there)

    def place(self, step: int) -> int:
        """Return which batch ``step`` uses: its own, or one of a few in shuffled turns."""
        count = self._settings.training.distinct_batches
        if count == 0:
            return step
        turn, place = divmod(step, count)
        return int(self._rng(_ORDER, turn).permutation(count)[place])

    def iterate(self, start: int, stop: int) -> Iterator[Batch]:
        """Yield the batches of steps ``start…stop−1``, the next one drawn in the background."""
        # One thread draws, and keeps to one core (OpenMP's count is each thread's own): teams of
        # threads in both places would wait for one another.
        with ThreadPoolExecutor(1, "batches", torch.set_num_threads, (1,)) as pool:
            coming = pool.submit(self.draw, self.place(start))
            for step in range(start, stop):
                batch = coming.result()
                if step + 1 < stop:
                    coming = pool.submit(self.draw, self.place(step + 1))
                yield batch

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, *key])

    def _labelled_crop(self, step: int, k: int) -> tuple[Tensor, Tensor]:
        area = self._labelled_area(step, k)
        rng = self._rng(step, _LABELLED, k, 0)
        views = self._settings.views
        side = self._drawn_side(rng)
        rect = _square_in(area.rect, side, rng)
        pixels, targets = self._resized(area, rect)
        pixels, targets = turned([pixels, targets], views, rng)
        return weak_view(pixels, views, rng), torch.from_numpy(targets).long()

    def _labelled_area(self, step: int, k: int) -> LabelledArea:
        batch = self._settings.training.batch_labelled
        place = self._turn(_LABELLED, step, k, batch, len(self._slots))
        return self._tissue.labelled[self._slots[place]]

    def _unlabelled_area(
        self, step: int, stream: int, k: int, rng: np.random.Generator
    ) -> UnlabelledArea:
        """Return where crop ``k`` is drawn; by area that is the first number drawn of ``rng``."""
        count, batch = len(self._weights), self._settings.training.batch_unlabelled
        if self._by_image:
            return self._tissue.unlabelled[self._turn(stream, step, k, batch, count)]
        return self._tissue.unlabelled[int(rng.choice(count, p=self._weights))]

    def _unlabelled_crops(self, step: int, stream: int) -> Unlabelled:
        crops = [self._unlabelled_crop(step, stream, k) for k in self._unlabelled]
        weak, strong, valid = (torch.stack(parts) for parts in zip(*crops, strict=True))
        return Unlabelled(weak, strong.transpose(0, 1).contiguous(), valid)

    def _unlabelled_crop(self, step: int, stream: int, k: int) -> tuple[Tensor, Tensor, Tensor]:
        views, rng = self._settings.views, self._rng(step, stream, k, 0)
        area = self._unlabelled_area(step, stream, k, rng)
        rect = area.draw(self._drawn_side(rng), rng, tissue_alone=not self._by_image)
        pixels, inside = self._resized(area, rect)
        pixels, inside = turned([pixels, inside], views, rng)
        weak = weak_view(pixels, views, rng)
        strong = [strong_view(weak, views, rng) for _ in range(self._needs.strong_views)]
        return weak, torch.stack(strong), torch.from_numpy(inside > 0)

    def _turn(self, stream: int, step: int, k: int, batch: int, count: int) -> int:
        """Return which of ``count`` things crop ``k`` of ``step`` shows: each in its turn.

        Drawn by image, as published, no batch holds the end of one turn and the beginning of the
        next, unless a batch is more than there is.
        """
        whole = count // batch * batch if self._by_image and count >= batch else count
        turn, place = divmod(step * batch + k, whole)
        return int(self._rng(stream, turn).permutation(count)[place])

    def _drawn_side(self, rng: np.random.Generator) -> int:
        """Return the side, at working spacing, of a crop at a random zoom."""
        views = self._settings.views
        return max(8, round(views.crop_px / rng.uniform(views.scale_min, views.scale_max)))

    def _resized(
        self, area: LabelledArea | UnlabelledArea, rect: Rect
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read a square; return pixels, and targets or (unlabelled) 1 where there is a slide.

        What a person said to skip is none.
        """
        size = self._settings.views.crop_px
        pixels = read_padded(area.slide, rect, self._settings.views.pad)
        if isinstance(area, LabelledArea):
            beside = area.read_targets(rect)
        else:
            beside = _inside(area.slide, rect)
            if (skipped := area.tissue.skipped_in(rect)) is not None:
                beside[skipped] = 0
        for closed in area.closed:
            hidden = closed.intersect(rect)
            if hidden.area > 0:
                ys, xs = hidden.relative_to(rect).slices
                pixels = pixels.copy()
                pixels[ys, xs] = 255
                beside[ys, xs] = IGNORE if isinstance(area, LabelledArea) else 0
        if rect.h == size:
            return pixels, beside
        shape = (size, size)
        image = Image.fromarray(pixels).resize(shape, Image.Resampling.BILINEAR, reducing_gap=2.0)
        plane = Image.fromarray(beside).resize(shape, Image.Resampling.NEAREST)
        return np.array(image), np.array(plane)


def _square_in(region: Rect, side: int, rng: np.random.Generator) -> Rect:
    """Return a random square that lies in ``region``, or covers it where it is the larger one."""

    def corner(start: int, length: int) -> int:
        room = length - side
        return start + int(rng.integers(min(room, 0), max(room, 0) + 1))

    return Rect(corner(region.y, region.h), corner(region.x, region.w), side, side)


def _inside(slide: SpacedSlide, rect: Rect) -> NDArray[np.uint8]:
    plane = np.zeros(rect.shape, np.uint8)
    ys, xs = rect.intersect(Rect(0, 0, *slide.shape_yx)).relative_to(rect).slices
    plane[ys, xs] = 1
    return plane
