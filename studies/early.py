"""The weights that a teacher had early in its training, by their names in the graph that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..errors import DataError, ExportError
from ..spaces.graph.interface import Interface
from ..spaces.inputs import Inputs
from .bare import early_network
from .checkpoint import tensors_in
from .tracing import captured_teacher, checked_answers

EarlyWeights = Mapping[str, Tensor] | str | Path
"""A state_dict, or a file that holds one."""


def bare_early(teacher: nn.Module, weights: EarlyWeights | None) -> Mapping[str, Tensor] | None:
    """Return early weights as a bare teacher has them; see `bare.bare_network`.

    Raises:
        DataError: They are not those of this network, or the file cannot be read.
        ExportError: The network cannot be copied.
    """
    return None if weights is None else tensors_in(early_network(teacher, weights))


def early_in_graph(
    teacher: nn.Module, weights: EarlyWeights | None, graph: nn.Module, interface: Interface, few: Inputs
) -> Mapping[str, Tensor] | None:
    """Return early weights by their names in the teacher's graph: another graph is captured with them.

    Args:
        teacher: The teacher.
        weights: As the task brings them; None where it brings none.
        graph: The captured teacher.
        interface: How the teacher is called.
        few: Some inputs, [B, ...].

    Raises:
        DataError: They are not those of this network, or it gives no answers with them.
    """
    if weights is None:
        return None
    network = early_network(teacher, weights)
    try:
        found = captured_teacher(network, interface, few, checked_answers(network, interface, few))
    except (DataError, ExportError) as error:
        raise DataError(f"early_weights: with them, {error}") from error
    early, now = tensors_in(found), tensors_in(graph)
    if {name: part.shape for name, part in early.items()} != {name: part.shape for name, part in now.items()}:
        raise DataError("early_weights: with them, the teacher is traced as another network")
    return early
