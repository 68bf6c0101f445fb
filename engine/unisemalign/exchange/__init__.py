"""Labels into the project, results out of it."""

from unisemalign.exchange.areas import area_by_class
from unisemalign.exchange.exporting import Format, export_labels
from unisemalign.exchange.geojson import import_geojson
from unisemalign.exchange.masks import check_mask, import_mask
from unisemalign.exchange.pixels import Source
from unisemalign.exchange.tissue import export_tissue, import_tissue

__all__ = [
    "Format",
    "Source",
    "area_by_class",
    "check_mask",
    "export_labels",
    "export_tissue",
    "import_geojson",
    "import_mask",
    "import_tissue",
]
