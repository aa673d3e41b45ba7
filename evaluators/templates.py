"""Exports of a network, kept: every student of it is written into one of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from torch import nn

from ..compression.export import Template, make_template
from ..compression.student import replaced
from ..spaces.inputs import Inputs, joined

ANY_BATCH, COMPARED = 0, -1
"""A batch that is a symbol while a network is exported, and one that is freed where two exports differ."""
KEPT = 8
"""Templates kept at a time: each holds a whole graph."""


class Templates:
    """A network's graph, exported once for each batch and for each set of replaced modules: an export takes seconds.

    The least recently used are forgotten when there are more than `KEPT`.

    Attributes:
        network: The network, in eval mode.
        exact: Whether templates are of this very network; else they take the weights of its students.
    """

    def __init__(self, network: nn.Module, example_input: Inputs, exact: bool = False) -> None:
        """Export nothing yet.

        Args:
            network: The network, in eval mode.
            example_input: One input, [1, ...].
            exact: See the class and `compression.export.make_template`.
        """
        self.network, self.exact = network, exact
        self._example = example_input
        self._made: OrderedDict[tuple[Any, ...], Template] = OrderedDict()

    def get(self, batch: int, replacements: Mapping[str, str] | None = None) -> Template:
        """Return the template for a batch.

        Args:
            batch: Inputs at a time; 1 leaves the batch free, as COMPARED and ANY_BATCH do in other ways.
            replacements: Modules of the network that students have replaced; see `StudentSpec.replacements`.

        Raises:
            ExportError: The network has an operator that cannot be exported.
            TrialFailed: A replacement cannot be.
        """
        key = (batch, *sorted((replacements or {}).items()))
        if key not in self._made:
            network = replaced(self.network, replacements) if replacements else self.network
            self._made[key] = self.exported(network, batch, self.exact)
        self._made.move_to_end(key)
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[key]

    def teach(self, batch: int, replacements: Mapping[str, str], student: nn.Module, export: Template) -> None:
        """Let the template for a batch learn from a student that had to be exported by itself; see `get`."""
        if made := self._made.get(key := (batch, *sorted(replacements.items()))):
            self._made[key] = made.taught(student, export)

    def exported(self, network: nn.Module, batch: int, exact: bool) -> Template:
        """Export a network; see `get` for the batch, and `compression.export.make_template`."""
        if batch == COMPARED:
            return make_template(network, self.many(2), exact, compared_with=self.many(3))
        return make_template(network, self.many(batch or 2), exact, symbolic_batch=batch == ANY_BATCH)

    def many(self, count: int) -> Inputs:
        """Return the example input `count` times, [count, ...] each."""
        return joined([self._example] * count)
