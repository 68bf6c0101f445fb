"""What lies where: tissue, glands, lumina, lymphocytes, clefts and folds, in µm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unisemalign.geometry import Rect
from unisemalign.slides.synthetic.lattice import Field, Floats, Grid, uniform_cells

CLASSES: tuple[str, ...] = ("glass", "stroma", "epithelium", "lumen", "lymphocytes")
"""Names in order of value: 1 is glass, 5 is lymphocytes."""
GLASS, STROMA, EPITHELIUM, LUMEN, LYMPHOCYTES = range(1, 6)

LATTICE_UM = 3.0
REACH_UM = 24.0  # how far around a rectangle the fields are known: nuclei hang in from there
_GLAND_PITCH_UM = 205.0
_PART_PX = 1024
_WALL_UM = 7.0  # stroma left between two glands that would touch


@dataclass(frozen=True)
class Scene:
    """One drawn slide: its physical size and its seed. The same at any pixel size."""

    side_um: float
    seed: int

    def salt(self, what: int) -> int:
        """Return a salt of its own for each kind of randomness."""
        return (self.seed * 0x9E3779B1 + what * 0x61C88647) & 0xFFFFFFFF

    def draw(self, what: int) -> float:
        """Return one number in [0, 1) that holds for the whole slide."""
        return float(uniform_cells(0, 0, self.salt(what))[0])


@dataclass(frozen=True)
class Anatomy:
    """The slow fields around a rectangle, each positive inside what it is named after (µm)."""

    tissue: Field
    gland: Field
    """Depth below the gland's basement membrane; negative outside."""
    lumen: Field
    """Depth below the epithelium's apical border."""
    lymph: Field
    cleft: Field
    grade: Field
    """0 calm … 1 crowded, dark, many-rowed epithelium."""
    mucus: Field
    """0 … 1: how much of the epithelium's upper half is pale mucin."""
    secretion: Field
    """0 … 1: how pink the lumen is filled."""
    down: tuple[Field, Field]
    """Unit-less direction ``(y, x)`` into the gland."""
    flow: Field
    """Stroma's cross-fibre coordinate (µm): fibres follow its contours."""


def pixel_grid(rect: Rect, spacing_um: float) -> Grid:
    """Return the pixel centres of ``rect`` in µm."""
    rows = np.arange(rect.y, rect.y1, dtype=np.float64)
    columns = np.arange(rect.x, rect.x1, dtype=np.float64)
    return Grid((rows + 0.5) * spacing_um, (columns + 0.5) * spacing_um, spacing_um)


def survey(scene: Scene, pixels: Grid) -> Anatomy:
    """Work out the slow fields on the lattice that covers ``pixels`` and its surroundings."""
    rows, columns = _lattice_nodes(pixels.y), _lattice_nodes(pixels.x)
    first = int(rows[0]), int(columns[0])
    nodes = Grid(rows * np.float64(LATTICE_UM), columns * np.float64(LATTICE_UM), LATTICE_UM)

    def field(values: NDArray[np.floating]) -> Field:
        return Field(np.ascontiguousarray(values, np.float32), first, LATTICE_UM)

    glands = _glands(scene, nodes)
    tissue = _tissue(scene, nodes)
    lymph = np.minimum(_lymph(scene, nodes), np.minimum(-glands.depth - 4, tissue - 8))
    cleft = np.minimum(_cleft(scene, nodes), -glands.depth - 3)
    down_y, down_x = (np.gradient(glands.depth, LATTICE_UM, axis=axis) for axis in (0, 1))
    return Anatomy(
        tissue=field(tissue),
        gland=field(np.minimum(glands.depth, tissue - 12)),
        lumen=field(np.minimum(glands.depth - glands.height, tissue - 30)),
        lymph=field(lymph),
        cleft=field(cleft),
        grade=field(glands.grade),
        mucus=field(glands.mucus),
        secretion=field(glands.secretion),
        down=(field(down_y), field(down_x)),
        flow=field(_flow(scene, nodes, glands.depth)),
    )


def _lattice_nodes(coordinates: NDArray[np.float64]) -> NDArray[np.int64]:
    low = int(np.floor((coordinates[0] - REACH_UM) / LATTICE_UM))
    high = int(np.floor((coordinates[-1] + REACH_UM) / LATTICE_UM))
    return np.arange(low - 1, high + 3)


@dataclass
class _Glands:
    depth: Floats
    height: Floats
    grade: Floats
    mucus: Floats
    secretion: Floats


