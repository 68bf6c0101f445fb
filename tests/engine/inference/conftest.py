"""A slide without a file."""


class ArraySlide:
    """A slide held in memory, at working spacing."""

    spacing_um = 0.5

    def __init__(self, pixels):
        self.pixels = pixels
        self.shape_yx = pixels.shape[:2]

    def read(self, rect, unreadable=None):
        return self.pixels[rect.slices]
