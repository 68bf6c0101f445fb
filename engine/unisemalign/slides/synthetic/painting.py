"""From anatomy to colour: two stains, their absorbance, the camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unisemalign.geometry import Rect
from unisemalign.slides.synthetic.anatomy import (
    Anatomy,
    Edges,
    Scene,
    edges,
    parts,
    pixel_grid,
    survey,
)
from unisemalign.slides.synthetic.lattice import Floats, Grid, hash_cells
from unisemalign.slides.synthetic.nuclei import scatter_nuclei, stamp

_FIBRE_TABLE = 1024
_OD_STEPS = 512  # table entries per unit of optical density
_OD_MOST = 6


@dataclass(frozen=True)
class Stain:
    """How one laboratory and scanner show the two stains.

    Haematoxylin and eosin absorb red, green and blue along the vectors of Ruifrok and Johnston
    (Anal Quant Cytol Histol 23, 2001). Slides differ: eosin is drawn between that vector and the
    one of Macenko et al. (ISBI 2009), the vectors tilt and the amounts scale by about the ±20 %
    which Tellez et al. (Med Image Anal 58, 2019) use for strong H&E augmentation.

    Attributes
    ----------
    vectors
        ``(2, 3)``: haematoxylin and eosin to natural optical density of red, green, blue.
    amounts
        Scale of each stain.
    glass
        ``(3,)`` what the camera shows of bare glass, 0…255.
    """

    vectors: Floats
    amounts: tuple[float, float]
    glass: Floats

    @classmethod
    def of(cls, seed: int) -> Stain:
        """Draw the laboratory and scanner number ``seed``."""
        u = np.random.default_rng([7, seed]).uniform(-1, 1, 12).astype(np.float32)
        h = np.array([0.65, 0.70, 0.29], np.float32) + 0.07 * u[0:3]
        ruifrok, macenko = np.array([[0.07, 0.99, 0.11], [0.216, 0.801, 0.558]], np.float32)
        e = ruifrok + (0.5 + 0.35 * u[3]) * (macenko - ruifrok) + 0.04 * u[4:7]
        vectors = np.stack([v / np.sqrt((v * v).sum()) for v in (h, np.maximum(e, 0.02))])
        glass = 243 + 5 * u[9] + 3 * np.array([0, u[10], u[11]], np.float32)
        amounts = 1 + 0.22 * float(u[7]), 1 + 0.25 * float(u[8])
        return cls(vectors.astype(np.float32), amounts, glass.astype(np.float32))


def image(
    rect: Rect,
    *,
    size_px: int,
    seed: int = 0,
    spacing_um: float = 0.5,
    stain_seed: int | None = None,
) -> NDArray[np.uint8]:
    """Return the colours of ``rect``: ``(h, w, 3)`` RGB.

    Light follows Beer and Lambert: ``I = glass · exp(−OD)``, plus the camera's noise.

    Parameters
    ----------
    rect
        Pixels of the slide. Beyond its border the same scene goes on.
    size_px
        Side of the whole slide: with ``spacing_um`` it fixes the piece of tissue.
    seed, stain_seed
        What is drawn, and how it is stained (``None``: by ``seed`` too).
    """
    scene = Scene(size_px * spacing_um, seed)
    stain = Stain.of(seed if stain_seed is None else stain_seed)
    out = np.empty((*rect.shape, 3), np.uint8)
    for part in parts(rect):
        pixels = pixel_grid(part, spacing_um)
        amounts = _stains(scene, survey(scene, pixels), pixels)
        seen = _expose(part, scene, stain, amounts, _pen(scene, pixels))
        out[part.relative_to(rect).slices] = seen
    return out


def _stains(scene: Scene, anatomy: Anatomy, pixels: Grid) -> tuple[Floats, Floats]:
    """Return the amounts of haematoxylin and eosin at every pixel."""
    edge = edges(scene, anatomy, pixels)
    fine = pixels.grain(2.4, scene.salt(80))
    h, e = _stroma(scene, anatomy, pixels, fine)
    _lay(h, e, _soft(edge.lymph, 12), 0.24, 0.22)
    gland_h, gland_e = _epithelium(scene, anatomy, edge, pixels, fine)
    _lay(h, e, _soft(edge.gland, 1.5), gland_h, gland_e)
    filling: Floats = anatomy.secretion.on(pixels)
    filling *= 0.75 + 0.35 * pixels.noise(14, scene.salt(83))
    wisps = np.maximum(0, pixels.grain(12, scene.salt(84)) - np.float32(0.3))
    _lay(h, e, _soft(edge.lumen, 1.5), 0.10 * wisps, np.float32(0.42) * filling)
    nuclei = stamp(scatter_nuclei(scene, anatomy, pixels), pixels)
    _add_nuclei(h, e, nuclei, fine)
    bare = _soft(edge.tissue, 2.5)
    bare *= 1 - _soft(edge.cleft, 1.5) * (edge.gland < 0)
    thickness = 1 + 0.22 * pixels.layered(420, scene.salt(85)) + _fold(scene, pixels)
    bare *= thickness
    h *= bare * (1 + 0.28 * pixels.noise(650, scene.salt(87)))
    e *= bare * (1 + 0.30 * pixels.noise(540, scene.salt(88)))
    return h, e


def _stroma(scene: Scene, anatomy: Anatomy, pixels: Grid, fine: Floats) -> tuple[Floats, Floats]:
    """Return collagen in wavy fibres, looser where it is swollen with water."""
    across = anatomy.flow.on(pixels)
    along = pixels.x[None, :].astype(np.float32) - pixels.y[:, None].astype(np.float32)
    fibre = _look_up(scene.seed, across * np.float32(1.6), along * np.float32(0.16))
    coarse = _look_up(scene.seed + 1, across * np.float32(0.35), along * np.float32(0.05))
    loose = np.clip(0.5 + 0.9 * pixels.noise(120, scene.salt(90)), 0, 1)
    e = 0.40 + 0.17 * fibre + 0.13 * coarse + 0.07 * fine - 0.17 * loose
    h = 0.12 + 0.05 * fibre + 0.03 * fine + 0.09 * pixels.layered(80, scene.salt(91))
    return np.maximum(h, 0.01), np.maximum(e, 0.04)


def _epithelium(
    scene: Scene, anatomy: Anatomy, edge: Edges, pixels: Grid, fine: Floats
) -> tuple[Floats, Floats]:
    """Return cytoplasm: bluer in crowded glands, with pale goblets of mucin towards the lumen."""
    grade = anatomy.grade.on(pixels)
    h = 0.16 + 0.20 * grade + 0.05 * fine
    e = 0.36 - 0.08 * grade + 0.06 * fine
    goblet = pixels.grain(9, scene.salt(92)) + anatomy.mucus.on(pixels) - np.float32(0.6)
    pale = np.clip(goblet * 5, 0, 1) * _soft(edge.gland - 11, 4)
    h += pale * (0.10 - h)
    e += pale * (0.05 - e)
    rim = np.maximum(0, 1 - np.abs(edge.lumen + 1.5) * np.float32(0.6))
    e += 0.12 * rim
    return h, e


def _add_nuclei(h: Floats, e: Floats, nuclei: Floats, fine: Floats) -> None:
    """Let nuclei replace what lies under them, with grainy chromatin."""
    cover = np.minimum(nuclei * np.float32(2.2), 1)
    e *= 1 - 0.65 * cover
    h *= 1 - cover
    h += nuclei * (1 + 0.25 * fine)


def _lay(h: Floats, e: Floats, cover: Floats, new_h: float | Floats, new_e: float | Floats) -> None:
    h += cover * (new_h - h)
    e += cover * (new_e - e)


def _soft(depth: Floats, width_um: float) -> Floats:
    """Return 0 outside … 1 inside, over ``width_um`` about the border."""
    out = depth * np.float32(1 / width_um)
    out += np.float32(0.5)
    return np.clip(out, 0, 1, out=out)


@lru_cache(maxsize=8)
def _fibre_table(seed: int) -> Floats:
    """Return a periodic texture in [−1, 1], smooth, longer along its columns' axis."""
    noise = np.random.default_rng([11, seed]).normal(size=(_FIBRE_TABLE, _FIBRE_TABLE))
    smooth = ndimage.gaussian_filter(noise, (1.6, 2.2), mode="wrap")
    table: Floats = np.clip(smooth / (2.2 * smooth.std()), -1, 1).astype(np.float32)
    return table


