"""The presets hold what methods.md A5–A8 says, setting by setting."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from unisemalign.settings import METHODS, Settings, build_settings, tree

PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
COLUMNS = ("paper", "released", "recommended")

# Rows of table A8 by their number; a setting stands in one row.
A8 = [
    (3, "method.hard_target", "weak", "strong", "weak"),
    (4, "method.donor_label", "fused", "decoder", "fused"),
    (5, "method.soft_target", "composite", "plain", "composite"),
    (6, "method.weight_decoder", 1.0, 0.5, 1.0),
    (6, "method.weight_prototype", 1.0, 1.0, 1.0),
    (6, "method.weight_text", 1.0, 1.0, 1.0),
    (6, "method.weight_align", 1.0, 1.0, 1.0),
    (6, "method.weight_hard", 0.5, 0.25, 0.5),
    (6, "method.weight_soft", 0.25, 0.25, 0.25),
    (7, "method.weight_dropout", 0.25, 0.25, 0.25),
    (8, "model.semantic_upsample", "logits", "features", "logits"),
    (9, "model.text_pooling", "eos", "argmax", "cls"),
    (10, "model.text_masks", True, False, True),
    (12, "method.temperature", 1.0, 1.0, 0.1),
    (13, "method.align", "mse", "mse", "mse"),
    (14, "model.dilations", (12, 24, 36), (12, 24, 36), (1, 3, 6)),
    (19, "method.threshold_map", "plain", "composite", "plain"),
    (20, "seed", 0, 0, 0),
    (21, "method.labeller", "student", "student", "teacher"),
    (21, "method.ema", 0.0, 0.0, 0.99),
    (22, "model.train_text_projection", True, True, True),
    (23, "views.pad", "zero", "zero", "reflect"),
    (25, "method.donor", "draw", "draw", "flip"),
    (26, "training.rate_lags", False, True, False),
]

# What A1–A7 give one number for: `paper` and `released` have it alike.
PUBLISHED = [
    # A1–A4: sizes.
    ("model.zoom", 1.0),
    ("model.stem_dim", 0),
    ("model.low_stride", 16),
    ("model.low_dim", 256),
    ("model.high_dim", 2048),
    ("model.skip_dim", 48),
    ("model.decoder_dim", 256),
    ("model.embed_dim", 256),
    ("model.align_corners", True),
    ("model.context_tokens", 4),
    # A5: the fused logits, the threshold, and nothing the paper does not have.
    ("method.eta_prototype", 0.1),
    ("method.eta_text", 0.1),
    ("method.threshold", 0.7),
    ("method.threshold_momentum", 0.999),
    ("method.feature_dropout", 0.5),
    ("method.weight_dice", 0.0),
    ("method.ramp_steps", 0),
    ("method.strong_views", 1),
    ("method.confidence", "hard"),
    ("method.clean_statistics", False),
    # A6: views.
    ("views.crop_px", 256),
    ("views.scale_min", 0.5),
    ("views.scale_max", 2.0),
    ("views.turns", False),
    ("views.stain_weak", 0.0),
    ("views.stain_strong", 0.0),
    ("views.jitter", 0.5),
    ("views.hue", 0.25),
    ("views.jitter_probability", 0.8),
    ("views.gray_probability", 0.2),
    ("views.blur_probability", 0.5),
    ("views.blur_min", 0.1),
    ("views.blur_max", 2.0),
    ("views.cutmix_probability", 0.5),
    ("views.cutmix_area_min", 0.02),
    ("views.cutmix_area_max", 0.4),
    ("views.cutmix_aspect_min", 0.3),
    # A6: optimisation.
    ("training.optimizer", "sgd"),
    ("training.learning_rate", 1e-2),
    ("training.backbone_rate", 0.1),
    ("training.momentum", 0.9),
    ("training.weight_decay", 1e-4),
    ("training.poly_power", 0.9),
    ("training.warmup_steps", 0),
    ("training.batch_labelled", 4),
    ("training.batch_unlabelled", 4),
    ("training.distinct_batches", 0),
    ("training.steps", 1280),  # 80 epochs of 66 unlabelled images, four at a time
    ("training.validate_every", 16),  # an epoch
    # A7: inference.
    ("inference.window_px", 256),
    ("inference.stride_px", 170),
    ("inference.whole_windows", True),
    ("inference.blend", "uniform"),
    ("inference.answer", "decoder"),
    ("inference.flips", False),
]

# What `recommended` keeps of A5 and A6.
KEPT = [
    ("method.eta_prototype", 0.1),
    ("method.eta_text", 0.1),
    ("method.threshold", 0.7),
    ("method.threshold_momentum", 0.999),
    ("method.feature_dropout", 0.5),
    ("views.crop_px", 256),
    ("views.cutmix_probability", 0.5),
    ("views.cutmix_area_min", 0.02),
    ("views.cutmix_area_max", 0.4),
    ("views.cutmix_aspect_min", 0.3),
    ("training.batch_labelled", 4),
    ("training.batch_unlabelled", 4),
    ("training.momentum", 0.9),
    ("training.poly_power", 0.9),
]


def value_at(preset, address):
    found = build_settings(preset)
    for name in address.split("."):
        found = getattr(found, name)
    return found


@pytest.mark.parametrize(
    ("row", "address", *COLUMNS), A8, ids=[f"{row}-{address}" for row, address, *_ in A8]
)
def test_table_a8(row, address, paper, released, recommended):
    assert tuple(value_at(p, address) for p in COLUMNS) == (paper, released, recommended)


@pytest.mark.parametrize(("address", "wanted"), PUBLISHED)
def test_the_published_presets_have_the_published_numbers(address, wanted):
    assert [value_at(p, address) for p in ("paper", "released")] == [wanted, wanted]


@pytest.mark.parametrize(("address", "wanted"), KEPT)
def test_recommended_keeps_what_is_not_mended(address, wanted):
    assert value_at("recommended", address) == wanted


def test_released_and_paper_part_only_where_a_row_says_so():
    """Whatever differs between the two is a row of table A8."""

    def leaves(tree, at=""):
        for name, value in tree.items():
            if isinstance(value, dict):
                yield from leaves(value, f"{at}{name}.")
            else:
                yield f"{at}{name}", value

    paper, released = (dict(leaves(build_settings(p).model_dump())) for p in ("paper", "released"))
    apart = {name for name in paper if paper[name] != released[name]}
    known = {address for _, address, ours, theirs, _ in A8 if ours != theirs}
    assert apart == known | {"preset"}


def test_every_row_of_the_page_that_names_a_setting_is_held():
    """The table in methods.md and the one above name the same settings in the same rows."""
    table = PAGE.read_text(encoding="utf-8").split("**A8 ")[1].split("**A9 ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    cells = [(int(row[0].split()[0]), row[-1]) for row in rows if row[0].split()[0].isdigit()]
    named = {(n, address) for n, cell in cells for address in re.findall(r"`([a-z_.*]+)`", cell)}
    assert len(named) > 15
    for number, pattern in named:
        assert [a for n, a, *_ in A8 if n == number and fnmatch(a, pattern)], (number, pattern)
    for number, address, *_ in A8:
        assert any(n == number and fnmatch(address, p) for n, p in named), (number, address)
    # Two rows are chosen on the command line: the encoder is the project's, no preset names one.
    spoken = {n: cell.strip("`") for n, cell in cells if cell.startswith("`--")}
    assert spoken == {1: "--encoder", 15: "--method supervised"}
    assert {value_at(p, "model.encoder") for p in COLUMNS} == {"embedded"}
    assert "supervised" in METHODS


def _values(tree, above=""):
    """Yield address and value of every setting in a table."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _values(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def test_no_value_of_a_preset_stands_a_second_time():
    for name, own in tree._PRESET_TABLE.items():
        below = own.get("extends")
        known = tree._preset_tree(below) if below else Settings().model_dump(mode="json")
        known = dict(_values(known))
        for address, value in _values({k: v for k, v in own.items() if k != "extends"}):
            assert known.get(address) != value, f"{name}: {address} is {value} already"
