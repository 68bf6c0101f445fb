"""A suffix opens doors, what a file holds decides: each name that dialogs offer is taken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from slide_files import write_tiff

from unisemalign.cli.adding import add_slides
from unisemalign.geometry import Rect
from unisemalign.project import Project, Split
from unisemalign.runtime import SilentEvents
from unisemalign.slides import SLIDE_SUFFIXES, open_slide

WHOLE = Rect(0, 0, 150, 101)
FOLDERS = (".zarr", ".ome.zarr")
FILES = tuple(suffix for suffix in SLIDE_SUFFIXES if suffix not in FOLDERS)


@pytest.mark.parametrize("suffix", FILES)
def test_an_image_opens_under_every_name(tmp_path: Path, pixels, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".ndpi":  # tifffile takes a TIFF of that name for Hamamatsu's, with 64-bit offsets
        Image.fromarray(pixels).save(path, format="PNG")
    else:
        write_tiff(path, [pixels])
    slide = open_slide(path)
    assert np.array_equal(slide.read_level(0, WHOLE), pixels)
    slide.close()


def test_a_folder_of_slides_is_taken_by_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for index, suffix in enumerate(FILES):
        name = f"s{index}{suffix.upper() if index % 2 else suffix}"
        Image.new("RGB", (64, 64), (200, 100 + index, 180)).save(folder / name, format="PNG")
    (folder / "notes.txt").write_text("no slide")
    with Project.create(tmp_path / "p", classes=["a", "b"]) as project:
        added = add_slides(project, [folder], None, Split.TRAIN, 0.5, SilentEvents())
        assert len(added) == len(project.slides()) == len(FILES)
