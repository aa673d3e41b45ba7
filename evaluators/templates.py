"""A network's graph, exported once for each batch and for each structure of students."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from torch import nn

from ..compression.edits import Parent, edited
from ..compression.export import Template, make_template
from ..compression.template_cut import cut_template
from ..compression.template_factored import factor_template
from ..spaces.inputs import Inputs, joined
from ..spaces.spec import PLAIN, StudentSpec
from .kept_templates import kept_template

ANY_BATCH, COMPARED = 0, -1
"""A batch that is a symbol while a network is exported, and one that is freed where two exports differ."""
KEPT = 8
"""Templates kept at a time: each holds a whole graph, without weights."""


class Templates:
    """A network's graph, exported once for each batch and for each structure: an export takes seconds.

    What lacks blocks is cut out of the graph that has them, and factored layers are put into that of whole ones. The
    least recently used are forgotten when there are more than `KEPT`.

    Attributes:
        network: The network, in eval mode.
        exact: Whether templates are of this very network; else they take the weights of its students.
    """

    def __init__(
        self, network: nn.Module, example_input: Inputs, exact: bool = False, parent: Parent | None = None
    ) -> None:
        """Export nothing yet.

        Args:
            network: The network, in eval mode.
            example_input: One input, [1, ...].
            exact: See the class and `compression.export.make_template`.
            parent: The network, with all that students may lack or have otherwise; the network alone if None.
        """
        self.network, self.exact, self._parent = network, exact, parent or Parent(network)
        self._example = example_input
        self._made: OrderedDict[tuple[int, StudentSpec], Template] = OrderedDict()
        self._exported: set[tuple[int, StudentSpec]] = set()

    def get(self, batch: int, structure: StudentSpec = PLAIN) -> Template:
        """Return the template for a batch.

        Args:
            batch: Inputs at a time; 1 leaves the batch free, as COMPARED and ANY_BATCH do in other ways.
            structure: What became of the network's graph; see `StudentSpec.structure`.

        Raises:
            ExportError: The network has an operator that cannot be exported.
            TrialFailed: The network cannot become so.
        """
        key = (batch, structure)
        if key not in self._made:
            made = self._derived(key)
            self._made[key] = made or self.exported(edited(self._parent, structure)[0], batch, self.exact)
        self._made.move_to_end(key)
        while len(self._made) > KEPT:
            self._made.popitem(last=False)
        return self._made[key]

    def export_anew(self, batch: int, structure: StudentSpec) -> bool:
        """Export a structure that was made of another one's graph by itself, when it is asked for next.

        Returns:
            False where it was not made so.
        """
        key = (batch, structure)
        if key in self._exported or not _is_derived(structure) or self.exact:
            return False
        self._exported.add(key)
        self._made.pop(key, None)
        return True

    def _derived(self, key: tuple[int, StudentSpec]) -> Template | None:
        batch, structure = key
        if key in self._exported or not _is_derived(structure) or self.exact:
            return None
        if structure.dropped:
            made = self._cut(batch, structure)
        else:
            made = factor_template(self.get(batch, replace(structure, factors={})), structure.factors)
        if made is None:
            self._exported.add(key)
        return made

    def _cut(self, batch: int, structure: StudentSpec) -> Template | None:
        gone = [
            replace(block, layers=tuple(structure.realised(dict.fromkeys(block.layers))))
            for block in self._parent.named(structure.student).blocks
            if block.name in structure.dropped
        ]
        network = edited(self._parent, structure)[0]
        return cut_template(self.get(batch, replace(structure, dropped=())), network, gone)

    def teach(self, batch: int, structure: StudentSpec, student: nn.Module, export: Template) -> None:
        """Let the template for a batch learn from a student that had to be exported by itself; see `get`."""
        if made := self._made.get(key := (batch, structure)):
            self._made[key] = made.taught(student, export)

    def exported(self, network: nn.Module, batch: int, exact: bool) -> Template:
        """Export a network; see `get` for the batch, and `compression.export.make_template`.

        What does not depend on its weights is kept for other processes; see `kept_templates`.
        """
        symbolic = batch == ANY_BATCH
        example = self.many(2 if batch == COMPARED else batch or 2)
        other = self.many(3) if batch == COMPARED else None

        def make() -> Template:
            return make_template(network, example, exact, symbolic, other)

        if exact:
            return make()
        examples = (example,) if other is None else (example, other)
        return kept_template(network, *examples, how=f"symbolic {symbolic}", make=make)

    def many(self, count: int) -> Inputs:
        """Return the example input `count` times, [count, ...] each."""
        return joined([self._example] * count)


def exported_whole(structure: StudentSpec) -> StudentSpec:
    """Return the structure that is exported for this one: of its graph, what lacks blocks or has factors is made."""
    return replace(structure, dropped=(), factors={}) if _is_derived(structure) else structure


def _is_derived(structure: StudentSpec) -> bool:
    return bool(structure.dropped or structure.factors)