def _look_up(seed: int, rows: Floats, columns: Floats) -> Floats:
    last = _FIBRE_TABLE - 1
    index = np.floor(rows).astype(np.int32) & last
    index *= _FIBRE_TABLE
    index += np.floor(columns * np.float32(4)).astype(np.int32) & last
    return _fibre_table(seed).ravel().take(index)


def _fold(scene: Scene, pixels: Grid) -> Floats | float:
    """Return how much thicker the tissue lies in one long fold (0 away from it)."""
    if scene.side_um < 700:
        return 0.0
    side = scene.side_um
    y = pixels.y[:, None].astype(np.float32)
    middle = side * (0.2 + 0.6 * scene.draw(100)) + (scene.draw(101) - 0.5) * (y - side / 2)
    middle = middle + 0.05 * side * pixels.noise(0.3 * side, scene.salt(102))
    off = np.abs(pixels.x[None, :].astype(np.float32) - middle.astype(np.float32))
    start = side * (0.15 + 0.35 * scene.draw(103))
    runs = np.clip((y - start) / 70, 0, 1) * np.clip((start + 0.3 * side - y) / 70, 0, 1)
    fold = np.float32(3.6) * np.clip((19 * runs - off) / 5, 0, 1)
    return fold.astype(np.float32)


def _pen(scene: Scene, pixels: Grid) -> Floats | None:
    """Return the ink at every pixel of one stroke near a corner; ``None`` where there is none."""
    side = scene.side_um
    if side < 700:
        return None
    y = pixels.y[:, None].astype(np.float32)
    x = pixels.x[None, :].astype(np.float32)
    bend = np.float32(0.03 * side) * pixels.noise(0.4 * side, scene.salt(110))
    off = np.abs(x + y - np.float32(side * (0.2 + 0.06 * scene.draw(111))) + bend)
    ink = np.clip((np.float32(0.022 * side) - off) / 12, 0, 1)
    ink = ink * (0.8 + 0.2 * pixels.noise(40, scene.salt(112)))
    return ink.astype(np.float32) if bool(ink.any()) else None


