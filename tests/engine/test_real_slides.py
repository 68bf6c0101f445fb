"""Real slides, where they are at hand: opened, segmented and exported, every readable one."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.engine.conftest import QUICK
from unisemalign.exchange import area_by_class, export_labels
from unisemalign.geometry import Rect
from unisemalign.inference import load_predictor, segment_slide
from unisemalign.project import Origin, Project, RegionState
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings
from unisemalign.slides import open_slide
from unisemalign.training import train_round

SLIDES = Path(__file__).parents[3] / "shared" / "data" / "slides"
NAMES = [
    "cmu-1-small-region.svs",
    "tcga-two-levels-no-mpp.svs",
    "os-1-detail.ome.tif",
    "he-example.ome.tif",
    "yb10kx5k-zstd.tiff",
]

pytestmark = pytest.mark.skipif(
    not SLIDES.exists(), reason="the real slides (shared/data/slides) are not beside the project"
)


def test_open_segment_export(tmp_path):
    with Project.create(tmp_path / "p.unisem", classes=["rest", "tissue"], spacing_um=4) as project:
        for name in NAMES:
            slide = open_slide(SLIDES / name)
            known = slide.spacing_um
            slide.close()
            project.add_slide(SLIDES / name, spacing_um=None if known else 0.5)
        records = project.slides()
        first = records[0]
        rect = Rect(0, 0, *first.shape_yx).intersect(Rect(0, 0, 128, 128))
        pixels = project.open_slide(first.name).read(rect)
        labels = np.where(pixels.mean(2) > 210, 1, 2).astype(np.uint8)
        project.write_labels(first.name, rect, labels, Origin.DRAWN, action="accept")
        project.add_region(first.name, rect, state=RegionState.ACCEPTED)
        train_round(project, build_settings(overrides=QUICK), events=SilentEvents())
        predictor, found = load_predictor(project)
        told = {"events": SilentEvents(), "cancel": CancelToken()}
        for record in records:
            segment_slide(project, record.name, predictor, found.number, **told)
            area = area_by_class(project, record.name, found.number)
            assert sum(area.values()) == pytest.approx(1), record.name
            part = Rect(0, 0, *record.shape_yx)
            whole = project.predictions(found.number, record.name).read(part)
            centre = Rect(part.h // 3, part.w // 3, part.h // 3, part.w // 3)
            segment_slide(project, record.name, predictor, found.number, rect=centre, **told)
            again = project.predictions(found.number, record.name).read(part)
            assert (again == whole).mean() > 0.999, record.name
        masks = export_labels(project, tmp_path / "png", "png")
        for record, path in zip(records, masks, strict=True):
            assert Image.open(path).size[::-1] == record.shape_yx
        outlines = export_labels(project, tmp_path / "geojson", "geojson")
        for record, path in zip(records, outlines, strict=True):
            features = json.loads(path.read_text())["features"]
            assert features, record.name
            names = {f["properties"]["classification"]["name"] for f in features}
            assert names <= {"rest", "tissue"}
