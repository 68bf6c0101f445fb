"""Checkpoints and the published weights they were trained beside."""

import pytest

from unisemalign.errors import WeightsError
from unisemalign.methods import build_method
from unisemalign.model import build_network
from unisemalign.settings import build_settings
from unisemalign.training.checkpoint import load_checkpoint, save_checkpoint
from unisemalign.training.optimiser import build_optimiser


def test_a_checkpoint_says_which_words_it_was_trained_on(tmp_path):
    chosen = build_settings(overrides={"model.decoder_dim": 16})
    network = build_network(["a", "b"], chosen.model)
    method, optimiser = build_method(network, chosen), build_optimiser(network, chosen.training)
    network.semantic.text.weights_sha256 = "a" * 64
    save_checkpoint(tmp_path / "last.pt", method, optimiser, 3, None)
    assert load_checkpoint(tmp_path / "last.pt", method, optimiser) == (3, None)
    network.semantic.text.weights_sha256 = "b" * 64
    with pytest.raises(WeightsError, match="trained on other weights of 'free'.*aaaa.*bbbb"):
        load_checkpoint(tmp_path / "last.pt", method, optimiser)
