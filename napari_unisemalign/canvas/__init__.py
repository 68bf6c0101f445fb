"""The napari layers: what they show, where they lie, and the keys bound to them."""
