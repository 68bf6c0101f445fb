"""A large view is labelled coarsely first, and nothing of that is left in the end."""

import numpy as np
import pytest
from PIL import Image

from tests.engine.conftest import draw_textures
from unisemalign.errors import CancelledError
from unisemalign.geometry import Rect
from unisemalign.inference import SegmentJob, load_predictor, open_for_segmenting
from unisemalign.inference.coarse import COARSEST, coarse_factor
from unisemalign.inference.storing import PredictionSlot
from unisemalign.runtime import CancelToken

VIEW = Rect(50, 30, 700, 601)
GLASS_X = 520


@pytest.fixture
def half_glass(trained, tmp_path):
    """A slide ``d`` of tissue beside glass, of sides no factor divides."""
    path = tmp_path / "d.png"
    draw_textures(path, 3, (803, 901))
    pixels = np.asarray(Image.open(path)).copy()
    pixels[:, GLASS_X:] = 255
    Image.fromarray(pixels).save(path)
    trained.add_slide(path, spacing_um=0.5)
    return trained


@pytest.fixture
def segment(half_glass):
    predictor, _ = load_predictor(half_glass)

    def run(**more):
        opened = open_for_segmenting(half_glass, "d", predictor)
        try:
            return SegmentJob(
                opened, predictor, PredictionSlot.of_round(half_glass, 1, "d"), **more
            ).run()
        finally:
            opened.slide.slide.close()

    return run


class Told:
    """Events, with what a viewer would read when each comes."""

    def __init__(self, project):
        self.project = project
        self.written = []

    def emit(self, event):
        if event.event == "written":
            store = self.project.predictions(1, "d")
            whole = Rect(0, 0, *store.shape_yx)
            coarse = {
                factor: np.asarray(each.levels("class")[0][:])
                for factor, each in store.coarse_answers().items()
            }
            self.written.append((event.rect, event.final, store.read(whole), coarse))


@pytest.mark.parametrize("downsample", [2.0, 3.4, 40.0])
def test_a_coarse_answer_comes_first_and_goes(half_glass, segment, downsample):
    told = Told(half_glass)
    segment(rect=VIEW, sketch=downsample, events=told)
    factor = coarse_factor(downsample)
    kinds = [final for _, final, _, _ in told.written]
    assert not kinds[0]
    assert kinds == sorted(kinds)
    before = [each for each in told.written if not each[1]]
    assert sum(rect.area for rect, *_ in before) >= VIEW.area
    for _, _, fine, coarse in before:
        assert not fine.any()
        assert set(coarse) == {factor}
    first = before[-1][3][factor]
    rows = slice(-(-VIEW.y // factor), VIEW.y1 // factor)
    assert (first[rows, VIEW.x // factor + 1 : GLASS_X // factor] > 0).all()
    fine = half_glass.predictions(1, "d").read(VIEW)
    for y, x in ((0, 0), (300, 400), (699, 600)):
        there = first[(VIEW.y + y) // factor, (VIEW.x + x) // factor] > 0
        assert there == (fine[y, x] > 0), "glass is left out, as it will be"
    assert not told.written[-1][3][factor].any()


@pytest.mark.parametrize(
    "asked", [{"sketch": 1.3}, {"sketch": 4.0, "rect": Rect(0, 0, 250, 300)}], ids=str
)
def test_what_fits_the_screen_or_is_small_is_not_labelled_coarsely(half_glass, segment, asked):
    segment(**{"rect": VIEW, **asked})
    assert not half_glass.predictions(1, "d").coarse_answers()


def test_a_slide_looked_at_coarsely_ends_like_any_other(half_glass, segment):
    segment()
    root = half_glass.root / "predictions" / "1"
    plain = files(root / "d.zarr")
    half_glass.remove_prediction(1, "d")

    class Once(Told):
        def emit(self, event):
            super().emit(event)
            token.request() if event.event == "written" else None

    for downsample in (4.0, 2.0):
        token = CancelToken()
        with pytest.raises(CancelledError):
            segment(
                rect=Rect(0, 0, 803, 901),
                sketch=downsample,
                events=Once(half_glass),
                cancel=token,
            )
    looked = half_glass.predictions(1, "d").coarse_answers()
    assert all(store.predicted_rects() for store in looked.values())
    assert list(looked) == [COARSEST]
    segment()
    got = files(root / "d.zarr")
    left = {name for name in got if name.startswith("coarse-")}
    assert not {name for name in left if "/c/" in name}, "no pixel of it stays"
    assert {name: kept for name, kept in got.items() if name not in left} == plain


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_factors_are_powers_of_two_the_network_knows():
    asked = (0.1, 1.0, 1.4, 1.5, 2.0, 2.8, 2.9, 4.0, 1e9, float("inf"))
    assert [coarse_factor(each) for each in asked] == [1, 1, 1, 2, 2, 2, *[COARSEST] * 4]
