"""GlaS: gland segmentation in colon histology, with a 10 % or 20 % partition."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unisemalign.errors import DataError
from unisemalign.exchange import import_mask
from unisemalign.project import Project, Split
from unisemalign.runtime.files import flush_folder

SPACING_UM = 0.62
"""GlaS is scanned at this pixel size (Sirinukunwattana et al. 2017)."""

_FRACTIONS = (10, 20)


@dataclass(frozen=True)
class Glas:
    """A folder with ``images/`` and ``masks/``, and which of its images are what.

    ``tests`` are the images whose masks are there to be scored; none where there are none.
    """

    folder: Path
    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]
    val: tuple[str, ...]
    tests: tuple[str, ...]

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
        return json.dumps([self.labelled, self.unlabelled, self.val])

    def tests_digest(self) -> str:
        """Return a hash of the test images and their masks: scores are of these and no others."""
        digest = hashlib.sha256()
        for name in self.tests:
            digest.update(name.encode())
            for path in (self._image(name), self._mask(name)):
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def open_study(self, root: Path, encoder: str, text: str) -> Project:
        """Return the project of one run, made where it is not there yet."""
        if root.exists():
            return Project.open(root)
        # Made under another name first: a project cut off half way is never trained on.
        making = root.with_name(f"making-{root.name}")
        shutil.rmtree(making, ignore_errors=True)
        with _create(making, encoder, text) as project:
            self._add(project, self.labelled, Split.TRAIN, labels=True)
            self._add(project, self.unlabelled, Split.TRAIN, labels=False)
            self._add(project, self.val, Split.VAL, labels=True)
        making.rename(root)
        flush_folder(root.parent)
        return Project.open(root)

    def create_tests(self, root: Path) -> Project:
        """Return a new project that holds the test images and their labels, and nothing else."""
        project = _create(root, "embedded", "free")
        self._add(project, self.tests, Split.TEST, labels=True)
        return project

    def _add(self, project: Project, names: Sequence[str], split: Split, *, labels: bool) -> None:
        for name in names:
            record = project.add_slide(self._image(name), spacing_um=SPACING_UM, split=split)
            if labels:
                import_mask(project, record.name, self._mask(name))

    def _image(self, name: str) -> Path:
        return _image(self.folder, name)

    def _mask(self, name: str) -> Path:
        return _mask(self.folder, name)


def read_glas(folder: Path, fraction: int) -> Glas:
    """Return the partition ``glas_FRACTION`` of ``splits.toml``.

    It lists ``labeled``, ``unlabeled``, ``val`` and, if it likes, ``test``; else the test images
    are ``images/test*.png`` (the challenge's parts A and B).

    Raises
    ------
    DataError
        If the folder does not hold GlaS, the partition is not as it should be, some test images
        lack their masks, or one of them is in use for something else.
    """
    if fraction not in _FRACTIONS:
        raise DataError(f"GlaS wants a fraction of 10 or 20, found {fraction}.")
    found = _partition(folder, fraction)
    tests = _test_names(folder, found.get("test"))
    for use, names in (("train", found["labeled"] + found["unlabeled"]), ("val", found["val"])):
        if both := sorted(set(tests) & set(names)):
            raise DataError(
                f"A test image wants to be seen by nothing before, found '{both[0]}' in use for "
                f"{use}. Take it out of the test images."
            )
    return Glas(
        folder,
        tuple(found["labeled"]),
        tuple(found["unlabeled"]),
        tuple(found["val"]),
        tuple(tests),
    )


def _partition(folder: Path, fraction: int) -> dict[str, list[str]]:
    path, key = folder / "splits.toml", f"glas_{fraction}"
    try:
        splits = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"GlaS wants images/, masks/ and splits.toml in '{folder}', found no splits.toml. "
            f"Check --data."
        ) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise DataError(f"'{path}' cannot be read: {error}. Mend it, or copy it again.") from None
    found: Any = splits.get(key)
    for use in ("labeled", "unlabeled", "val", "test"):
        names = found.get(use, [] if use == "test" else None) if isinstance(found, dict) else None
        wanted = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if not wanted or (use in {"labeled", "val"} and not names):
            raise DataError(
                f"'{path}' wants a table '{key}' with lists of image names, 'labeled', 'unlabeled' "
                f"and 'val', found {names!r} for '{use}'."
            )
    checked: dict[str, list[str]] = found
    return checked


def _test_names(folder: Path, named: list[str] | None) -> list[str]:
    """Return the test images ``folder`` holds. Where none has a mask, nothing is to be scored."""
    names = named
    if names is None:
        names = sorted(path.stem for path in (folder / "images").glob("test*.png"))
    missing = [n for n in names if not (_image(folder, n).exists() and _mask(folder, n).exists())]
    if len(missing) == len(names):
        return []
    if missing:
        raise DataError(
            f"The test split wants an image and a mask for each of its {len(names)} names, found "
            f"{len(missing)} without (first: '{missing[0]}'). Add them to images/ and masks/, or "
            f"take the others away."
        )
    return names


def _create(root: Path, encoder: str, text: str) -> Project:
    root.parent.mkdir(parents=True, exist_ok=True)
    return Project.create(
        root,
        classes=["background", "gland"],
        spacing_um=SPACING_UM,
        encoder=encoder,
        text=text,
    )


def _image(folder: Path, name: str) -> Path:
    return folder / "images" / f"{name}.png"


def _mask(folder: Path, name: str) -> Path:
    return folder / "masks" / f"{name}.png"
