"""One reader a data set: a folder as it is published, and the wished share of labels, go in."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from unisemalign.datasets.dataset import FOREGROUND, DataSet, Sample
from unisemalign.datasets.partitions import Names, draw_partition, read_splits
from unisemalign.errors import DataError
from unisemalign.exchange import read_captions


class Parts(NamedTuple):
    """What is learned from with and without masks, and chosen on."""

    labelled: tuple[Sample, ...]
    unlabelled: tuple[Sample, ...]
    val: tuple[Sample, ...]


Reader = Callable[[Path, int], DataSet]
"""Takes a data set's folder and the per cent of its images that are labelled."""

_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_LIST_SPACING_UM = 0.5


def read_dataset(name: str, folder: Path, fraction: int) -> DataSet:
    """Return the data set called ``name`` that lies in ``folder``.

    Parameters
    ----------
    name
        A name in :data:`READERS`.
    folder
        As it is published. A file ``captions.csv`` beside it (columns ``slide`` and ``caption``)
        gives sentences, to methods that read them.
    fraction
        Per cent of the images that are labelled, where the data set leaves a choice.

    Raises
    ------
    DataError
        For an unknown name, or a folder that is laid out in another way: what was looked for.
    """
    if name not in READERS:
        raise DataError(
            f"Unknown data set '{name}'. Choose one of {', '.join(READERS)}; 'lists' reads one of "
            f"your own."
        )
    found = READERS[name](folder, fraction)
    if (table := folder / "captions.csv").is_file():
        found = replace(found, captions=read_captions(table))
    uses = {"training": (*found.labelled, *found.unlabelled), "val": found.val}
    for use, samples in uses.items():
        seen = {sample.image for sample in samples}
        if both := [sample.name for sample in found.tests if sample.image in seen]:
            raise DataError(
                f"A test image needs to be seen by nothing before, found '{both[0]}' in use for "
                f"{use}. Take it out of the test images."
            )
    return found


def _glas(folder: Path, fraction: int) -> DataSet:
    if fraction not in {10, 20}:
        raise DataError(
            f"GlaS is split at 10 or 20 %, found {fraction}. Choose --fraction 10 or 20."
        )
    names = read_splits(folder, "glas", fraction)
    tests = names.test
    if tests is None:
        tests = tuple(sorted(path.stem for path in (folder / "images").glob("test*.png")))
    return DataSet(
        *_used(folder, names),
        name="glas",
        part=names.part,
        title=f"GlaS, {fraction} % of the images labelled",
        classes=("background", "gland"),
        spacing_um=0.62,  # Sirinukunwattana et al. 2017
        tests=_tests(folder, tests),
    )


def _crag(folder: Path, fraction: int) -> DataSet:
    """``train`` and ``valid`` with ``Images`` and ``Annotation`` (numbers of glands)."""
    train = _pairs(folder / "train" / "Images", folder / "train" / "Annotation")
    tests = _pairs(folder / "valid" / "Images", folder / "valid" / "Annotation")
    return DataSet(
        *_drawn(train, draw_partition(list(train), fraction)),
        name="crag",
        part=str(fraction),
        title=f"CRAG, {fraction} % of the training images labelled",
        classes=("background", "gland"),
        spacing_um=0.5,  # 20×
        tests=tuple(tests.values()),
        values=FOREGROUND,
    )


def _ebhi_seg(folder: Path, fraction: int) -> DataSet:
    """``images/GRADE`` and ``masks/GRADE``; or ``GRADE/image`` and ``GRADE/label``."""
    if (folder / "images").is_dir():
        places = [(each, folder / "masks" / each.name) for each in _folders(folder / "images")]
    else:
        places = [(each / "image", each / "label") for each in _folders(folder)]
    samples: dict[str, Sample] = {}
    for images, masks in places:
        samples |= _pairs(images, masks, masks_needed=False)
    lone = [name for name, sample in samples.items() if sample.mask is None]
    for name in lone:
        del samples[name]
    if not samples:
        raise DataError(
            f"EBHI-SEG needs the folders images/GRADE and masks/GRADE, or GRADE/image and "
            f"GRADE/label, in '{folder}', found none. Check --data."
        )
    names = draw_partition(list(samples), fraction, group=lambda name: name.split("-")[0])
    return DataSet(
        *_drawn(samples, names),
        name="ebhi_seg",
        part=names.part,
        title=f"EBHI-SEG, {fraction} % of the cases labelled",
        classes=("background", "graded tissue"),
        spacing_um=0.5,
        values=FOREGROUND,
        remark="The embedded encoder has seen these images with their masks: no evidence."
        + (f" Left out, for want of a mask: {', '.join(lone)}." if lone else ""),
    )


