"""Which image of a TIFF is the slide, and which of its pages are the levels of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from unisemalign.errors import SlideError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first four bytes of a TIFF and of a BigTIFF, in either byte order."""
_BESIDE = ("label", "macro", "thumbnail", "overview")
_LISTED = 6


@dataclass(frozen=True)
class TiffImage:
    """An image of a TIFF and its reduced copies.

    Attributes
    ----------
    series
        Its number, counted from 0, as the file orders its images.
    levels
        The pages of each level, finest first: one page, or one a channel.
    remarks
        What a person should know of the choice.
    """

    series: int
    name: str
    levels: list[Sequence[Any]]
    axes: str
    shape: Sequence[int]
    remarks: tuple[str, ...] = ()

    @property
    def size_yx(self) -> tuple[int, int]:
        """``(height, width)`` of the finest level."""
        page = self.levels[0][0].keyframe
        return page.imagelength, page.imagewidth


def choose_image(file: Any, number: int | None, file_name: str) -> TiffImage:
    """Return image ``number`` of a TIFF; the largest that is no label or macro when ``None``.

    Raises
    ------
    SlideError
        If there is no such image.
    ValueError
        If the directory makes no sense.
    """
    images = _images(file)
    if not images:
        raise ValueError("it holds no image")
    if number is not None:
        chosen = next((image for image in images if image.series == number), None)
        if chosen is None:
            raise SlideError(
                f"'{file_name}' has no image {number}. It holds {_listed(images)}. "
                f"Name one of these."
            )
    else:
        slides = [image for image in images if not _is_beside(image.name)] or images
        chosen = max(slides, key=lambda image: math.prod(image.size_yx))  # the first of equals
    others = [image for image in images if image is not chosen]
    if not others:
        return chosen
    told = (
        f"It holds {len(images)} images: {_listed([chosen])} is read. Left out: "
        f"{_listed(others)}. `unisemalign add --series N` takes another."
    )
    return TiffImage(
        chosen.series,
        chosen.name,
        chosen.levels,
        chosen.axes,
        chosen.shape,
        (told, *chosen.remarks),
    )


def _images(file: Any) -> list[TiffImage]:
    if file.is_svs:
        # The tiled pages, as OpenSlide has it; thumbnail, label and macro are in strips.
        tiled = [page.aspage() for page in file.pages if page.is_tiled]
        pages = tiled or [max((page.aspage() for page in file.pages), key=_area)]
        pages.sort(key=_area, reverse=True)
        return [TiffImage(0, "", [[page] for page in pages], pages[0].axes, pages[0].shape)]
    known = list(enumerate(file.series))
    known = [each for each in known if not each[1].keyframe.is_mask] or known
    finest = [each for each in known if not each[1].keyframe.is_reduced]
    if not finest:  # a file that calls all its pages reduced
        finest = [max(known, key=lambda each: _area(each[1].keyframe))] if known else []
    reduced = [one for one in known if one not in finest]
    if file.is_ome:
        copies: dict[int, list[Any]] = {}
    else:
        finest, copies = _unmarked_copies(finest)
    images = [
        _image(number, series, copies.get(number, []), [one for _, one in reduced])
        for number, series in finest
    ]
    if any(page is None for image in images for page in chain.from_iterable(image.levels)):
        raise ValueError("some of its pages are missing")
    return images


def _unmarked_copies(
    finest: list[tuple[int, Any]],
) -> tuple[list[tuple[int, Any]], dict[int, list[Any]]]:
    """Take images that are smaller by a whole factor, in a file that marks none, for levels.

    Returns the images that are left, and the copies of each by its number. In descending order the
    library finds them by itself; files store them in any.
    """
    largest = max(finest, key=lambda each: _area(each[1].keyframe), default=None)
    if largest is None:
        return finest, {}
    copies = [each for each in finest if each is not largest and _may_be_copy(largest[1], each[1])]
    return (
        [each for each in finest if each not in copies],
        {largest[0]: [series for _, series in copies]} if copies else {},
    )


def _may_be_copy(whole: Any, part: Any) -> bool:
    if not _alike(whole, part) or _is_beside(_name_of(part)):
        return False
    (h, w), (small_h, small_w) = (
        (one.keyframe.imagelength, one.keyframe.imagewidth) for one in (whole, part)
    )
    factor = round(max(h / small_h, w / small_w)) if small_h and small_w else 0
    return (
        factor > 1
        and factor & (factor - 1) == 0
        and abs(h / factor - small_h) < 2
        and abs(w / factor - small_w) < 2
    )


def _image(number: int, series: Any, copies: Sequence[Any], reduced: Sequence[Any]) -> TiffImage:
    levels: list[Sequence[Any]] = [list(level.pages) for level in series.levels]
    unmarked = [level for level in (*series.levels[1:], *copies) if not _is_marked(level.keyframe)]
    # tifffile takes levels that shrink evenly; others follow as images that say they are reduced.
    levels += [
        list(level.pages)
        for other in (*copies, *reduced)
        if other in copies or _alike(series, other)
        for level in other.levels
    ]
    levels[1:] = sorted(levels[1:], key=lambda pages: -pages[0].keyframe.imagelength)
    told = (
        f"It does not say that {len(unmarked)} of its smaller images are copies of the largest; "
        f"by their size they are, and are read as levels of a pyramid."
    )
    return TiffImage(
        number,
        _name_of(series),
        levels,
        series.axes,
        series.shape,
        (told,) if unmarked else (),
    )


def _alike(series: Any, other: Any) -> bool:
    return (
        other.axes == series.axes
        and other.dtype == series.dtype
        and len(other.pages) == len(series.pages)
    )


def _is_marked(page: Any) -> bool:
    return bool(page.is_reduced or page.is_subifd)


def _area(page: Any) -> int:
    return int(page.imagelength) * int(page.imagewidth)


def _name_of(series: Any) -> str:
    named = series.keyframe.tags.valueof(285, default="")  # the tag PageName
    return str(series.name or named or "")


def _is_beside(name: str) -> bool:
    """Tell whether an image is called a picture of the glass rather than of the tissue."""
    words = name.lower().replace("_", " ").split()
    return any(word.strip(".,:;()[]") in _BESIDE for word in words)


def _listed(images: Sequence[TiffImage]) -> str:
    said = [
        f"image {image.series}{f' ({image.name[:40]!r})' if image.name else ''} of "
        f"{image.size_yx[0]} × {image.size_yx[1]} px"
        for image in images[:_LISTED]
    ]
    more = len(images) - len(said)
    return ", ".join(said) + (f" and {more} more" if more else "")
