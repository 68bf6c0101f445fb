"""Readers of data sets, on small folders laid out as each is published."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from unisemalign.datasets import READERS, read_dataset
from unisemalign.datasets.partitions import draw_partition, read_splits
from unisemalign.errors import DataError
from unisemalign.geometry import Rect


def draw(path, value=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((40, 40), np.uint8)
    pixels[10:30, 10:30] = value
    if "mask" in str(path) or "Annotation" in str(path) or "truth" in str(path):
        Image.fromarray(pixels).save(path)
    else:
        Image.fromarray(np.repeat(pixels[..., None] + 100, 3, 2)).save(path)


def pairs(root, images, masks, names, *, value=255, ends=("", ""), before=""):
    for name in names:
        draw(root / images / f"{name}{ends[0]}.png")
        draw(root / masks / f"{before}{name}{ends[1]}.png", value)


def splits(root, table, **lists):
    lines = [f"{use} = {names!r}".replace("'", '"') for use, names in lists.items()]
    (root / "splits.toml").write_text(f"[{table}]\n" + "\n".join(lines) + "\n")


def make_glas(root):
    pairs(root, "images", "masks", ["a", "b", "c", "test_1"])
    splits(root, "glas_10", labeled=["a"], unlabeled=["b"], val=["c"])


def make_luad(root):
    pairs(root, "images", "masks", ["test_1", "b", "c", "d"], value=2)
    splits(root, "luad_8", labeled=["test_1"], unlabeled=["b"], val=["c"], test=["d"])


def make_testis(root):
    pairs(root, "images", "masks", ["a", "b", "c"])
    splits(root, "testis_5", labeled=["a"], unlabeled=["b"], val=["c"])


def make_crag(root):
    pairs(root, "train/Images", "train/Annotation", [f"train_{k}" for k in range(6)], value=3)
    pairs(root, "valid/Images", "valid/Annotation", ["test_1"], value=7)


def make_ebhi_seg(root):
    for grade in ("normal", "polyp"):
        names = [f"GT{k}-1-400-00{n}" for k in range(4) for n in (1, 2)]
        pairs(root, f"images/{grade}", f"masks/{grade}", [f"{grade[0]}{name}" for name in names])
    draw(root / "images" / "polyp" / "alone.png")


def make_monuseg(root):
    names = [f"TCGA-{k}" for k in range(6)]
    pairs(root, "images", "masks", names)
    rows = [f"{name},{'val' if k < 2 else 'train'},words" for k, name in enumerate(names)]
    (root / "texts.csv").write_text("\n".join(["image,split,text", *rows]) + "\n")


def make_kpi(root):
    for split, cases in (("train", ("c1", "c2", "c3")), ("val", ("c4",))):
        for case in cases:
            place = f"{split}/NEP25/{case}"
            pairs(root, f"{place}/img", f"{place}/mask", ["x", "y"], ends=("_img", "_mask"))


def make_qata(root):
    for split, count in (("Train Set", 6), ("Test Set", 2)):
        names = [f"covid_{split[1]}{k}" for k in range(count)]
        pairs(root, f"{split}/Images", f"{split}/Ground-truths", names, before="mask_")


def make_lists(root):
    pairs(root, "i", "masks", ["a", "b", "c", "d"], value=1)
    for use, name in (("labeled", "a"), ("val", "c"), ("test", "d")):
        (root / f"{use}.txt").write_text(f"i/{name}.png masks/{name}.png\n")
    (root / "unlabeled.txt").write_text("i/b.png\n")


LAYOUTS = {
    "glas": (make_glas, {"labelled": 1, "unlabelled": 1, "val": 1, "test": 1}),
    "crag": (make_crag, {"labelled": 1, "unlabelled": 4, "val": 1, "test": 1}),
    "ebhi_seg": (make_ebhi_seg, {"labelled": 2, "unlabelled": 10, "val": 4, "test": 0}),
    "kpi": (make_kpi, {"labelled": 2, "unlabelled": 2, "val": 2, "test": 2}),
    "monuseg": (make_monuseg, {"labelled": 1, "unlabelled": 3, "val": 2, "test": 0}),
    "qata": (make_qata, {"labelled": 1, "unlabelled": 4, "val": 1, "test": 2}),
    "luad": (make_luad, {"labelled": 1, "unlabelled": 1, "val": 1, "test": 1}),
    "testis": (make_testis, {"labelled": 1, "unlabelled": 1, "val": 1, "test": 0}),
    "lists": (make_lists, {"labelled": 1, "unlabelled": 1, "val": 1, "test": 1}),
}


@pytest.mark.parametrize("name", READERS)
def test_each_reader_finds_every_image_and_its_mask(name, tmp_path):
    make, counts = LAYOUTS[name]
    make(tmp_path)
    found = read_dataset(name, tmp_path, 10)
    assert found.images == counts
    assert found.name == name
    parts = (found.labelled, found.unlabelled, found.val, found.tests)
    names = [sample.image for part in parts for sample in part]
    assert len(set(names)) == len(names), "no image has two uses"
    assert read_dataset(name, tmp_path, 10).partition == found.partition
    with found.open_study(tmp_path / "run" / "study.unisem", "embedded", "free") as project:
        first = project.slides()[0]
        labels = project.labels(first.name).read(Rect(0, 0, *first.shape_yx))
        expected = {"luad": {1, 3}}.get(name, {1, 2})
        assert set(np.unique(labels)) == expected
        assert len(project.slides()) == sum(counts.values()) - counts["test"]
    if found.tests:
        with found.create_tests(tmp_path / "tests.unisem") as project:
            assert len(project.slides()) == len(found.tests)


@pytest.mark.parametrize("name", READERS)
def test_another_layout_is_told_with_what_was_looked_for(name, tmp_path):
    with pytest.raises(DataError, match=re.escape(str(tmp_path))) as told:
        read_dataset(name, tmp_path, 10)
    assert "needs" in str(told.value) or "need" in str(told.value)
    assert "found no" in str(told.value)


def test_images_of_ebhi_without_a_mask_are_left_out_and_told(tmp_path):
    make_ebhi_seg(tmp_path)
    found = read_dataset("ebhi_seg", tmp_path, 10)
    assert "want of a mask: alone" in found.remark


def test_an_unknown_name_is_told_with_those_there_are(tmp_path):
    with pytest.raises(DataError, match=r"Unknown data set 'x'. Choose one of glas, crag"):
        read_dataset("x", tmp_path, 10)


def test_a_labelled_image_needs_its_mask(tmp_path):
    make_testis(tmp_path)
    (tmp_path / "masks" / "a.png").unlink()
    with pytest.raises(DataError, match=r"needs a mask .*a.*found none"):
        read_dataset("testis", tmp_path, 10)
    make_crag(tmp_path)
    (tmp_path / "train" / "Annotation" / "train_3.png").unlink()
    with pytest.raises(DataError, match=r"'train_3.png' needs a mask"):
        read_dataset("crag", tmp_path, 10)


def test_an_image_in_two_lists_is_told(tmp_path):
    make_lists(tmp_path)
    (tmp_path / "test.txt").write_text("i/a.png masks/a.png\n")
    with pytest.raises(DataError, match=r"found 'a' in use for training"):
        read_dataset("lists", tmp_path, 10)
    (tmp_path / "labeled.txt").write_text("i/a.png masks/nowhere.png\n")
    with pytest.raises(DataError, match=r"labeled.txt', line 1, needs 'image mask'"):
        read_dataset("lists", tmp_path, 10)


def test_cases_stay_together_and_the_draw_is_the_same_everywhere():
    names = [f"{case}-{k}" for case in range(20) for k in range(3)]
    found = draw_partition(names, 10, group=lambda name: name.split("-")[0])
    parts = [{n.split("-")[0] for n in p} for p in (found.labelled, found.unlabelled, found.val)]
    assert sum(len(part) for part in parts) == 20
    assert [len(part) for part in parts] == [2, 14, 4]
    assert draw_partition(list(reversed(names)), 10, group=lambda n: n.split("-")[0]) == found
    with pytest.raises(DataError, match="found 0"):
        draw_partition(names, 0)


@pytest.mark.parametrize("name", ["../a", "/etc/a", "b/../../a", "C:/a", "..\\a", "", "a\0"])
def test_a_name_in_a_partition_leads_to_no_other_folder(tmp_path, name):
    lists = json.dumps(name)
    (tmp_path / "splits.toml").write_text(
        f"[glas_10]\nlabeled = [{lists}]\nunlabeled = []\nval = ['c']\n"
    )
    with pytest.raises(DataError, match="lists of image names"):
        read_splits(tmp_path, "glas", 10)


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "9" * 6000, "\x00"])
def test_a_partition_that_is_nested_without_end_is_told(tmp_path, text):
    (tmp_path / "splits.toml").write_text(text)
    with pytest.raises(DataError, match="cannot be read"):
        read_splits(tmp_path, "glas", 10)
