"""CorrMatch. Source: CorrMatch's ``corrmatch.py``, ``deeplabv3plus.py``; facts in methods.md B."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unisemalign.methods.consistency import ConsistencyMethod, kept_share, labels_from
from unisemalign.methods.labelled import decoder_losses, detached, total_loss
from unisemalign.methods.losses import confident_ce, confident_kl, labelled_ce, next_threshold
from unisemalign.methods.method import Batch
from unisemalign.methods.unisemalign import PseudoLabels
from unisemalign.model import Network
from unisemalign.settings import Settings
from unisemalign.settings.methods.corrmatch import CorrMatchSettings


class Correlation(nn.Module):
    """How alike the pixels of the deep map are: rows of weights over all of them.

    Parameters
    ----------
    channels_in
        Channels of the projected deep map.
    channels
        Of the map whose pixels are compared.
    n_classes
        Length of the two vectors that are compared, as published.
    """

    def __init__(self, channels_in: int, channels: int, n_classes: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
        )
        self.queries = nn.Conv2d(channels, n_classes, 1)
        self.keys = nn.Conv2d(channels, n_classes, 1)

    def forward(self, high: Tensor) -> Tensor:
        """Map ``(B, D, h, w)`` to ``(B, h·w, h·w)``; each row sums to 1."""
        shown = self.project(high)
        queries, keys = self.queries(shown).flatten(2), self.keys(shown).flatten(2)
        products = queries.transpose(1, 2) @ keys
        rows: Tensor = (products.float() / queries.shape[1] ** 0.5).softmax(2)
        return rows


class CorrMatch(ConsistencyMethod):
    """Sure labels spread to whole regions that correlate; logits spread along correlations too.

    The decoder alone is deployed.
    """

    threshold: Tensor

    def __init__(self, student: Network, settings: Settings) -> None:
        super().__init__(student, settings, strong_views=1)
        self.own = settings.method_as(CorrMatchSettings)
        self.correlation = Correlation(
            student.settings.high_dim, self.own.spread_channels, student.n_classes
        )
        self.register_buffer("threshold", torch.tensor(self.own.threshold))

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the step's loss and its parts, with ``tau``, ``kept`` and ``relabelled``."""
        s, net, n = self.own, self.student, len(batch.images)
        u, box, strong = self.views(batch)
        drawn = self.drawn_labels(batch)
        features = net.features(torch.cat([batch.images, u.weak]))
        decoded = net.decode(features)
        spread = self._spread(decoded, self.correlation(features.high), features.high)
        weights = self.balance.label_weights(batch.labels, s.balance)
        parts = decoder_losses(decoded[:n], s, batch.labels, weights)
        parts["labelled_spread"] = s.weight_labelled_spread * labelled_ce(
            spread[:n], batch.labels, weights
        )
        pseudo = labels_from(decoded[n:], u.valid)
        (mixed,) = self.mixed(batch, pseudo, drawn)
        with self.quiet():
            dropped = net.decode(features.rows(n, len(decoded)).with_dropout(s.feature_dropout))
            strong_features = net.features(strong)
            seen = net.decode(strong_features)
            rows = self.correlation(strong_features.high)
        strong_spread = self._spread(seen, rows, strong_features.high)
        self.threshold = next_threshold(
            self.threshold, pseudo.decoder, mixed.valid, s.threshold_momentum
        )
        tau = self.threshold
        keep = self.sure(mixed, tau) * mixed.valid
        grid = (strong_features.high.shape[2], strong_features.high.shape[3])
        labels, spread_keep = self._relabelled(mixed, keep, rows.detach(), box[0], grid)

        soft = mixed.decoder if s.soft_target == "composite" else pseudo.decoder
        sure = self.sure(pseudo, tau)
        parts["hard"] = s.weight_hard * confident_ce(seen, labels, spread_keep, mixed.valid)
        parts["soft"] = s.weight_soft * confident_kl(seen, soft, keep, mixed.valid)
        parts["features"] = s.weight_features * confident_ce(dropped, pseudo.label, sure, u.valid)
        both = confident_ce(strong_spread, labels, spread_keep, mixed.valid) + confident_ce(
            spread[n:], pseudo.label, sure, u.valid
        )
        parts["spread"] = s.weight_spread * 0.5 * both
        return total_loss(parts), {
            **detached(parts),
            "tau": tau,
            "kept": kept_share(keep, mixed.valid),
            "relabelled": kept_share(spread_keep - keep, mixed.valid),
        }

    def _spread(self, decoded: Tensor, rows: Tensor, like: Tensor) -> Tensor:
        """Return logits ``(B, C, H, W)`` gathered along correlations: z^c_j = Σ_i z_i·A_ij.

        No gradient passes through the logits themselves.
        """
        small = F.interpolate(
            decoded.detach(), size=like.shape[2:], mode="bilinear", align_corners=True
        )
        gathered = (small.flatten(2) @ rows).reshape(small.shape)
        return F.interpolate(gathered, size=decoded.shape[2:], mode="bilinear", align_corners=True)

    @torch.no_grad()
    def _relabelled(
        self, mixed: PseudoLabels, keep: Tensor, rows: Tensor, box: Tensor, grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Return labels and weights after whole regions took the label of their sure pixels.

        Each of a few rows of the correlation, stretched to the image, is a region where it is
        above one half of its range. Where enough of it is sure, and of one class, all of it takes
        that class and counts. A later region overwrites an earlier one. Boxes stay as they are.
        """
        count, (h, w) = self.own.regions, grid
        label, weights = mixed.label.clone(), keep.clone()
        if count == 0:
            return label, weights
        chosen = torch.randint(0, h * w, (count,), device=rows.device)
        open_pixels = mixed.valid & ~box
        tau = self.threshold
        for b in range(len(label)):
            maps = F.interpolate(
                rows[b, chosen].reshape(1, count, h, w),
                size=label.shape[1:],
                mode="bilinear",
                align_corners=True,
            )[0]
            low = maps.amin((1, 2), keepdim=True)
            reach = (maps.amax((1, 2), keepdim=True) - low).clamp(min=1e-12)
            for region in ((maps - low) / reach > 0.5) & open_pixels[b]:
                sure = region & (keep[b] > 0)
                n_sure, size = sure.sum(), region.sum()
                if n_sure == 0 or n_sure / size < tau:
                    continue
                shares = torch.bincount(label[b][sure], minlength=mixed.decoder.shape[1]) / n_sure
                if shares.max() > tau:
                    label[b][region] = shares.argmax()
                    weights[b][region] = 1.0
        return label, weights
