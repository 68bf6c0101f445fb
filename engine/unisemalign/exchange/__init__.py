"""Labels into the project, results out of it."""

from unisemalign.exchange.annotation_xml import import_xml
from unisemalign.exchange.areas import area_by_class
from unisemalign.exchange.captions import import_captions, read_captions
from unisemalign.exchange.changes import Changes, count_changes
from unisemalign.exchange.exporting import Format, export_labels, plan_export
from unisemalign.exchange.geojson import geojson_classes, import_geojson
from unisemalign.exchange.importing import check_labels, import_labels, is_mask
from unisemalign.exchange.ledger import LedgerLine, ledger_csv, read_ledger, write_ledger
from unisemalign.exchange.masks import (
    MaskConvention,
    check_mask,
    find_convention,
    import_mask,
)
from unisemalign.exchange.outlines import UnknownClassesError
from unisemalign.exchange.pixels import Source, What, level_0_shape
from unisemalign.exchange.planning import ExportPlan, planned_sentence
from unisemalign.exchange.tissue import export_tissue, import_tissue

__all__ = [
    "Changes",
    "ExportPlan",
    "Format",
    "LedgerLine",
    "MaskConvention",
    "Source",
    "UnknownClassesError",
    "What",
    "area_by_class",
    "check_labels",
    "check_mask",
    "count_changes",
    "export_labels",
    "export_tissue",
    "find_convention",
    "geojson_classes",
    "import_captions",
    "import_geojson",
    "import_labels",
    "import_mask",
    "import_tissue",
    "import_xml",
    "is_mask",
    "ledger_csv",
    "level_0_shape",
    "plan_export",
    "planned_sentence",
    "read_captions",
    "read_ledger",
    "write_ledger",
]
