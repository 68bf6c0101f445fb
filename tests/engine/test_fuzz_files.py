"""Files of other programs, damaged in many ways: each ends in a result or a sentence, soon.

More inputs: ``UNISEMALIGN_FUZZ=1000 pytest tests/engine/test_fuzz_files.py``.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from PIL import Image
from safetensors.torch import save_file

from unisemalign.errors import UnisemalignError
from unisemalign.exchange import import_labels
from unisemalign.geometry import Rect
from unisemalign.model.reading import read_checkpoint
from unisemalign.project import Project
from unisemalign.settings import read_settings
from unisemalign.slides import open_slide

COUNT = int(os.environ.get("UNISEMALIGN_FUZZ", "100"))
BATCH = 20
PATIENCE_S = 20.0
SIDE = 96
POLYGON = [[4, 4], [60, 4], [60, 60], [4, 60], [4, 4]]


def slides(folder: Path) -> None:
    """Pictures in many formats, each of them sound."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    picture = Image.fromarray(pixels)
    for suffix in ("png", "jpg", "bmp", "webp"):
        picture.save(folder / f"a.{suffix}")
    picture.quantize(16).save(folder / "palette.png")
    picture.quantize(16).save(folder / "palette.tif")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=exif)
    for name, options in {
        "plain.tif": {},
        "deflate.tif": {"compression": "zlib", "tile": (32, 32)},
        "lzw.tif": {"compression": "lzw", "tile": (32, 32), "predictor": True},
        "jpeg.tif": {"compression": "jpeg", "tile": (32, 32)},
        "big.tif": {"bigtiff": True, "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"},
        "b.ome.tif": {"metadata": {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}},
    }.items():
        tifffile.imwrite(folder / name, pixels, photometric="rgb", **options)
    text = "Aperio Image Library v1\n96x96 [0,0 96x96] |AppMag = 20|MPP = 0.5"
    tifffile.imwrite(folder / "c.svs", pixels, photometric="rgb", tile=(32, 32), description=text)
    with tifffile.TiffWriter(folder / "levels.tif") as tiff:
        tiff.write(pixels, subifds=1, photometric="rgb", tile=(32, 32))
        tiff.write(pixels[::2, ::2], subfiletype=1, photometric="rgb", tile=(32, 32))
    group = zarr.open_group(folder / "d.ome.zarr", mode="w", zarr_format=3)
    group.create_array("0", data=np.moveaxis(pixels, -1, 0), chunks=(3, 32, 32))
    scale = {"type": "scale", "scale": [1, 0.5, 0.5]}
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [
            {
                "axes": [
                    {"name": "c", "type": "channel"},
                    {"name": "y", "type": "space", "unit": "micrometer"},
                    {"name": "x", "type": "space", "unit": "micrometer"},
                ],
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
            }
        ],
    }


def labels(folder: Path) -> None:
    """Masks and outlines, each of them sound."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[10:50, 10:50] = 1
    Image.fromarray(mask).save(folder / "mask.png")
    tifffile.imwrite(folder / "mask.tif", mask, tile=(32, 32), compression="zlib")
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [POLYGON]},
        "properties": {"objectType": "annotation", "classification": {"name": "gland"}},
    }
    outlines = json.dumps({"type": "FeatureCollection", "features": [feature] * 3})
    (folder / "q.geojson").write_text(outlines)
    (folder / "bom.geojson").write_text(outlines, encoding="utf-8-sig")
    (folder / "q.geojson.gz").write_bytes(gzip.compress(outlines.encode()))
    with zipfile.ZipFile(folder / "q.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("q.geojson", outlines)
    corners = "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in POLYGON)
    (folder / "scope.xml").write_text(
        '<?xml version="1.0"?><Annotations MicronsPerPixel="0.5"><Annotation Name="gland"><Regions>'
        f'<Region Text=""><Vertices>{corners}</Vertices></Region></Regions></Annotation>'
        "</Annotations>"
    )
    corners = "".join(
        f'<Coordinate Order="{k}" X="{x}" Y="{y}"/>' for k, (x, y) in enumerate(POLYGON)
    )
    (folder / "asap.xml").write_text(
        '<?xml version="1.0"?><ASAP_Annotations><Annotations><Annotation Name="1" Type="Polygon" '
        f'PartOfGroup="gland"><Coordinates>{corners}</Coordinates></Annotation></Annotations>'
        '<AnnotationGroups><Group Name="gland"/></AnnotationGroups></ASAP_Annotations>'
    )


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `slides`, `labels` and `models` of sound files, and a project."""
    root = tmp_path_factory.mktemp("files")
    for name, make in (("slides", slides), ("labels", labels)):
        (root / name).mkdir()
        make(root / name)
    (root / "models").mkdir()
    state = {"a": torch.zeros(3, 4), "b": torch.ones(5)}
    save_file(state, root / "models" / "m.safetensors", metadata={"settings": "{}"})
    torch.save(state, root / "models" / "m.pt")
    (root / "models" / "run.toml").write_text("seed = 1\n[training]\nsteps = 20\nrate = 0.01\n")
    with Project.create(root / "s.unisem", classes=["gland", "stroma"]) as project:
        project.add_slide(root / "slides" / "a.png", spacing_um=0.5)
    return root


