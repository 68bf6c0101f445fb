"""Slides: any image of tissue, from a PNG to a whole-slide scan, read at one pixel size.

What a file says of itself (colours, profile, orientation, depth, pixel size) is read, or the file
is refused, or :attr:`Slide.remarks` tells.
"""

from unisemalign.slides.opening import (
    SLIDE_SUFFIXES,
    one_file_a_slide,
    open_slide,
    reopen_slide,
    slide_stem,
    slides_in,
)
from unisemalign.slides.openslide_slide import OpenSlideSlide
from unisemalign.slides.plain_slide import PlainSlide
from unisemalign.slides.pyramid import PyramidLevel, pyramid_levels
from unisemalign.slides.slide import Opening, Slide, UnreadableTileError
from unisemalign.slides.spaced import SpacedSlide
from unisemalign.slides.tiff_slide import TiffSlide
from unisemalign.slides.tissue import TissueMask, tissue_mask
from unisemalign.slides.zarr_images import holds_zarr
from unisemalign.slides.zarr_slide import ZarrSlide

__all__ = [
    "SLIDE_SUFFIXES",
    "OpenSlideSlide",
    "Opening",
    "PlainSlide",
    "PyramidLevel",
    "Slide",
    "SpacedSlide",
    "TiffSlide",
    "TissueMask",
    "UnreadableTileError",
    "ZarrSlide",
    "holds_zarr",
    "one_file_a_slide",
    "open_slide",
    "pyramid_levels",
    "reopen_slide",
    "slide_stem",
    "slides_in",
    "tissue_mask",
]
