"""Slides: any image of tissue, from a PNG to a whole-slide scan, read at one pixel size.

Colour profiles (ICC) are left alone in every format: pixels are the file's own red, green and blue,
and :attr:`Slide.remarks` says so.
"""

from unisemalign.slides.opening import SLIDE_SUFFIXES, one_file_a_slide, open_slide
from unisemalign.slides.openslide_slide import OpenSlideSlide
from unisemalign.slides.plain_slide import PlainSlide
from unisemalign.slides.pyramid import PyramidLevel, pyramid_levels
from unisemalign.slides.slide import Slide, UnreadableTileError
from unisemalign.slides.spaced import SpacedSlide
from unisemalign.slides.tiff_slide import TiffSlide
from unisemalign.slides.tissue import TissueMask, tissue_mask
from unisemalign.slides.zarr_slide import ZarrSlide

__all__ = [
    "SLIDE_SUFFIXES",
    "OpenSlideSlide",
    "PlainSlide",
    "PyramidLevel",
    "Slide",
    "SpacedSlide",
    "TiffSlide",
    "TissueMask",
    "UnreadableTileError",
    "ZarrSlide",
    "one_file_a_slide",
    "open_slide",
    "pyramid_levels",
    "tissue_mask",
]
