"""Images, their masks and what each is used for; and the projects made of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from unisemalign.exchange import import_mask
from unisemalign.project import Project, Split
from unisemalign.runtime.files import flush_folder

FOREGROUND = {0: 1, **dict.fromkeys(range(1, 256), 2)}
"""Masks of two classes in which any number but 0 is the second: instance numbers, or 255."""


@dataclass(frozen=True)
class Sample:
    """One image, and its mask where there is one."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class DataSet:
    """A data set with one partition of it.

    Attributes
    ----------
    labelled, unlabelled, val, tests
        What is learned from with and without masks, chosen on, and scored at the end.
    name, part
        What a person types, and which partition: ``10`` for GlaS 10 %.
    title
        What a report is headed with.
    classes
        Names, in the order of the masks' class indices.
    spacing_um
        Pixel size of the images, µm.
    values
        File value → label value (1…C), where the masks are no class indices.
    shown
        Index of the class whose outlines a report shows.
    objects
        Whether connected pieces of the shown class are objects, such as glands: then object Dice
        and F1 mean something.
    remark
        What a reader of the scores has to know; empty where there is nothing.
    captions
        Name of a sample → a sentence on what it shows.
    """

    labelled: tuple[Sample, ...]
    unlabelled: tuple[Sample, ...]
    val: tuple[Sample, ...]
    name: str
    part: str
    title: str
    classes: tuple[str, ...]
    spacing_um: float
    tests: tuple[Sample, ...] = ()
    values: Mapping[int, int] | None = None
    shown: int = 1
    objects: bool = True
    remark: str = ""
    captions: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Short name of data set and partition, for files."""
        return f"{self.name}{self.part}"

    @property
    def images(self) -> dict[str, int]:
        """How many images: use → number."""
        return {
            "labelled": len(self.labelled),
            "unlabelled": len(self.unlabelled),
            "val": len(self.val),
            "test": len(self.tests),
        }

    @property
    def partition(self) -> str:
        """The partition as text: what a run that is there already was trained and chosen on."""
        parts = (self.labelled, self.unlabelled, self.val)
        listed: list[object] = [[sample.name for sample in part] for part in parts]
        return json.dumps([*listed, dict(self.captions)] if self.captions else listed)

    def tests_digest(self) -> str:
        """Return a hash of the test images and their masks: scores are of these and no others."""
        digest = hashlib.sha256()
        for sample in self.tests:
            digest.update(sample.name.encode())
            for path in (sample.image, sample.mask):
                if path is not None:
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    @property
    def pool(self) -> tuple[Sample, ...]:
        """All training images whose mask is there: what a person could be asked about."""
        return tuple(each for each in (*self.labelled, *self.unlabelled) if each.mask is not None)

    def open_study(self, root: Path, encoder: str, text: str) -> Project:
        """Return the project of one run, made where it is not there yet."""
        uses = (
            (self.labelled, Split.TRAIN, True),
            (self.unlabelled, Split.TRAIN, False),
            (self.val, Split.VAL, True),
        )
        return self._open(root, encoder, text, uses)

    def open_pool(self, root: Path, encoder: str, text: str) -> Project:
        """Return a project of :attr:`pool` without a label, and of the val images with theirs."""
        uses = ((self.pool, Split.TRAIN, False), (self.val, Split.VAL, True))
        return self._open(root, encoder, text, uses)

    def open_answers(self, root: Path, encoder: str, text: str) -> Project:
        """Return a project of :attr:`pool` and the val images, all of it labelled."""
        uses = ((self.pool, Split.TRAIN, True), (self.val, Split.VAL, True))
        return self._open(root, encoder, text, uses)

    def _open(
        self,
        root: Path,
        encoder: str,
        text: str,
        uses: Sequence[tuple[Sequence[Sample], Split, bool]],
    ) -> Project:
        """Return the project in ``root``, made where it is not there: samples, split, labelled."""
        if root.exists():
            return Project.open(root)
        # Made under another name first: a project cut off half way is never trained on.
        making = root.with_name(f"making-{root.name}")
        shutil.rmtree(making, ignore_errors=True)
        with self._create(making, encoder, text) as project:
            for samples, split, labelled in uses:
                self._add(project, samples, split, labels=labelled)
        making.rename(root)
        flush_folder(root.parent)
        return Project.open(root)

    def create_tests(self, root: Path) -> Project:
        """Return a new project that holds the test images and their labels, and nothing else."""
        project = self._create(root, "embedded", "free")
        self._add(project, self.tests, Split.TEST, labels=True)
        return project

    def _create(self, root: Path, encoder: str, text: str) -> Project:
        root.parent.mkdir(parents=True, exist_ok=True)
        return Project.create(
            root,
            classes=list(self.classes),
            spacing_um=self.spacing_um,
            encoder=encoder,
            text=text,
        )

    def _add(
        self, project: Project, samples: Sequence[Sample], split: Split, *, labels: bool
    ) -> None:
        for sample in samples:
            record = project.add_slide(sample.image, spacing_um=self.spacing_um, split=split)
            if labels and sample.mask is not None:
                import_mask(project, record.name, sample.mask, values=self.values)
            if caption := self.captions.get(sample.name):
                project.set_captions({record.name: caption})