def _glands(scene: Scene, nodes: Grid) -> _Glands:
    """Find the gland each node is deepest in; the bisector between two of them stays stroma."""
    y = nodes.y[:, None] + 15 * nodes.layered(70, scene.salt(1)).astype(np.float64)
    x = nodes.x[None, :] + 15 * nodes.layered(70, scene.salt(3)).astype(np.float64)
    cell_y = np.floor(y / _GLAND_PITCH_UM).astype(np.int64)
    cell_x = np.floor(x / _GLAND_PITCH_UM).astype(np.int64)
    best = np.full(nodes.shape, -60, np.float32)
    second = best.copy()
    owner_y, owner_x = cell_y.copy(), cell_x.copy()
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            depth = _gland_depth(scene, cell_y + dy, cell_x + dx, y, x)
            nearer = depth > best
            second = np.where(nearer, best, np.maximum(second, depth))
            best = np.where(nearer, depth, best)
            owner_y = np.where(nearer, cell_y + dy, owner_y)
            owner_x = np.where(nearer, cell_x + dx, owner_x)
    depth = np.minimum(best, (best - second) - _WALL_UM)
    return _gland_traits(scene, owner_y, owner_x, depth)


def _gland_depth(
    scene: Scene,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
) -> Floats:
    """Return about how many µm each node lies inside the ellipse of gland ``row, column``."""
    # Few glands, many nodes: each gland is worked out once and looked up.
    r0, c0 = int(row.min()), int(column.min())
    rows = np.arange(r0, int(row.max()) + 1)[:, None]
    columns = np.arange(c0, int(column.max()) + 1)
    traits = _ellipses(scene, rows, columns)
    at = (row - r0) * len(columns) + (column - c0)
    centre_y, centre_x, along_y, along_x, long_um, short_um = (t.ravel()[at] for t in traits)
    py, px = (y - centre_y).astype(np.float32), (x - centre_x).astype(np.float32)
    u = (py * along_y + px * along_x) / long_um
    v = (px * along_y - py * along_x) / short_um
    k0 = np.sqrt(u * u + v * v) + np.float32(1e-4)
    u /= long_um
    v /= short_um
    k1 = np.sqrt(u * u + v * v) + np.float32(1e-4) / short_um
    result: Floats = k0 * (1 - k0) / k1
    return result


def _ellipses(
    scene: Scene, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.float64] | Floats, ...]:
    """Return centre y and x, axis y and x, long and short half-axis (µm) of each gland cell."""
    u = [uniform_cells(rows, columns, scene.salt(10 + i)) for i in range(6)]
    centre_y = (rows + 0.28 + 0.44 * u[0].astype(np.float64)) * _GLAND_PITCH_UM
    centre_x = (columns + 0.28 + 0.44 * u[1].astype(np.float64)) * _GLAND_PITCH_UM
    along_y, along_x = u[2] * 2 - 1, u[3] * 2 - 1
    length = np.sqrt(along_y * along_y + along_x * along_x) + np.float32(1e-6)
    size = 52 + 40 * u[4]
    stretch = 1.05 + 0.55 * u[5] * u[5]
    there = _gland_probability(scene, rows, columns) > uniform_cells(rows, columns, scene.salt(16))
    size = np.where(there, size, np.float32(1))
    return (
        *(centre_y, centre_x, along_y / length, along_x / length),
        *((size * stretch).astype(np.float32), (size / stretch).astype(np.float32)),
    )


