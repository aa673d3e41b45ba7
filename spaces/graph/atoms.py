"""Atoms: the smallest parts of a network that can be removed, joined where they can only go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

FIXED = 0
"""The atom of everything that always stays: the network's inputs and outputs, positions, reduced channels."""


class Atoms:
    """A union-find over whole arrays of atoms. Atoms that are joined are removed together, or not at all."""

    def __init__(self) -> None:
        """Know of no atom but FIXED."""
        self._room = np.zeros(1024, dtype=np.int64)
        self._count = 1
        self._why: dict[int, str] = {FIXED: "it carries nothing that can be removed"}

    def fresh(self, count: int) -> Labels:
        """Return so many new atoms, none of them joined."""
        made = np.arange(self._count, self._count + count, dtype=np.int64)
        self._count += count
        if self._count > len(self._room):
            self._room = np.resize(self._room, max(self._count, 2 * len(self._room)))
        self._room[made] = made
        return made

    def roots(self, labels: Labels) -> Labels:
        """Return the representative of each atom's class; equal ones are removed together."""
        found = self._room[labels]
        while True:
            above = self._room[found]
            if np.array_equal(above, found):
                return found
            found = above

    def join(self, first: Labels, second: Labels, why: str) -> None:
        """Let atoms go together, element by element.

        Args:
            first: Atoms.
            second: Atoms of the same shape. What meets FIXED can no longer be removed.
            why: The reason for that, for the user.
        """
        left, right = self.roots(first).ravel(), self.roots(second).ravel()
        differ = left != right
        for a, b in np.unique(np.stack([left[differ], right[differ]]), axis=1).T.tolist():
            a, b = self._root(a), self._root(b)
            if a == b:
                continue
            if FIXED in (a, b):
                self._why.setdefault(max(a, b), why)
                continue
            low, high = min(a, b), max(a, b)
            self._room[high] = low
            if high in self._why:
                self._why.setdefault(low, self._why[high])

    def pin(self, labels: Labels, why: str) -> None:
        """Let atoms stay for good, with a reason for the user."""
        for root in np.unique(self.roots(labels)).tolist():
            self._why.setdefault(root, why)

    def why_fixed(self, root: int) -> str | None:
        """Return why a class cannot be removed; None if it can."""
        return self._why.get(root)

    def _root(self, atom: int) -> int:
        while self._room[atom] != atom:
            atom = int(self._room[atom])
        return atom
