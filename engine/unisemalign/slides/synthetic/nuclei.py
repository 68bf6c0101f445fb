"""Nuclei: candidates on a jittered grid, kept or not by what lies around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.slides.synthetic.anatomy import REACH_UM, Anatomy, Scene
from unisemalign.slides.synthetic.lattice import Floats, Grid, uniform_cells

_PITCH_UM = 6.2
_SHIFT_UM = 6.0  # furthest a nucleus is pulled from its grid cell to its row in the epithelium
_LARGEST_UM = 7.0
_BATCH = 1500


@dataclass(frozen=True)
class Nuclei:
    """``n`` ellipses: centre and axis (``y, x``), half-axes (µm), haematoxylin at the centre."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    axis_y: Floats
    axis_x: Floats
    long_um: Floats
    short_um: Floats
    stain: Floats

    def __len__(self) -> int:
        return len(self.y)

    def only(self, which: NDArray[np.bool_] | slice) -> Nuclei:
        """Return some of them."""
        return Nuclei(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def scatter_nuclei(scene: Scene, anatomy: Anatomy, pixels: Grid) -> Nuclei:
    """Return every nucleus that may touch ``pixels``."""
    rows, columns, y, x = _candidates(scene, pixels)

    def draw(what: int) -> Floats:
        return uniform_cells(rows, columns, scene.salt(what))

    depth, grade, lymph = (f.at(y, x) for f in (anatomy.gland, anatomy.grade, anatomy.lymph))
    height = depth - anatomy.lumen.at(y, x)
    alive = (anatomy.tissue.at(y, x) > 4) & (anatomy.cleft.at(y, x) < -2)
    in_gland, clear_of_lumen = depth > 2, anatomy.lumen.at(y, x) < -4
    row_um = 7.5 + 2 * draw(70)
    basal = in_gland & (depth < 12.0 + 3 * grade)
    upper = in_gland & ~basal & (draw(71) < np.where(height > 100, 0.45, 0.7 * (grade - 0.25)))
    gland = (basal | (upper & clear_of_lumen)) & alive
    packed = (lymph > 0) & (draw(72) < 0.93) & alive
    crowd = 0.17 + 0.3 * np.maximum(0, 0.5 + lymph / 60) * (draw(73) < 0.5)
    lone = ~in_gland & (depth < -1.5) & (draw(74) < crowd) & alive & ~packed
    round_one = packed | (lone & (draw(75) < 0.22)) | (upper & gland & (draw(75) < 0.06))
    spindle = lone & ~round_one
    epithelial = gland & ~round_one

    down_y, down_x = (f.at(y, x) for f in anatomy.down)
    pull = np.where(basal & epithelial, np.clip(row_um - depth, -_SHIFT_UM, _SHIFT_UM), 0)
    pull = (pull * (1 - 0.55 * grade)).astype(np.float32)
    flow_y, flow_x = _slope(anatomy, y, x)
    axis_y = np.where(epithelial, down_y, -flow_x) + 0.5 * (draw(76) - 0.5)
    axis_x = np.where(epithelial, down_x, flow_y) + 0.5 * (draw(77) - 0.5)
    length = np.sqrt(axis_y * axis_y + axis_x * axis_x) + np.float32(1e-6)
    vary = 0.8 + 0.4 * draw(78)
    long_um = np.where(round_one, 2.9, np.where(spindle, 5.6, 4.6 + 1.2 * grade)) * vary
    short_um = np.where(round_one, 2.7, np.where(spindle, 1.5, 2.7 + 0.7 * grade)) * vary
    stain = np.where(round_one, 1.45, np.where(spindle, 1.0, 1.0 + 0.25 * grade))
    nuclei = Nuclei(
        y=y + (pull * down_y).astype(np.float64),
        x=x + (pull * down_x).astype(np.float64),
        axis_y=(axis_y / length).astype(np.float32),
        axis_x=(axis_x / length).astype(np.float32),
        long_um=long_um.astype(np.float32),
        short_um=short_um.astype(np.float32),
        stain=(stain * (0.75 + 0.5 * draw(79))).astype(np.float32),
    )
    return nuclei.only(epithelial | spindle | round_one)


def _candidates(
    scene: Scene, pixels: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    reach = _SHIFT_UM + _LARGEST_UM + 1
    if reach + _PITCH_UM > REACH_UM:
        raise ValueError("Nuclei reach further than the fields around a rectangle are known.")
    low_y, high_y = np.floor((pixels.y[[0, -1]] + (-reach, reach)) / _PITCH_UM).astype(int)
    low_x, high_x = np.floor((pixels.x[[0, -1]] + (-reach, reach)) / _PITCH_UM).astype(int)
    rows, columns = (
        part.ravel()
        for part in np.meshgrid(
            np.arange(low_y, high_y + 1), np.arange(low_x, high_x + 1), indexing="ij"
        )
    )
    y = (rows + uniform_cells(rows, columns, scene.salt(68)).astype(np.float64)) * _PITCH_UM
    x = (columns + uniform_cells(rows, columns, scene.salt(69)).astype(np.float64)) * _PITCH_UM
    return rows, columns, y, x


def _slope(
    anatomy: Anatomy, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[Floats, Floats]:
    flow = anatomy.flow
    return flow.at(y + 1, x) - flow.at(y - 1, x), flow.at(y, x + 1) - flow.at(y, x - 1)


def stamp(nuclei: Nuclei, pixels: Grid) -> Floats:
    """Return the haematoxylin of the nuclei at every pixel: where two overlap, the darker."""
    out = np.zeros(pixels.shape, np.float32)
    # Small ones and large ones apart: a stamp is as wide as the largest of its batch.
    small = nuclei.long_um < 3.6
    for group, radius_um in ((nuclei.only(small), 3.6), (nuclei.only(~small), _LARGEST_UM)):
        half = int(np.ceil(radius_um / pixels.step_um)) + 1
        for start in range(0, len(group), _BATCH):
            _stamp_batch(out, group.only(slice(start, start + _BATCH)), pixels, half)
    return out


def _stamp_batch(out: Floats, nuclei: Nuclei, pixels: Grid, half: int) -> None:
    h, w = out.shape
    step = pixels.step_um
    offsets = np.arange(-half, half + 1)
    rows = np.floor((nuclei.y - pixels.y[0]) / step + 0.5).astype(np.int64)[:, None] + offsets
    columns = np.floor((nuclei.x - pixels.x[0]) / step + 0.5).astype(np.int64)[:, None] + offsets
    at_y = pixels.y[np.clip(rows, 0, h - 1)]
    at_x = pixels.x[np.clip(columns, 0, w - 1)]
    dy = (at_y - nuclei.y[:, None]).astype(np.float32)
    dx = (at_x - nuclei.x[:, None]).astype(np.float32)
    along_y, along_x = nuclei.axis_y[:, None], nuclei.axis_x[:, None]
    u = (
        ((dy * along_y / nuclei.long_um[:, None])[:, :, None])
        + ((dx * along_x / nuclei.long_um[:, None])[:, None, :])
    )
    v = (
        ((dx * along_y / nuclei.short_um[:, None])[:, None, :])
        - ((dy * along_x / nuclei.short_um[:, None])[:, :, None])
    )
    u *= u
    v *= v
    u += v
    # Flat inside, falling off over the rim: (1 − r⁴) reads as a nucleus with a crisp membrane.
    u *= u
    np.subtract(1, u, out=u)
    u *= nuclei.stain[:, None, None] * np.float32(1.35)
    np.minimum(u, nuclei.stain[:, None, None], out=u)
    inside = (u > 0) & ((rows >= 0) & (rows < h))[:, :, None]
    inside &= ((columns >= 0) & (columns < w))[:, None, :]
    flat = (rows * w)[:, :, None] + columns[:, None, :]
    np.maximum.at(out.reshape(-1), flat[inside], u[inside])
