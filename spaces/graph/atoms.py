"""Atoms: the smallest parts of a network that can be removed, joined where they can only go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Labels = NDArray[np.int64]

FIXED = 0
"""The atom of everything that always stays: the network's inputs and outputs, positions, reduced channels."""


class Atoms:
    """A union-find over whole arrays of atoms. Atoms that are joined are removed together, or not at all."""

    def __init__(self) -> None:
        """Know of no atom but FIXED."""
        self._above = np.zeros(1024, dtype=np.int64)
        self._reason = np.zeros(1024, dtype=np.int64)  # 0: it can be removed
        self._count = 1
        self._reasons = ["", "it carries nothing that can be removed"]
        self._reason[FIXED] = 1

    def fresh(self, count: int) -> Labels:
        """Return so many new atoms, none of them joined."""
        made = np.arange(self._count, self._count + count, dtype=np.int64)
        self._count += count
        if self._count > len(self._above):
            more = max(self._count, 2 * len(self._above)) - len(self._above)
            self._above = np.concatenate([self._above, np.zeros(more, dtype=np.int64)])
            self._reason = np.concatenate([self._reason, np.zeros(more, dtype=np.int64)])
        self._above[made] = made
        return made

    def roots(self, labels: Labels) -> Labels:
        """Return the representative of each atom's class, FIXED for all that stay; equal ones are removed together."""
        found = self._above[labels]  # paths are kept short by `join`
        return np.where(self._reason[found] > 0, FIXED, found)

    def join(self, first: Labels, second: Labels, why: str) -> None:
        """Let atoms go together, element by element.

        Args:
            first: Atoms.
            second: Atoms of the same shape. What meets FIXED can no longer be removed.
            why: The reason for that, for the user.
        """
        left, right = self._above[first].ravel(), self._above[second].ravel()
        differ = left != right
        left, right = left[differ], right[differ]
        alone = (left == FIXED) | (right == FIXED)
        self._give(np.maximum(left[alone], right[alone]), self._index_of(why))
        left, right = left[~alone], right[~alone]
        if not len(left):
            return
        known, inverse = np.unique(np.concatenate([left, right]), return_inverse=True)
        pairs = coo_matrix((np.ones(len(left)), (inverse[: len(left)], inverse[len(left) :])), (len(known),) * 2)
        many, part = connected_components(pairs, directed=False)
        lowest = np.full(many, np.iinfo(np.int64).max)
        np.minimum.at(lowest, part, known)
        reason = np.zeros(many, dtype=np.int64)
        np.maximum.at(reason, part, self._reason[known])
        self._reason[lowest] = np.where(self._reason[lowest] > 0, self._reason[lowest], reason)
        new = np.arange(self._count)
        new[known] = lowest[part]
        self._above[: self._count] = new[self._above[: self._count]]

    def pin(self, labels: Labels, why: str) -> None:
        """Let atoms stay for good, with a reason for the user."""
        self._give(self._above[labels].ravel(), self._index_of(why))

    def why_fixed(self, labels: Labels) -> list[str]:
        """Return the reasons why some of these atoms cannot be removed, none where all can."""
        return [self._reasons[i] for i in np.unique(self._reason[self._above[labels]]) if i]

    def _index_of(self, why: str) -> int:
        if why not in self._reasons:
            self._reasons.append(why)
        return self._reasons.index(why)

    def _give(self, roots: Labels, reason: int) -> None:
        self._reason[roots[self._reason[roots] == 0]] = reason