def _gland_probability(scene: Scene, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Floats:
    """Return the chance of a gland: low in patches of bare stroma and muscle."""
    patch = uniform_cells(rows // 3, columns // 3, scene.salt(17))
    return np.where(patch < 0.2, 0.3, 0.92).astype(np.float32)


def _gland_traits(
    scene: Scene, row: NDArray[np.int64], column: NDArray[np.int64], depth: Floats
) -> _Glands:
    grade = uniform_cells(row, column, scene.salt(20))
    height = 20 + 14 * uniform_cells(row, column, scene.salt(21)) + 6 * grade
    solid = uniform_cells(row, column, scene.salt(22)) < 0.12
    mucus = np.where(grade < 0.6, uniform_cells(row, column, scene.salt(23)), np.float32(0.05))
    filled = uniform_cells(row, column, scene.salt(24))
    return _Glands(
        depth=depth,
        height=np.where(solid, np.float32(300), height).astype(np.float32),
        grade=np.where(solid, np.float32(1), grade).astype(np.float32),
        mucus=np.where(solid, np.float32(0), mucus).astype(np.float32),
        secretion=np.where(filled > 0.75, filled, np.float32(0)).astype(np.float32),
    )


def _tissue(scene: Scene, nodes: Grid) -> Floats:
    """Return depth (µm, roughly) below the outline of the piece of tissue."""
    side = scene.side_um
    half = side / 2
    v = ((nodes.y - half * (0.96 + 0.08 * scene.draw(30))) / (0.46 * side))[:, None]
    u = ((nodes.x - half * (0.96 + 0.08 * scene.draw(31))) / (0.46 * side))[None, :]
    radius = np.sqrt(np.sqrt(v**4 + u**4))
    outline = (1 - radius) * 0.46 * side
    ragged = 0.11 * side * nodes.layered(side * 0.3, scene.salt(32)) + 14 * nodes.layered(
        60, scene.salt(34)
    )
    result: Floats = (outline + ragged).astype(np.float32)
    return result


def _lymph(scene: Scene, nodes: Grid) -> Floats:
    """Return depth (µm, roughly) inside aggregates of lymphocytes."""
    depth: Floats = 130 * (nodes.layered(150, scene.salt(40)) - np.float32(0.3))
    return depth


def _cleft(scene: Scene, nodes: Grid) -> Floats:
    """Return depth (µm) inside tears of the stroma: thin, and only here and there."""
    ridge = np.abs(nodes.layered(170, scene.salt(44))) * 90
    where = nodes.noise(260, scene.salt(46))
    depth: Floats = 9 * np.maximum(where - np.float32(0.05), -1) - ridge
    return depth


def _flow(scene: Scene, nodes: Grid, depth: Floats) -> Floats:
    """Return a coordinate whose contours run around glands and wave elsewhere."""
    turn = scene.draw(50) * 2 - 1
    slope_y, slope_x = turn, 1 - abs(turn)
    wave = 70 * nodes.layered(190, scene.salt(51)) + 16 * nodes.layered(45, scene.salt(53))
    around = np.float32(0.9) * np.maximum(depth, -45)
    plane = nodes.y[:, None] * slope_y + nodes.x[None, :] * slope_x
    return (plane + wave - around).astype(np.float32)


@dataclass(frozen=True)
class Edges:
    """Signed depths (µm) at every pixel, with the fine raggedness that real borders have."""

    tissue: Floats
    gland: Floats
    lumen: Floats
    lymph: Floats
    cleft: Floats

    def classes(self) -> NDArray[np.uint8]:
        """Return the class value of every pixel."""
        out = np.full(self.tissue.shape, STROMA, np.uint8)
        out[self.lymph > 0] = LYMPHOCYTES
        out[self.cleft > 0] = GLASS
        out[self.gland > 0] = EPITHELIUM
        out[self.lumen > 0] = LUMEN
        out[self.tissue <= 0] = GLASS
        return out


def edges(scene: Scene, anatomy: Anatomy, pixels: Grid) -> Edges:
    """Return the depths at every pixel of ``pixels``."""
    ragged = np.float32(2.2) * pixels.grain(12, scene.salt(60))
    apical = np.float32(3.5) * pixels.grain(10, scene.salt(61))
    return Edges(
        tissue=anatomy.tissue.on(pixels) + 2 * ragged,
        gland=anatomy.gland.on(pixels) + ragged,
        lumen=anatomy.lumen.on(pixels) + apical,
        lymph=anatomy.lymph.on(pixels) + 2 * ragged,
        cleft=anatomy.cleft.on(pixels) + ragged,
    )


def truth(rect: Rect, *, size_px: int, seed: int = 0, spacing_um: float = 0.5) -> NDArray[np.uint8]:
    """Return the class of every pixel of ``rect``: ``(h, w)``, 1 … ``len(CLASSES)``.

    Lymphocytes are aggregates; a lone lymphocyte belongs to the tissue it lies in. Clefts in the
    stroma are glass; the white inside a gland is lumen. Pen and folds hide nothing from the truth.
    """
    scene = Scene(size_px * spacing_um, seed)
    out = np.empty(rect.shape, np.uint8)
    for part in parts(rect):
        pixels = pixel_grid(part, spacing_um)
        classes = edges(scene, survey(scene, pixels), pixels).classes()
        out[part.relative_to(rect).slices] = classes
    return out


def parts(rect: Rect) -> Iterator[Rect]:
    """Cut ``rect`` into pieces that are cheap to hold: drawing needs some thirty floats a pixel."""
    for y in range(rect.y, rect.y1, _PART_PX):
        for x in range(rect.x, rect.x1, _PART_PX):
            yield Rect(y, x, min(_PART_PX, rect.y1 - y), min(_PART_PX, rect.x1 - x))
