"""The page of a benchmark: whole, from nowhere else, and true to the figures."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unisemalign.benchmark.curve import _ticks, draw_curves, validation_points
from unisemalign.benchmark.pictures import (
    ERROR_COLORS,
    PREDICTED_COLOR,
    TRUTH_COLOR,
    Example,
    draw_outlines,
    error_map,
    error_map_uri,
)
from unisemalign.benchmark.report import ReportContent, write_report
from unisemalign.benchmark.report_content import changed_settings
from unisemalign.benchmark.spread import spread_over_seeds
from unisemalign.metrics import SCORE_NAMES
from unisemalign.protocol import Message, Validation
from unisemalign.settings import build_settings

VOID = {"meta", "img", "line", "polyline", "circle", "br"}


class Page(HTMLParser):
    """Text, pictures and tables of a page that must be well formed and stand alone."""

    def __init__(self, text):
        super().__init__()
        self.open, self.pictures, self.words, self.rows, self.tags = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open
        assert "url(" not in text
        assert "@import" not in text

    def handle_starttag(self, tag, attrs):
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name in {"src", "href", "srcset", "data", "action", "poster"}:
                assert value.startswith("data:image/"), value[:40]
                self.pictures.append(value)
        if tag == "tr":
            self.rows.append([])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in {"td", "th"}:
            self.rows[-1].append(data)
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def picture(uri):
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,(.*)", uri).groups()
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    image.load()
    assert image.format == kind.upper()
    return image


def example(name="img", shape=(40, 60)):
    truth = np.zeros(shape, np.uint8)
    truth[10:30, 10:40] = 1
    predicted = np.roll(truth, 5, axis=1)
    image = np.full((*shape, 3), (220, 150, 190), np.uint8)
    return Example(name, 0.9, 0.8, image, predicted, truth)


def result(**changes):
    def scores(value, **more):
        return {**dict.fromkeys(SCORE_NAMES, value), **more}

    runs = [
        {
            "seed": seed,
            "best_val": scores(0.8 + seed / 100, step=40),
            "last_val": scores(0.7, step=60),
            "best_test": scores(0.75),
            "last_test": scores(0.65, step=60),
            "seconds_per_step": 0.5,
        }
        for seed in (0, 1)
    ]
    found = {"fraction": 10, "preset": "recommended", "method": "m", "encoder": "e", "runs": runs}
    return {**found, **spread_over_seeds(runs), **changes}


def content(**changes):
    values = {
        "result": result(),
        "title": "GlaS, 10 % of the images labelled",
        "shown_class": "gland",
        "images": {"labelled": 7, "val": 12, "test": 0},
        "text": "free",
        "changed": [("training.steps", "400", "60")],
        "curves": {"seed 0": [(20, 60.0), (40, 80.0)], "seed 1": [(20, 50.0), (40, 81.0)]},
        "examples": [example("worst one"), example("best one")],
        "examples_seed": 1,
    }
    return ReportContent(**{**values, **changes})


def written(tmp_path, **changes):
    path = tmp_path / "report.html"
    write_report(path, content(**changes))
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_stands_alone_and_says_the_figures(tmp_path):
    page = written(tmp_path)
    assert ["mDice", "80.50 ± 0.71", "70.00 ± 0.00", "75.00 ± 0.00", "65.00 ± 0.00"] in page.rows
    assert ["0", "val, best step", "40", *["80.00"] * 6, "0.500"] in page.rows
    assert ["1", "test, best step", "40", *["75.00"] * 6, "0.500"] in page.rows
    assert ["1", "test, last step", "60", *["65.00"] * 6, "0.500"] in page.rows
    assert ["training.steps", "400", "60"] in page.rows
    assert "7 labelled, 12 val." in page.text
    assert "In per cent, mean ± sample standard deviation (n − 1) over seeds." in page.text
    assert "Worst: worst one . mDice 90.00, gland Dice 80.00." in page.text
    assert [picture(uri).size for uri in page.pictures] == [(60, 40)] * 4
    assert page.tags.count("svg") == 1


def test_a_page_without_logs_pictures_changes_or_a_second_seed(tmp_path):
    one = result()["runs"][:1]
    alone = {**result(), "runs": one}
    for place in ("best_test", "last_test"):
        one[0].pop(place)
        alone.pop(place)
    page = written(
        tmp_path,
        result={**alone, **spread_over_seeds(one)},
        curves={},
        changed=[],
        examples=[],
        no_examples="The project is gone.",
    )
    assert not page.pictures
    assert "svg" not in page.tags
    assert "The project is gone." in page.text
    assert "All as in the preset recommended ." in page.text
    assert ["mDice", "80.00", "70.00"] in page.rows
    assert "test, " not in page.text
    assert "In per cent, one seed." in page.text


def test_everything_is_escaped(tmp_path):
    bad = "<script>\"&'"
    page = written(
        tmp_path,
        result=result(preset=bad, method=bad, encoder=bad),
        text=bad,
        changed=[(bad, bad, bad)],
        curves={bad: [(1, 2.0)]},
        examples=[example(bad), example(bad)],
    )
    assert [bad, bad, bad] in page.rows
    assert f"encoder {bad}, text {bad}" in page.text
    assert f"Worst: {bad}" in page.text
    assert written(tmp_path, examples=[], no_examples=bad).text.count(bad) == 1


def test_only_one_val_image(tmp_path):
    page = written(tmp_path, examples=[example()])
    assert len(page.pictures) == 2
    assert "The only val image: img" in page.text


def test_error_map_by_hand():
    truth = np.array([[0, 1, 1, 0, 255, 1]], np.uint8)
    predicted = np.array([[0, 1, 0, 1, 1, 255]], np.uint8)
    image = np.zeros((1, 6, 3), np.uint8)
    kinds = error_map(Example("x", 0.5, None, image, predicted, truth))
    assert kinds.tolist() == [[0, 1, 2, 3, 4, 2]]
    colors = np.asarray(picture(error_map_uri(kinds)).convert("RGB"))[0]
    table = list(ERROR_COLORS.values())
    assert ["#{:02x}{:02x}{:02x}".format(*c) for c in colors] == [table[k] for k in kinds[0]]


def test_outlines_follow_the_borders_and_leave_the_rest():
    one = example()
    drawn = draw_outlines(one)
    rgb = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (TRUTH_COLOR, PREDICTED_COLOR)]
    assert tuple(drawn[20, 10]) == rgb[0], "left border of the truth"
    assert tuple(drawn[20, 15]) == rgb[1], "left border of the prediction"
    assert tuple(drawn[10, 30]) == rgb[1], "both: the narrow one on top"
    assert (drawn[20, 28] == one.image[20, 28]).all(), "inside"
    assert (drawn[35, 55] == one.image[35, 55]).all(), "outside"
    whole = np.ones((40, 60), np.uint8)
    edge = Example("x", 1.0, 1.0, one.image, whole, whole)
    assert (draw_outlines(edge) == one.image).all(), "the image's edge is no border"


def test_a_resumed_log_counts_the_later_validation():
    rest = {name: None for name, field in Validation.model_fields.items() if field.is_required()}

    def validated(step, mdice):
        found = {**rest, "event": "validation", "step": step, "mdice": mdice, "images": 1}
        lists = {"dice_per_class": [], "jaccard_per_class": []}
        return Validation.model_validate({**found, **lists})

    log = [
        validated(10, 0.5),
        Message(text="between"),
        validated(20, 0.6),
        validated(20, 0.7),
        validated(30, None),
    ]
    assert validation_points(log) == [(10, 50.0), (20, 70.0)]
    assert draw_curves({"seed 0": []}) == ""


def test_a_curve_rises_where_the_score_does():
    svg = draw_curves({"seed 0": [(0, 60.0), (50, 80.0), (100, 70.0)]})
    line = re.search(r'<polyline class="curve s0"[^>]*points="([^"]*)"', svg)[1]
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in line.split())
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 < y2 < y0
    assert y2 - y1 == pytest.approx(y0 - y2, abs=0.2)


def test_twelve_seeds_have_room_for_their_names():
    svg = draw_curves({f"seed {n}": [(1, 50.0), (2, 60.0)] for n in range(12)})
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    places = re.findall(r'<text x="(\d+)" y="(\d+)">seed', svg)
    assert len(set(places)) == 12
    assert max(int(x) for x, _ in places) < width - 50
    top = min(float(y) for y in re.findall(r'class="grid"[^>]*y1="([\d.]+)"', svg))
    assert max(int(y) for _, y in places) < top < height


@given(st.floats(0, 100), st.floats(0, 1e5))
def test_ticks_hold_what_is_shown(low, span):
    ticks = _ticks(low, low + span)
    assert ticks[0] <= low + 1e-6
    assert ticks[-1] >= low + span - 1e-6
    assert 2 <= len(ticks) <= 7
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0])


def test_what_differs_from_the_preset_is_found():
    assert changed_settings(build_settings("paper", "supervised")) == []
    changed = build_settings(
        overrides={"training.steps": 7, "model.encoder": "uni", "views.pad": "zero", "seed": 3}
    )
    default = build_settings()
    assert changed_settings(changed) == [
        ("views.pad", f'"{default.views.pad}"', '"zero"'),
        ("training.steps", str(default.training.steps), "7"),
    ]
