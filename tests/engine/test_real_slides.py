"""Real slides, where they are at hand: opened, segmented and exported, every readable one."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from tests.engine.conftest import QUICK
from unisemalign.exchange import area_by_class, export_labels
from unisemalign.geometry import Rect
from unisemalign.inference import load_predictor, segment_slide
from unisemalign.inference.bands import predict_rect
from unisemalign.project import Origin, Project, RegionState
from unisemalign.runtime import CancelToken, SilentEvents
from unisemalign.settings import build_settings
from unisemalign.slides import OpenSlideSlide, SpacedSlide, TiffSlide, open_slide
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


def _copies(slide, folder):
    """Write the pixels of a slide, level by level, as tiles of other formats; yield them opened."""
    levels = [
        slide.read_level(level, Rect(0, 0, *shape))
        for level, shape in enumerate(slide.level_shapes)
    ]
    with tifffile.TiffWriter(folder / "copy.ome.tif", ome=True) as file:
        options = {"photometric": "rgb", "tile": (256, 256), "compression": "zlib"}
        file.write(levels[0], subifds=len(levels) - 1, **options)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    group = zarr.create_group(folder / "copy.zarr", zarr_format=3)
    for index, level in enumerate(levels):
        group.create_array(str(index), data=level, chunks=(512, 512, 3))
    datasets = [{"path": str(index)} for index in range(len(levels))]
    multiscales = [{"axes": [{"name": name} for name in "yxc"], "datasets": datasets}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    names = ["copy.ome.tif", "copy.zarr"]
    if len(levels) == 1:
        Image.fromarray(levels[0]).save(folder / "copy.png")
        names.append("copy.png")
    for name in names:
        yield name, open_slide(folder / name, spacing_um=slide.spacing_um)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    """A round trained in seconds on a piece of a real slide."""
    root = tmp_path_factory.mktemp("trained") / "p.unisem"
    with Project.create(root, classes=["rest", "tissue"], spacing_um=4) as project:
        record = project.add_slide(SLIDES / NAMES[0])
        rect = Rect(0, 0, 128, 128)
        pixels = project.open_slide(record.name).read(rect)
        labels = np.where(pixels.mean(2) > 210, 1, 2).astype(np.uint8)
        project.write_labels(record.name, rect, labels, Origin.DRAWN, action="accept")
        project.add_region(record.name, rect, state=RegionState.ACCEPTED)
        train_round(project, build_settings(overrides=QUICK), events=SilentEvents())
        return load_predictor(project)[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_path_to_a_slide_gives_the_same_labels(name, predictor, tmp_path):
    slide = open_slide(SLIDES / name)
    slide.spacing_um = slide.spacing_um or 0.5
    spaced = SpacedSlide(slide, 4)
    whole = Rect(0, 0, *spaced.shape_yx).intersect(Rect(0, 0, 400, 400))
    wanted = predict_rect(spaced, predictor, whole)
    assert len(np.unique(wanted.classes)) > 1 or name.startswith("yb")
    paths = dict(_copies(slide, tmp_path))
    for backend in (OpenSlideSlide, TiffSlide):
        if type(slide) is not backend and not (name.endswith("ome.tif")):
            paths[backend.__name__] = backend(SLIDES / name, slide.spacing_um)
    assert len(paths) >= 2
    for path, other in paths.items():
        assert other.level_downsamples == slide.level_downsamples
        found = predict_rect(SpacedSlide(other, 4), predictor, whole)
        same = (found.classes == wanted.classes).mean()
        # The pixels are the same, bit for bit, and so are the labels; except where OpenSlide reads
        # a level that is no whole number coarser, starting up to half a pixel off.
        uneven = isinstance(other, OpenSlideSlide) and not all(
            downsample.is_integer() for downsample in other._file.level_downsamples
        )
        assert same > 0.98 if uneven else same == 1, (path, same)
        other.close()
