"""Evolution: the rows that promise most, found by crossing and mutating on predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..role_classes import RoleClass
from .coding import Coding, Rows

Vector = NDArray[np.float64]
Predict = Callable[[Rows], tuple[Vector, Vector]]
"""Returns latency and hoped cost [n] of rows, both lower is better; infinite latency for what cannot be used."""


class Evolution:
    """Keeps the best row in each of many slices of latency, and makes new ones of them."""

    def __init__(self, coding: Coding, classes: Sequence[RoleClass], seed: int, slices: int = 48) -> None:
        """Begin with nothing.

        Args:
            coding: Of the space.
            classes: Role classes, whose neighbours are mutated together.
            seed: Of all random choices.
            slices: Of the range of latency.
        """
        self._coding, self._classes, self._slices = coding, tuple(classes), slices
        self._rng = np.random.default_rng(seed)

    def run(self, start: Rows, predict: Predict, generations: int, children: int) -> Rows:
        """Return the rows that were best in their slice of latency at the end, and those of the last generations.

        Args:
            start: Rows [n, variables] to begin with.
            predict: What they promise.
            generations: How often children are made.
            children: How many at a time.
        """
        rows = self._legal(start)
        ms, cost = predict(rows)
        kept = self._best(ms, cost)
        rows, ms, cost = rows[kept], ms[kept], cost[kept]
        for _ in range(generations if len(rows) else 0):
            new = self._legal(self._children(rows, children))
            new = new[~(new[:, None, :] == rows[None, :, :]).all(axis=2).any(axis=1)]
            if not len(new):
                continue
            new_ms, new_cost = predict(new)
            rows, ms, cost = np.concatenate([rows, new]), np.append(ms, new_ms), np.append(cost, new_cost)
            kept = self._best(ms, cost)
            rows, ms, cost = rows[kept], ms[kept], cost[kept]
        return rows

    def _legal(self, rows: Rows) -> Rows:
        """Return the rows of the legal plans that these stand for, each once.

        What they say of dropped blocks, or of other networks, is no part of a plan: models know nothing of it.
        """
        found = np.array([self._coding.row(self._coding.plan(row)) for row in rows])
        return np.asarray(np.unique(found.reshape(rows.shape), axis=0))

    def _best(self, ms: Vector, cost: Vector) -> NDArray[np.int64]:
        """Return the numbers of the best two of each slice of latency, of those that can be used."""
        usable = np.flatnonzero(np.isfinite(ms))
        if not len(usable):
            return usable
        logs = np.log(np.maximum(ms[usable], 1e-12))
        span = max(float(np.ptp(logs)), 1e-12)
        slices = np.minimum(self._slices - 1, ((logs - logs.min()) / span * self._slices).astype(int))
        order = np.lexsort((cost[usable], slices))
        ordered = slices[order]
        second = np.ones(len(order), dtype=bool)
        second[2:] = ordered[2:] != ordered[:-2]
        return usable[order[second]]

    def _children(self, parents: Rows, count: int) -> Rows:
        rng, network = self._rng, self._coding.network
        first = rng.integers(0, len(parents), count)
        near = np.clip(first + rng.integers(-6, 7, count), 0, len(parents) - 1)  # rows of one slice lie together
        second = np.where(rng.random(count) < 0.7, near, rng.integers(0, len(parents), count))
        mixed = rng.random((count, parents.shape[1])) < rng.choice([0.0, 0.5], (count, 1), p=[0.4, 0.6])
        rows = np.where(mixed, parents[second], parents[first])
        for row in rows:
            kind = rng.random()
            if kind < 0.55 or not self._classes:
                self._point(row)
            elif kind < 0.9:
                self._stretch(row)
            if rng.random() < 0.3 and len(row) > network:
                self._outside(row)
        return rows

    def _point(self, row: Rows) -> None:
        """Let one to three network variables take another option, mostly a neighbouring one."""
        levels = self._coding.levels
        for _ in range(self._rng.integers(1, 4)):
            place = self._rng.integers(0, max(1, self._coding.network))
            if self._coding.network and levels[place] > 1:
                row[place] = self._other(int(row[place]), int(levels[place]))

    def _stretch(self, row: Rows) -> None:
        """Let neighbouring variables of one class, or all of them, take one option or move one step together."""
        rng = self._rng
        places = self._classes[rng.integers(0, len(self._classes))].places
        first = rng.integers(0, len(places))
        some = np.array(places if rng.random() < 0.3 else places[first : first + rng.integers(1, len(places) + 1)])
        last = self._coding.levels[some] - 1
        if rng.random() < 0.5:
            row[some] = np.clip(row[some] + rng.choice([-1, 1]), 0, last)
        else:
            row[some] = np.round(rng.random() * last)

    def _outside(self, row: Rows) -> None:
        """Change one decision outside the network."""
        rng = self._rng
        place = rng.integers(self._coding.network, len(row))
        levels = int(self._coding.levels[place])
        if levels:
            row[place] = rng.integers(0, levels)
        elif rng.random() < 0.2:
            row[place] = rng.random()
        else:
            row[place] = np.clip(row[place] + 0.15 * rng.normal(), 0.0, 1.0)

    def _other(self, option: int, levels: int) -> int:
        if self._rng.random() < 0.6:
            moved = option + int(self._rng.choice([-1, 1]))
            return moved if 0 <= moved < levels else option
        return int(self._rng.integers(0, levels))