def read_picture(path: Path) -> None:
    slide = open_slide(path, fallback_um=0.5)
    try:
        for level, (h, w) in enumerate(slide.level_shapes):
            slide.read_level(level, Rect(0, 0, min(h, 512), min(w, 512)))
    finally:
        slide.close()


def read_labels(path: Path, project: Path) -> None:
    with Project.open(project) as opened:
        import_labels(opened, "a", path)


def read_model(path: Path) -> None:
    if path.suffix == ".toml":
        read_settings(path)
    else:
        read_checkpoint(path)


def damaged(content: bytes, draw: random.Random, others: list[bytes]) -> bytes:
    """Return a file's bytes with something wrong in them."""
    changed = bytearray(content)
    match draw.choice(["cut", "flip", "flip", "field", "noise", "splice", "grow", "number"]):
        case "cut":
            return bytes(changed[: draw.randrange(len(changed))])
        case "flip":
            for _ in range(draw.randint(1, 20)):
                changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        case "field":  # of a header: sizes, offsets, counts
            place = draw.randrange(min(len(changed), 300))
            changed[place : place + 4] = draw.choice(
                [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]
            )
        case "noise":
            place = draw.randrange(len(changed))
            changed[place : place + 200] = draw.randbytes(200)
        case "splice":
            other = draw.choice(others)
            changed[draw.randrange(len(changed)) :] = other[draw.randrange(len(other)) :]
        case "grow":
            changed += draw.randbytes(1000)
        case "number":  # of a text
            digits = [k for k, each in enumerate(changed) if 48 <= each <= 57]
            if digits:
                place = draw.choice(digits)
                changed[place : place + 1] = draw.choice(
                    [b"9" * 400, b"-1", b"1e308", b"NaN", b"[" * 3000, b'"x"', b"null"]
                )
    return bytes(changed)


@pytest.mark.parametrize("kind", ["slides", "labels", "models"])
@pytest.mark.parametrize("seed", range(max(1, COUNT // BATCH // 3)))
def test_a_damaged_file_ends_in_a_sentence(sound, tmp_path, kind, seed):
    files = sorted(path for path in (sound / kind).rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in files]
    found: Counter[str] = Counter()
    for number in range(BATCH):
        draw = random.Random(f"{kind} {seed} {number}")
        chosen = draw.choice(files)
        top = sound / kind / chosen.relative_to(sound / kind).parts[0]
        given = tmp_path / str(number) / top.name
        given.parent.mkdir()
        shutil.copytree(top, given) if top.is_dir() else shutil.copy(top, given)
        (given / chosen.relative_to(top) if top.is_dir() else given).write_bytes(
            damaged(chosen.read_bytes(), draw, contents)
        )
        project = tmp_path / str(number) / "s.unisem"
        shutil.copytree(sound / "s.unisem", project)
        reads: dict[str, Callable[[], None]] = {
            "slides": lambda given=given: read_picture(given),
            "labels": lambda given=given, project=project: read_labels(given, project),
            "models": lambda given=given: read_model(given),
        }
        began = time.monotonic()
        try:
            reads[kind]()
        except UnisemalignError:
            pass  # a sentence
        except Exception as error:  # noqa: BLE001  what the test looks for
            found[f"{top.name} {number}: {type(error).__name__}: {str(error)[:150]}"] += 1
        if time.monotonic() - began > PATIENCE_S:
            found[f"{top.name} {number}: takes too long"] += 1
        shutil.rmtree(tmp_path / str(number))
    assert not found, "\n".join(found)
