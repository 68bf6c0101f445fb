"""Drawn slides: procedural haematoxylin-and-eosin tissue with known truth.

A playground, no atlas: glands with lumina and basal nuclei in fibrous stroma with lymphocyte
aggregates, clefts, a fold and a pen mark. Every pixel is a function of its place and the seed, so
any rectangle of a slide of any size can be drawn alone and joins its neighbours without a seam.
"""

from unisemalign.slides.synthetic.anatomy import CLASSES, truth
from unisemalign.slides.synthetic.painting import image
from unisemalign.slides.synthetic.writing import draw_slide

__all__ = ["CLASSES", "draw_slide", "image", "truth"]
