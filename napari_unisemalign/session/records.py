"""What the open project holds, read once and again only after it changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np

from napari_unisemalign.session.change import Change
from unisemalign.active import LEAST_PREDICTED
from unisemalign.errors import ProjectError
from unisemalign.project import (
    FirstGuess,
    GuessNote,
    JournalEntry,
    PredictionStore,
    Project,
    Region,
    RegionState,
    Round,
    SecondReading,
    SlideRecord,
    Split,
)

T = TypeVar("T")

SURE_CONFIDENCE = 0.9
"""From which on a pixel counts as sure."""
SURE_PIXEL_SHARE = 0.98
"""Share of a region's predicted pixels that must be sure."""

IN_TABLES = Change.SLIDES | Change.REGIONS | Change.LABELS | Change.ROUNDS
"""What another process can change in the project's tables."""


class ProjectRecords:
    """Slides, regions, rounds, journal, first guess and predictions of one open project.

    Every method returns what was read last. :meth:`forget` makes it read anew what a change
    concerns; :meth:`forget_outdated` what others wrote into the tables meanwhile.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._read: dict[str, tuple[Change, object]] = {}
        self._labelled: dict[str, frozenset[int]] = {}
        self._stores: dict[tuple[int, str], PredictionStore] = {}
        self._version = project.version()

    def forget(self, change: Change, *, slide: str | None = None) -> None:
        """Read anew what ``change`` concerns; of labels, those of ``slide`` alone if it is given.

        For what this very process wrote: what others wrote since is found out all the same.
        """
        self._read = {
            key: (concerns, value)
            for key, (concerns, value) in self._read.items()
            if not concerns & change
        }
        if Change.LABELS in change and slide is not None:
            self._labelled.pop(slide, None)
        elif Change.LABELS in change:
            self._labelled.clear()
        if Change.GUESS in change:
            # Its maps may have been made anew.
            self._stores = {key: kept for key, kept in self._stores.items() if key[0] > 0}
        if change & IN_TABLES:
            self._version = (self._version[0], self._project.version()[1])

    def forget_outdated(self) -> None:
        """Read the tables anew if anybody wrote into them."""
        version = self._project.version()
        if version == self._version:
            return
        before = self.journal(), self.slides(), self.rounds()
        labelled, read = dict(self._labelled), dict(self._read)
        self.forget(IN_TABLES)
        self._version = version
        # What follows from tables that are the same is the same; reading labels and files is slow.
        if self.journal() == before[0]:
            self._labelled = labelled
        same = Change(0)
        if self.slides() == before[1]:
            same |= Change.SLIDES
        if self.rounds() == before[2]:
            same |= Change.ROUNDS | Change.PREDICTION | Change.GUESS
        for key, (concerns, value) in read.items():
            if not concerns & ~same:
                self._read.setdefault(key, (concerns, value))

    def slides(self) -> tuple[SlideRecord, ...]:
        """Return every slide, in the order they were added."""
        return self._kept("slides", Change.SLIDES, lambda: tuple(self._project.slides()))

    def missing_slides(self) -> frozenset[str]:
        """Return the names of slides whose file is not where it was."""
        return self._kept(
            "missing",
            Change.SLIDES,
            lambda: frozenset(each.name for each in self.slides() if not each.path.exists()),
        )

    def regions(self) -> tuple[Region, ...]:
        """Return every region, oldest first."""
        return self._kept("regions", Change.REGIONS, lambda: tuple(self._project.regions()))

    def second_readings(self) -> tuple[SecondReading, ...]:
        """Return what was sent to second readers, in that order."""
        return self._kept(
            "readings", Change.REGIONS, lambda: tuple(self._project.second_readings())
        )

    def waiting_for(self, reader: str) -> dict[int, SecondReading]:
        """Return what waits for a second reader: number of the region → reading."""
        return {
            each.region_id: each
            for each in self.second_readings()
            if each.reader == reader and not each.answered
        }

    def queue(self) -> tuple[Region, ...]:
        """Return the regions to look at: begun ones first, then the model's doubts, worst first.

        What an older round doubted is not among them where a newer one has been: it knows better.
        Neither is what a round doubted that is set aside.
        """
        aside = {each.number for each in self.rounds() if each.set_aside}
        begun = [each for each in self.regions() if each.state is RegionState.REVIEW]
        ranked = [
            each
            for each in self.regions()
            if each.state is RegionState.PREDICTED
            and each.round not in aside
            and not self.is_outdated(each)
        ]
        ranked.sort(key=lambda region: -(region.score or 0.0))
        return (*begun, *ranked)

    def accepted(self, split: Split) -> tuple[Region, ...]:
        """Return the accepted regions that are for ``split``."""
        return tuple(
            each
            for each in self.regions()
            if each.state is RegionState.ACCEPTED and each.split is split
        )

    def journal(self) -> tuple[JournalEntry, ...]:
        """Return the newest edits of the labels, newest first."""
        return self._kept("journal", Change.LABELS, lambda: tuple(self._project.journal()))

    def newest_edit(self, state: str) -> JournalEntry | None:
        """Return the newest edit of the labels that is ``done`` or ``undone``."""
        return next((each for each in self.journal() if each.state == state), None)

    def next_redo(self) -> JournalEntry | None:
        """Return the edit of the labels that was taken back last."""
        undone = [each for each in self.journal() if each.state == "undone"]
        return undone[-1] if undone else None

    def labelled_values(self) -> frozenset[int]:
        """Return the label values that occur on training slides."""
        found: set[int] = set()
        classes = len(self._project.info.classes)
        for record in self.slides():
            if len(found) == classes:  # of many slides, few have to be read
                break
            if record.split is Split.TRAIN:
                found |= self._values_of(record.name)
        return frozenset(found)

    def rounds(self) -> tuple[Round, ...]:
        """Return every round, oldest first."""
        return self._kept("rounds", Change.ROUNDS, lambda: tuple(self._project.rounds()))

    def latest_round(self, besides: int | None = None) -> Round | None:
        """Return the newest round that has a model; ``besides`` is left out."""
        return self._kept(
            f"latest besides {besides}",
            Change.ROUNDS,
            lambda: self._project.latest_round(besides=besides),
        )

    def round_to_review(self) -> Round | None:
        """Return the round whose doubts are looked at: the newest model's, else the first guess."""
        first = next((each for each in self.rounds() if each.number == 0), None)
        return self.latest_round() or first

    def guess_note(self) -> GuessNote | None:
        """Return how the first guess was made, or ``None`` when there is none."""
        return self._kept("guess", Change.GUESS, lambda: FirstGuess(self._project).note())

    def prediction(self, slide: str) -> tuple[int, PredictionStore] | None:
        """Return the newest round in use that says something of ``slide``, and what it says."""
        return self._kept(
            f"prediction of {slide}",
            Change.PREDICTION | Change.ROUNDS | Change.GUESS,
            lambda: self._find_prediction(slide),
        )

    def _find_prediction(self, slide: str) -> tuple[int, PredictionStore] | None:
        for each in reversed(self.rounds()):
            if not each.set_aside and (store := self.prediction_of(each.number, slide)):
                return each.number, store
        return None

    def prediction_of(self, number: int, slide: str) -> PredictionStore | None:
        """Return what a round says of ``slide``, or ``None``; also of one that is set aside."""
        key = number, slide
        if key not in self._stores:
            try:
                self._stores[key] = self._project.predictions(*key)
            except ProjectError:
                return None
        return self._stores[key]

    def has_prediction(self, number: int, slide: str) -> bool:
        """Tell whether a round says anything of ``slide``."""
        return self._kept(
            f"whether round {number} says something of {slide}",
            Change.PREDICTION | Change.ROUNDS | Change.GUESS,
            lambda: self.prediction_of(number, slide) is not None,
        )

    def has_model(self, number: int) -> bool:
        """Tell whether a round has a model that could be used."""
        return self._kept(
            f"whether round {number} has a model",
            Change.ROUNDS,
            lambda: self._project.round(number).layout.weights.is_file(),
        )

    def is_outdated(self, region: Region) -> bool:
        """Tell whether a newer round than that which offered a region says something there."""
        newest = self.prediction(region.slide)
        if newest is None or region.round is None or region.round >= newest[0]:
            return False
        return self._kept(
            f"outdated region {region.id}",
            Change.PREDICTION | Change.ROUNDS | Change.GUESS | Change.REGIONS,
            lambda: bool((newest[1].read(region.rect, "class") > 0).mean() >= LEAST_PREDICTED),
        )

    def is_sure(self, region: Region) -> bool:
        """Tell whether the newest prediction doubts hardly a pixel of a region."""
        newest = self.prediction(region.slide)
        if newest is None:
            return False

        def read() -> bool:
            confidence = newest[1].read(region.rect, "confidence")
            there = confidence[confidence > 0]
            enough = there.size >= LEAST_PREDICTED * region.rect.area
            sure = there >= 255 * SURE_CONFIDENCE
            return bool(enough and sure.mean() >= SURE_PIXEL_SHARE)

        concerns = Change.PREDICTION | Change.ROUNDS | Change.GUESS | Change.REGIONS
        return self._kept(f"sure of region {region.id}", concerns, read)

    def _values_of(self, slide: str) -> frozenset[int]:
        if slide not in self._labelled:
            labels = self._project.labels(slide)
            values: set[int] = set()
            for rect in labels.labelled_rects():
                values.update(int(value) for value in np.unique(labels.read(rect)))
            self._labelled[slide] = frozenset(values - {0})
        return self._labelled[slide]

    def _kept(self, key: str, concerns: Change, read: Callable[[], T]) -> T:
        if key not in self._read:
            self._read[key] = concerns, read()
        return cast("T", self._read[key][1])
