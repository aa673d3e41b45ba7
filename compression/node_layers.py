"""Which layer of a network each node of an exported graph is, where several layers have one weight too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from ..spaces.graph.operator_rules import name_of
from ..spaces.layers import first_names, readers_of_weights

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")
TURNS = "Transpose"
"""The operator that turns a weight over while a graph runs, as exporters have it for large ones that several read."""
TURNED = frozenset({"t", "transpose", "permute", "numpy_T", "matrix_H", "mT"})
"""Operators of a captured network that become one."""


def layers_and_tables(
    model: Any, module: nn.Module, sources: Mapping[str, tuple[str, bool]]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return name of a node -> its layer, and name of a node -> the embedding whose rows it looks up.

    A weight that several parts of a network have stands in the graph under the name of one of them, once for all or
    once for each. Nodes that read it are then told apart by the order in which the network runs these parts.

    Args:
        model: The graph (onnx.ModelProto).
        module: The network that was exported.
        sources: Name of an initializer -> (name of the parameter that it holds, whether transposed).
    """
    ids = {name: id(value) for name, value in module.named_parameters(remove_duplicate=False)}
    shared = {key for key, readers in readers_of_weights(module).items() if len(set(readers)) > 1}
    held = {s: name for s, (name, _) in sources.items() if name.endswith(".weight")}
    reading = [node for node in model.graph.node if not _passes_on(node, held)]
    uses = _uses(module, ids, shared)
    embeddings = {name for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    found: dict[str, str] = {}
    for key in {ids.get(name, 0) for name in held.values()}:
        nodes = [node for node in reading for i in node.input if ids.get(held.get(i, "")) == key]
        told = uses.get(key, [])
        if key in shared and len(told) == len(nodes):
            found |= {node.name: layer for node, layer in zip(nodes, told, strict=True)}
        else:
            found |= {node.name: held[i].rpartition(".")[0] for node in nodes for i in node.input[:2] if i in held}
    kinds = {node.name: node for node in reading if found.get(node.name)}
    layers = {n: found[n] for n, node in kinds.items() if node.op_type in WITH_WEIGHTS and node.input[1] in held}
    tables = {n: found[n] for n, node in kinds.items() if node.op_type == "Gather" and node.input[0] in held}
    return layers, {node: name for node, name in tables.items() if name in embeddings}


def _passes_on(node: Any, held: dict[str, str]) -> bool:
    """Tell whether a node only turns a weight over, and note what it gives as that weight."""
    if node.op_type != TURNS or node.input[0] not in held:
        return False
    held[node.output[0]] = held[node.input[0]]
    return True


def _uses(module: nn.Module, ids: Mapping[str, int], shared: set[int]) -> dict[int, list[str]]:
    """Return id of a shared weight -> the modules that use it, in order; operators that do are empty names.

    A module is told by its first name, as layers are, whatever it is called by.
    """
    found: dict[int, list[str]] = {}
    names = first_names(module)
    read: dict[fx.Node, int] = {}
    for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
        key = ids.get(f"{node.target}.weight" if node.op == "call_module" else str(node.target))
        if node.op == "call_module" and key in shared:
            found.setdefault(key, []).append(names[str(node.target)])
        elif node.op == "get_attr" and key in shared:
            read[node] = key
        given = [read[each] for each in node.all_input_nodes if each in read]
        if given and node.op == "call_function" and name_of(node) in TURNED:
            read[node] = given[0]
            continue
        for key in given:
            found.setdefault(key, []).append("")
    return found