_INKS = np.array([[1.9, 1.1, 0.25], [1.8, 0.55, 1.2], [1.9, 1.9, 1.85]], np.float32)


def _expose(
    rect: Rect, scene: Scene, stain: Stain, amounts: tuple[Floats, Floats], ink: Floats | None
) -> NDArray[np.uint8]:
    h = amounts[0] * np.float32(stain.amounts[0] * 1.25)
    e = amounts[1] * np.float32(stain.amounts[1] * 1.15)
    colour = _INKS[int(scene.draw(113) * 3)]
    noise = _camera_noise(rect, scene)
    out = np.empty((*rect.shape, 3), np.uint8)
    for channel in range(3):
        density = h * stain.vectors[0, channel]
        density += e * stain.vectors[1, channel]
        if ink is not None:
            density += ink * colour[channel]
        density *= np.float32(_OD_STEPS)
        index = np.clip(density, 0, _OD_MOST * _OD_STEPS - 1, out=density).astype(np.uint16)
        light = _transmitted(float(stain.glass[channel])).take(index)
        light += noise(channel)
        out[..., channel] = np.clip(light, 0, 255, out=light)
    return out


@lru_cache(maxsize=32)
def _transmitted(glass: float) -> Floats:
    """Return the light behind each step of optical density."""
    density = (np.arange(_OD_MOST * _OD_STEPS) + 0.5) / _OD_STEPS
    light: Floats = (glass * np.exp(-density) + 0.5).astype(np.float32)
    return light


@lru_cache(maxsize=1)
def _quantiles() -> Floats:
    """Return 1024 equally likely values of a normal distribution with σ = 2.5 grey values."""
    draws = np.sort(np.random.default_rng(13).normal(0, 2.5, 1024 * 64)).reshape(1024, 64)
    quantiles: Floats = draws.mean(1).astype(np.float32)
    return quantiles


def _camera_noise(rect: Rect, scene: Scene) -> Callable[[int], Floats]:
    rows, columns = np.arange(rect.y, rect.y1)[:, None], np.arange(rect.x, rect.x1)
    bits = hash_cells(rows, columns, scene.salt(120))
    return lambda channel: _quantiles().take((bits >> np.uint32(10 * channel)) & np.uint32(1023))
