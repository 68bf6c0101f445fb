"""Where accepted pixels come from."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_unisemalign.session.region_edit import resolve_origin, start_values
from unisemalign.project import Origin

Labels = arrays(np.uint8, (4, 5), elements=st.integers(0, 3))


def test_origin_by_hand() -> None:
    # columns: accepted, corrected, drawn, kept, relabelled, erased, relabelled as predicted
    predicted = np.array([[1, 1, 0, 1, 0, 1, 2]], np.uint8)
    labels = np.array([[0, 0, 0, 2, 2, 0, 1]], np.uint8)
    origin = np.array([[0, 0, 0, Origin.IMPORTED, Origin.DRAWN, 0, Origin.DRAWN]], np.uint8)
    values = np.array([[1, 2, 3, 2, 3, 0, 2]], np.uint8)
    result = resolve_origin(values, labels=labels, origin=origin, predicted=predicted)
    expected = [
        Origin.ACCEPTED,
        Origin.CORRECTED,
        Origin.DRAWN,
        Origin.IMPORTED,
        Origin.CORRECTED,
        Origin.NONE,
        Origin.CORRECTED,
    ]
    assert result.tolist() == [expected]


@given(values=Labels, labels=Labels, predicted=Labels)
def test_every_labelled_pixel_has_an_origin_and_no_other(values, labels, predicted) -> None:
    origin = np.where(labels > 0, Origin.IMPORTED, Origin.NONE).astype(np.uint8)
    result = resolve_origin(values, labels=labels, origin=origin, predicted=predicted)
    assert np.array_equal(result > 0, values > 0)
    untouched = (values == labels) & (labels > 0)
    assert (result[untouched] == Origin.IMPORTED).all()


@given(labels=Labels, predicted=Labels)
def test_accepting_what_was_found_draws_nothing(labels, predicted) -> None:
    origin = np.where(labels > 0, Origin.DRAWN, Origin.NONE).astype(np.uint8)
    found = start_values(labels, predicted)
    result = resolve_origin(found, labels=labels, origin=origin, predicted=predicted)
    assert not (result == Origin.CORRECTED).any()
    assert (result[(labels == 0) & (predicted > 0)] == Origin.ACCEPTED).all()
