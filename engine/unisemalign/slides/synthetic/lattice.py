"""Randomness that depends on place alone: hashes of grid cells, and smooth noise between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
_WORD = 0xFFFFFFFF
_GRAIN_STEPS = 4  # table entries across one grain


def hash_cells(rows: ArrayLike, columns: ArrayLike, salt: int) -> NDArray[np.uint32]:
    """Return 32 well-mixed bits a cell (an xor-multiply finaliser in the manner of MurmurHash)."""
    # At least one axis: NumPy lets arrays overflow in silence, as a hash must, but not scalars.
    r = np.atleast_1d(rows).astype(np.int64).astype(np.uint32)
    c = np.atleast_1d(columns).astype(np.int64).astype(np.uint32)
    bits = r * np.uint32(0x9E3779B1) + np.uint32((salt * 0xC2B2AE3D) & _WORD)
    bits ^= bits >> np.uint32(15)
    bits = bits * np.uint32(0x2C1B3C6D) + c * np.uint32(0x85EBCA77)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x2C1B3C6D)
    bits ^= bits >> np.uint32(12)
    bits *= np.uint32(0x297A2D39)
    bits ^= bits >> np.uint32(15)
    return bits


def uniform_cells(rows: ArrayLike, columns: ArrayLike, salt: int) -> Floats:
    """Return a number in [0, 1) a cell."""
    return (hash_cells(rows, columns, salt) >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


@dataclass(frozen=True)
class Grid:
    """The nodes of a rectangular grid: ``y`` rows and ``x`` columns, in µm, ``step_um`` apart."""

    y: NDArray[np.float64]
    x: NDArray[np.float64]
    step_um: float

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return len(self.y), len(self.x)

    def noise(self, scale_um: float, salt: int) -> Floats:
        """Return smooth value noise in [−1, 1] whose features are about ``scale_um`` wide."""
        rows, fy = _cells_and_fractions(self.y, scale_um)
        columns, fx = _cells_and_fractions(self.x, scale_um)
        values = 2 * uniform_cells(_nodes(rows)[:, None], _nodes(columns), salt) - 1
        return _between(values, rows - rows[0], columns - columns[0], _fade(fy), _fade(fx))

    def grain(self, scale_um: float, salt: int) -> Floats:
        """Return round-grained noise in [−1, 1], without :meth:`noise`'s bias to the axes.

        It repeats after some hundred grains, so it suits texture, not layout.
        """
        step = scale_um / _GRAIN_STEPS
        rows, fy = _cells_and_fractions(self.y, step)
        columns, fx = _cells_and_fractions(self.x, step)
        shift = hash_cells(0, [0, 1], salt).astype(np.int64)
        table = grain_table()
        there = np.ix_(
            (_nodes(rows) + shift[0]) % len(table), (_nodes(columns) + shift[1]) % len(table)
        )
        return _between(table[there], rows - rows[0], columns - columns[0], fy, fx)

    def layered(self, scale_um: float, salt: int) -> Floats:
        """Return two octaves of :meth:`noise`, in about [−1, 1]."""
        coarse = self.noise(scale_um, salt)
        coarse *= np.float32(0.7)
        coarse += np.float32(0.3) * self.noise(scale_um * 0.37, salt + 1)
        return coarse


@lru_cache(maxsize=1)
def grain_table() -> Floats:
    """Return a periodic texture of round grains in [−1, 1]."""
    noise = np.random.default_rng(17).normal(size=(1024, 1024))
    smooth = ndimage.gaussian_filter(noise, 0.45 * _GRAIN_STEPS, mode="wrap")
    table: Floats = np.clip(smooth / (2.2 * smooth.std()), -1, 1).astype(np.float32)
    return table


class Field:
    """Values known at the nodes of a global lattice of ``step_um``, linear between them."""

    def __init__(self, values: Floats, first: tuple[int, int], step_um: float) -> None:
        self.values = values
        self._first = first
        self._step_um = step_um

    def on(self, grid: Grid) -> Floats:
        """Return the values at the nodes of ``grid``, ``(rows, columns)``."""
        rows, fy = _cells_and_fractions(grid.y, self._step_um)
        columns, fx = _cells_and_fractions(grid.x, self._step_um)
        return _between(self.values, rows - self._first[0], columns - self._first[1], fy, fx)

    def at(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> Floats:
        """Return the values at points ``y, x`` (µm)."""
        rows, fy = _cells_and_fractions(y, self._step_um)
        columns, fx = _cells_and_fractions(x, self._step_um)
        rows, columns = rows - self._first[0], columns - self._first[1]
        v = self.values
        top = v[rows, columns] * (1 - fx) + v[rows, columns + 1] * fx
        bottom = v[rows + 1, columns] * (1 - fx) + v[rows + 1, columns + 1] * fx
        return (top * (1 - fy) + bottom * fy).astype(np.float32)


def _cells_and_fractions(
    coordinates: NDArray[np.float64], step: float
) -> tuple[NDArray[np.int64], Floats]:
    scaled = coordinates / step
    cells = np.floor(scaled)
    return cells.astype(np.int64), (scaled - cells).astype(np.float32)


def _nodes(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.arange(cells[0], cells[-1] + 2)


def _fade(fraction: Floats) -> Floats:
    result: Floats = fraction * fraction * (3 - 2 * fraction)
    return result


def _between(
    values: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64], fy: Floats, fx: Floats
) -> Floats:
    """Interpolate between four nodes; along x first, where there are few rows to do."""
    first, last = int(rows[0]), int(rows[-1]) + 2
    few = values[first:last]
    along_x = few[:, columns]
    along_x += (few[:, columns + 1] - along_x) * fx
    rows = rows - first
    out: Floats = along_x[rows]
    step = along_x[1:] - along_x[:-1]
    out += step[rows] * fy[:, None]
    return out
