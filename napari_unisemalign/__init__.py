"""napari-unisemalign: the napari dock of the unisemalign engine."""
