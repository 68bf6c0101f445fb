"""Crops and methods for the tests of methods: drawn, small, the same at each call."""

import torch

from unisemalign.methods import Batch, Needs, Unlabelled, build_method
from unisemalign.model import build_network

SMALL = {
    "model.decoder_dim": 16,
    "model.high_dim": 32,
    "model.low_dim": 16,
    "model.skip_dim": 8,
    "model.embed_dim": 16,
}
"""Widths that make a step a matter of milliseconds."""


def make_batch(side=64, count=2, seed=0, donor=False, views=1, captions=False):
    g = torch.Generator().manual_seed(seed)

    def crops():
        return Unlabelled(
            torch.rand(count, 3, side, side, generator=g),
            torch.rand(views, count, 3, side, side, generator=g),
            torch.rand(count, side, side, generator=g) > 0.1,
        )

    labels = torch.randint(0, 2, (count, side, side), generator=g)
    labels[:, :4] = 255
    box = torch.zeros(views, count, side, side, dtype=torch.bool)
    for view in range(views):
        box[view, 0, 8 : 40 - 8 * view, 8:40] = True
    images = torch.rand(count, 3, side, side, generator=g)
    words = tuple(f"crop {k}" for k in range(2 * count)) if captions else None
    return Batch(images, labels, crops(), box, crops() if donor else None, words)


def batch_for(needs: Needs, seed=0):
    """Return a batch that holds what a method needs, and nothing else."""
    views = max(1, needs.strong_views)
    batch = make_batch(seed=seed, donor=needs.drawn_donor, views=views, captions=needs.captions)
    if needs.unlabelled:
        return batch
    return Batch(batch.images, batch.labels, captions=batch.captions)


def sure_method(chosen, sureness=200):
    """A method whose labeller is confident, so that pseudo-labels pass the threshold."""
    torch.manual_seed(0)
    network = build_network(["a", "b"], chosen.model, chosen.method).train()
    method = build_method(network, chosen)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name.endswith("classify.weight"):
                parameter.mul_(sureness)
    return method