def _monuseg(folder: Path, fraction: int) -> DataSet:
    """``images``, ``masks`` and ``texts.csv`` with the columns ``image`` and ``split``."""
    samples = _pairs(folder / "images", folder / "masks")
    path = folder / "texts.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            use = {row["image"]: row["split"] for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise DataError(
            f"MoNuSeg needs '{path}' with the columns 'image' and 'split', found {error!r}. "
            f"Check --data."
        ) from None
    val = sorted(name for name in samples if use.get(name) == "val")
    train = [name for name in samples if use.get(name) == "train"]
    tests = tuple(samples[name] for name in samples if use.get(name) == "test")
    names = draw_partition(train, fraction, val=val)
    return DataSet(
        *_drawn(samples, names),
        name="monuseg",
        part=names.part,
        title=f"MoNuSeg, {fraction} % of the training images labelled",
        classes=("background", "nucleus"),
        spacing_um=0.25,  # 40×
        values=FOREGROUND,
        tests=tests,
    )


def _kpi(folder: Path, fraction: int) -> DataSet:
    """KPIs 2024: ``train/GROUP/CASE/img`` and ``mask``, ``X_img.jpg`` beside ``X_mask.jpg``."""

    def read(split: str) -> dict[str, Sample]:
        found: dict[str, Sample] = {}
        for group in _folders(folder / split):
            for case in _folders(group):
                pairs = _pairs(case / "img", case / "mask", ("_img", "_mask"))
                found |= {f"{group.name}/{case.name}/{name}": each for name, each in pairs.items()}
        return found

    samples = read("train")
    tests = read("val") if (folder / "val").is_dir() else {}
    names = draw_partition(list(samples), fraction, group=lambda name: name.rsplit("/", 1)[0])
    return DataSet(
        *_drawn(samples, names),
        name="kpi",
        part=names.part,
        title=f"KPIs 2024, {fraction} % of the cases labelled",
        classes=("background", "glomerulus"),
        spacing_um=0.25,
        values=FOREGROUND,
        tests=tuple(tests.values()),
    )


def _qata(folder: Path, fraction: int) -> DataSet:
    """QaTa-COV19-v2: ``Train Set`` and ``Test Set`` with ``Images`` and ``Ground-truths``."""

    def read(split: str) -> dict[str, Sample]:
        place = folder / split
        return _pairs(place / "Images", place / "Ground-truths", before="mask_")

    samples, tests = read("Train Set"), read("Test Set")
    names = draw_partition(list(samples), fraction)
    return DataSet(
        *_drawn(samples, names),
        name="qata",
        part=names.part,
        title=f"QaTa-COV19, {fraction} % of the training images labelled",
        classes=("background", "infection"),
        spacing_um=1.0,
        values=FOREGROUND,
        tests=tuple(tests.values()),
        remark="X-ray images have no pixel size here: 1 µm stands for one pixel.",
    )


def _folder(
    folder: Path,
    fraction: int,
    *,
    name: str,
    title: str,
    classes: tuple[str, ...],
    spacing_um: float,
    shown: int = 1,
    objects: bool = True,
) -> DataSet:
    """``images``, ``masks`` and a table ``NAME_…`` of ``splits.toml``."""
    names = read_splits(folder, name, fraction)
    return DataSet(
        *_used(folder, names),
        name=name,
        part=names.part,
        title=f"{title}, {len(names.labelled)} images labelled",
        classes=classes,
        spacing_um=spacing_um,
        shown=shown,
        objects=objects,
        tests=_tests(folder, names.test or ()),
    )


def _lists(folder: Path, fraction: int) -> DataSet:
    """Read the community's ``labeled.txt``, ``unlabeled.txt``, ``val.txt``, ``test.txt``.

    Each line is ``image mask``, relative to the folder. ``classes.txt`` names one class a line;
    without it there are background and foreground.
    """
    del fraction  # the lists say it
    parts = {use: _read_list(folder, use) for use in ("labeled", "unlabeled", "val", "test")}
    for use in ("labeled", "val"):
        if not parts[use]:
            raise DataError(
                f"Lists need '{folder / f'{use}.txt'}' with a line 'image mask' each, found none. "
                f"Check --data."
            )
    named = folder / "classes.txt"
    lines = named.read_text(encoding="utf-8").split("\n") if named.is_file() else []
    classes = tuple(each.strip() for each in lines if each.strip())
    return DataSet(
        name="lists",
        part=str(len(parts["labeled"])),
        title=f"{folder.name}, {len(parts['labeled'])} images labelled",
        classes=classes or ("background", "foreground"),
        spacing_um=_LIST_SPACING_UM,
        labelled=parts["labeled"],
        unlabelled=parts["unlabeled"],
        val=parts["val"],
        tests=parts["test"],
        remark=f"Lists state no pixel size: {_LIST_SPACING_UM} µm is assumed.",
    )


