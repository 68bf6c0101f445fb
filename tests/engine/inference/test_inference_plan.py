"""Every pixel once, whatever was finished before and wherever one begins."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from unisemalign.geometry import Rect
from unisemalign.inference import Plan
from unisemalign.inference.plan import STRIP_PX, bands, strips
from unisemalign.settings import InferenceSettings

SIDES = st.integers(1, 20_000)
SHAPES = st.tuples(SIDES, SIDES)
WINDOWS = InferenceSettings()


def all_bands(target):
    return [band for strip in strips(target) for band in bands(strip)]


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, data=st.data())
def test_runs_are_the_bands_that_are_not_finished(shape, data):
    every = all_bands(Rect(0, 0, *shape))
    finished = data.draw(st.sets(st.sampled_from(every)))
    focus = data.draw(st.none() | st.tuples(SIDES, SIDES))
    runs = list(Plan(shape, WINDOWS, finished=finished, focus=focus).runs())
    done = [band for run in runs for band in bands(run.rect)]
    assert sorted(done) == sorted(set(every) - finished)


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, y=SIDES, x=SIDES, h=SIDES, w=SIDES)
def test_a_part_is_cut_into_strips_that_cover_it(shape, y, x, h, w):
    plan = Plan(shape, WINDOWS, Rect(y, x, h, w))
    runs = list(plan.runs())
    assert sum(run.rect.area for run in runs) == plan.target.area
    for run in runs:
        assert plan.target.contains(run.rect)
        assert run.rect.w <= STRIP_PX
        rows = run.rows
        assert all(window.intersect(run.rect).area for row in rows for window in row)
        # Rows and columns without a gap: neighbours overlap or touch.
        assert rows[0][0].y <= run.rect.y
        assert rows[-1][-1].y1 >= run.rect.y1
        assert all(a[0].y1 >= b[0].y for a, b in itertools.pairwise(rows))
        inside = [w.intersect(Rect(0, 0, *shape)) for row in rows for w in row]
        assert all(run.extent.contains(part) for part in inside)
    assert plan.total == sum(len(row) for run in runs for row in run.rows)


@settings(deadline=None, max_examples=60)
@given(shape=SHAPES, data=st.data())
def test_labels_grow_from_the_focus(shape, data):
    focus = tuple(data.draw(st.integers(0, side - 1)) for side in shape)
    runs = list(Plan(shape, WINDOWS, focus=focus).runs())
    first = runs[0].rect
    assert first.contains(Rect(*focus, 1, 1))
    # At most the band above is labelled before the focus's own.
    assert focus[0] - first.y < 1024


def test_a_band_has_the_same_windows_wherever_its_run_begins():
    shape = (9000, 9000)
    plain = list(Plan(shape, WINDOWS).runs())
    assert len(plain) == 2
    for focus in ((0, 0), (5000, 8999), (8999, 0)):
        for run in Plan(shape, WINDOWS, focus=focus).runs():
            whole = next(p for p in plain if p.rect.x == run.rect.x)
            assert run.extent == whole.extent
            assert [row for row in whole.rows if row[0] in [r[0] for r in run.rows]] == run.rows


def test_a_view_of_what_is_finished_asks_for_nothing():
    shape = (9000, 9000)
    finished = {b for b in all_bands(Rect(0, 0, *shape)) if 2000 < b.y < 6000}
    view = Rect(3000, 4000, 1000, 1000)
    assert Plan(shape, WINDOWS, view, finished=finished).total == 0
    half = Plan(shape, WINDOWS, Rect(1600, 4000, 1000, 1000), finished=finished)
    assert [run.rect for run in half.runs()] == [Rect(1600, 4000, 448, 1000)]
