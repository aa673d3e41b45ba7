"""Features: what a model of accuracy looks at in a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ....spaces.variables import Variable
from ..role_classes import RoleClass
from .coding import Coding, Rows

Matrix = NDArray[np.float64]
FEW = 5
"""A variable with at most so many options is told option by option; a longer row by a curve."""


class Features:
    """Describes rows by single decisions, by what whole role classes do, and by what was known before any training.

    Single decisions of one class are scaled down by the square root of their number, so that a penalty on weights holds
    a common effect of a class to be as likely as one of each of its variables.
    """

    def __init__(
        self, coding: Coding, classes: Sequence[RoleClass], sensitivity: Mapping[str, tuple[float, ...]]
    ) -> None:
        """Describe rows of `coding`.

        Args:
            coding: Of the space.
            classes: Role classes, the one that carries most of the latency first.
            sensitivity: Variable name -> what each option alone does (nats), of the variables where it is known.
        """
        self._coding, self._classes = coding, classes
        network = coding.variables[: coding.network]
        self._lost = [_lost(v) for v in network]
        self._harm = [_harm(sensitivity[v.name]) if v.name in sensitivity else None for v in network]
        size = {place: len(c.places) for c in classes for place in c.places}
        self._scale = [1 / np.sqrt(size.get(i, 1)) for i in range(len(network))]

    def of(self, rows: Rows) -> Matrix:
        """Return features [n, features] of rows [n, variables]."""
        at = rows[:, : self._coding.network].astype(np.int64)
        lost = (
            np.stack([known[at[:, i]] for i, known in enumerate(self._lost)], axis=1) if at.size else np.zeros(at.shape)
        )
        columns = [*self._single(at, lost), *(common := self._common(at, lost))]
        lead = common[0] if common else np.zeros(len(rows))
        columns += [column * lead for column in common]
        columns += self._guessed(at)
        for place in range(self._coding.network, rows.shape[1]):
            x = rows[:, place]
            if self._coding.levels[place]:
                columns += [(x == level).astype(float) for level in range(1, self._coding.levels[place])]
            else:
                columns += [x, (2 * x - 1) ** 2, x * lead]
        return np.stack(columns, axis=1) if columns else np.zeros((len(rows), 1))

    def _single(self, at: NDArray[np.int64], lost: Matrix) -> list[Matrix]:
        found = []
        for i, levels in enumerate(self._coding.levels[: self._coding.network]):
            if levels <= FEW:
                found += [self._scale[i] * (at[:, i] == level) for level in range(1, levels)]
            else:
                found += [self._scale[i] * lost[:, i], self._scale[i] * lost[:, i] ** 2]
        return found

    def _common(self, at: NDArray[np.int64], lost: Matrix) -> list[Matrix]:
        found = []
        for known in self._classes:
            places = np.array(known.places)
            mine = lost[:, places]
            found.append(mine.mean(axis=1))
            if len(places) > 1:
                half = len(places) // 2
                last = self._coding.levels[places] - 1
                found += [
                    mine[:, :half].mean(axis=1),
                    mine[:, half:].mean(axis=1),
                    (at[:, places] == last).mean(axis=1),
                    (at[:, places] == 0).mean(axis=1),
                    (mine**2).mean(axis=1),
                ]
        return found

    def _guessed(self, at: NDArray[np.int64]) -> list[Matrix]:
        """Return summed sensitivities, bent in several ways: harm need not add up."""
        harms = {place: harm for place, harm in enumerate(self._harm) if harm is not None}
        total = np.zeros(len(at))
        found = []
        for known in self._classes:
            some = [place for place in known.places if place in harms]
            if some:
                harm = np.sum([harms[place][at[:, place]] for place in some], axis=0)
                found.append(np.sqrt(harm / (sum(float(harms[place].max()) for place in some) or 1.0)))
                total = total + harm
        if found:
            part = total / (sum(float(harm.max()) for harm in harms.values()) or 1.0)
            found += [part, np.sqrt(part), np.log1p(50 * part)]
        return found


def _harm(nats: Sequence[float]) -> Matrix:
    return np.maximum(np.nan_to_num(np.array(nats, dtype=np.float64)), 0.0)


def _lost(variable: Variable) -> Matrix:
    """Return how much each option takes away, 0.0 to 1.0: even steps in the logarithm of what it leaves."""
    logs = -np.log(np.maximum(np.array(variable.parts), 1e-3))
    return np.asarray(logs / max(float(logs.max()), 1e-12))
