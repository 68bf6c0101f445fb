"""Windows met again are not encoded again, unless anything they depend on has changed."""

import numpy as np
import pytest
import torch

from tests.engine.conftest import QUICK
from unisemalign.geometry import Rect
from unisemalign.inference import Predictor, RecentWindows, predict_rect
from unisemalign.model import build_network
from unisemalign.settings import build_settings

VIEW = Rect(0, 0, 220, 220)


class Noise:
    shape_yx = (220, 220)
    pixels = np.random.default_rng(0).integers(0, 255, (220, 220, 3)).astype(np.uint8)

    def read(self, rect):
        return self.pixels[rect.slices]


def make_predictor(recent, **more):
    settings = build_settings(overrides={**QUICK, **more})
    torch.manual_seed(0)
    network = build_network(["a", "b"], settings.model)
    predictor = Predictor(network, settings, torch.device("cpu"))
    predictor.recent = recent
    return predictor


@pytest.mark.parametrize("flips", [False, True])
def test_a_view_is_labelled_alike_with_and_without(flips):
    windows = 4 * (4 if flips else 1)
    recent = RecentWindows(1 << 28)
    plain = predict_rect(Noise(), make_predictor(None, **{"inference.flips": flips}), VIEW)
    for hits in (0, windows):
        got = predict_rect(Noise(), make_predictor(recent, **{"inference.flips": flips}), VIEW)
        assert (recent.hits, recent.misses) == (hits, windows)
        assert np.array_equal(got.classes, plain.classes)
        assert np.array_equal(got.confidence, plain.confidence)


def test_a_head_that_learned_on_meets_its_windows_again_and_a_trained_encoder_does_not():
    recent = RecentWindows(1 << 28)
    first = predict_rect(Noise(), make_predictor(recent), VIEW)
    head = make_predictor(recent)
    torch.nn.init.normal_(head.network.decoder.classify.weight)
    other = predict_rect(Noise(), head, VIEW)
    assert (recent.hits, recent.misses) == (4, 4)
    assert not np.array_equal(first.confidence, other.confidence)
    head.recent = None
    assert np.array_equal(predict_rect(Noise(), head, VIEW).confidence, other.confidence)
    encoder = make_predictor(recent)
    with torch.no_grad():
        next(encoder.network.encoder.parameters()).add_(0.01)
    predict_rect(Noise(), encoder, VIEW)
    assert (recent.hits, recent.misses) == (4, 8)
    predict_rect(Noise(), make_predictor(recent, **{"model.zoom": 1.0}), VIEW)
    assert (recent.hits, recent.misses) == (4, 12)


def test_memory_is_bounded_and_the_oldest_make_room():
    recent = RecentWindows(1 << 28)
    predictor = make_predictor(recent)
    predict_rect(Noise(), predictor, VIEW)
    one = recent._held // 4
    small = RecentWindows(3 * one)
    predictor.recent = small
    for _ in range(2):
        predict_rect(Noise(), predictor, VIEW)
        assert small._held == 3 * one
        assert sum(m.untyped_storage().nbytes() for pair in small._maps.values() for m in pair) == (
            3 * one
        )
    assert len(small._maps) == 3
    predictor.recent = RecentWindows(one - 1)
    predict_rect(Noise(), predictor, VIEW)
    assert predictor.recent._held == 0