READERS: dict[str, Reader] = {
    "glas": _glas,
    "crag": _crag,
    "ebhi_seg": _ebhi_seg,
    "kpi": _kpi,
    "monuseg": _monuseg,
    "qata": _qata,
    "luad": partial(
        _folder,
        name="luad",
        title="Lung adenocarcinoma",
        classes=("tumour", "stroma", "normal"),
        spacing_um=1.0,
        shown=0,
        objects=False,
    ),
    "testis": partial(
        _folder,
        name="testis",
        title="Testis, immunostained",
        classes=("background", "epithelium"),
        spacing_um=1.0,
    ),
    "lists": _lists,
}
"""Every data set by the name a person types."""


def _used(folder: Path, names: Names) -> Parts:
    """Return the samples of a partition, from ``images/NAME.*`` and ``masks/NAME.*``.

    Every labelled and val image needs its mask.
    """
    samples = {
        name: Sample(name, _image(folder, name), _mask(folder, name))
        for part in (names.labelled, names.unlabelled, names.val)
        for name in part
    }
    for name in (*names.labelled, *names.val):
        if samples[name].mask is None:
            raise DataError(
                f"A labelled image needs a mask '{folder / 'masks' / name}.*', found none. "
                f"Check --data."
            )
    return _drawn(samples, names)


def _drawn(samples: Mapping[str, Sample], names: Names) -> Parts:
    return Parts(
        *(
            tuple(samples[name] for name in part)
            for part in (names.labelled, names.unlabelled, names.val)
        )
    )


def _tests(folder: Path, names: Iterable[str]) -> tuple[Sample, ...]:
    """Return the test images ``folder`` holds. Where none has a mask, nothing is to be scored."""
    found = {name: (_found(folder / "images", name), _mask(folder, name)) for name in names}
    missing = [name for name, pair in found.items() if None in pair]
    if len(missing) == len(found):
        return ()
    if missing:
        raise DataError(
            f"The test split needs an image and a mask for each of its {len(found)} names, found "
            f"{len(missing)} without (first: '{missing[0]}'). Add them to images/ and masks/, or "
            f"take the others away."
        )
    return tuple(Sample(name, image, mask) for name, (image, mask) in found.items() if image)


def _image(folder: Path, name: str) -> Path:
    found = _found(folder / "images", name)
    if found is None:
        raise DataError(
            f"The partition needs an image '{folder / 'images' / name}.*', found none. "
            f"Check --data."
        )
    return found


def _mask(folder: Path, name: str) -> Path | None:
    return _found(folder / "masks", name)


def _found(folder: Path, name: str) -> Path | None:
    for suffix in _SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    return None


def _pairs(
    images: Path,
    masks: Path,
    ends: tuple[str, str] = ("", ""),
    before: str = "",
    *,
    masks_needed: bool = True,
) -> dict[str, Sample]:
    """Return each image of a folder beside its mask, by its name.

    ``ends`` are what names of images and masks end with, ``before`` what those of masks begin
    with. Without ``masks_needed`` an image may have none.
    """
    if not images.is_dir():
        raise DataError(f"A data set needs the folder '{images}', found none. Check --data.")
    found: dict[str, Sample] = {}
    for path in sorted(images.iterdir()):
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
            continue
        name = path.stem.removesuffix(ends[0])
        mask = _found(masks, f"{before}{name}{ends[1]}")
        if mask is None and masks_needed:
            raise DataError(
                f"'{path.name}' needs a mask '{masks / f'{before}{name}{ends[1]}'}.*', found none. "
                f"Check --data."
            )
        found[name] = Sample(name, path, mask)
    return found


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"A data set needs the folder '{folder}', found none. Check --data.")
    return sorted(each for each in folder.iterdir() if each.is_dir())


def _read_list(folder: Path, use: str) -> tuple[Sample, ...]:
    path = folder / f"{use}.txt"
    if not path.is_file():
        return ()
    samples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        places = [folder / word for word in words]
        missing = [place for place in places if not place.is_file()]
        if len(words) > 2 or missing or (use != "unlabeled" and len(words) < 2):
            raise DataError(
                f"'{path}', line {number}, needs 'image mask' of files that are there, found "
                f"'{line.strip()}'. Correct the line: paths are relative to '{folder}'."
            )
        mask = places[1] if len(places) > 1 else None
        samples.append(Sample(places[0].stem, places[0], mask))
    return tuple(samples)
