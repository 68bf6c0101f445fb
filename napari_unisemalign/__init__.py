"""napari-unisemalign: the review seat of the unisemalign engine."""
