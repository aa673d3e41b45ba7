"""Which layer of a network each node of an exported graph is, where several layers have one weight too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from ..spaces.layers import readers_of_weights

WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")


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
    uses = _uses(module, ids, shared)
    embeddings = {name for name, part in module.named_modules() if isinstance(part, nn.Embedding)}
    found: dict[str, str] = {}
    for key in {ids.get(name, 0) for name in held.values()}:
        nodes = [node for node in model.graph.node for i in node.input if ids.get(held.get(i, "")) == key]
        told = uses.get(key, [])
        if key in shared and len(told) == len(nodes):
            found |= {node.name: layer for node, layer in zip(nodes, told, strict=True)}
        else:
            found |= {node.name: held[i].rpartition(".")[0] for node in nodes for i in node.input[:2] if i in held}
    kinds = {node.name: node for node in model.graph.node if found.get(node.name)}
    layers = {n: found[n] for n, node in kinds.items() if node.op_type in WITH_WEIGHTS and node.input[1] in held}
    tables = {n: found[n] for n, node in kinds.items() if node.op_type == "Gather" and node.input[0] in held}
    return layers, {node: name for node, name in tables.items() if name in embeddings}


def _uses(module: nn.Module, ids: Mapping[str, int], shared: set[int]) -> dict[int, list[str]]:
    """Return id of a shared weight -> the modules that use it, in order; operators that do are empty names."""
    found: dict[int, list[str]] = {}
    for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
        if node.op == "call_module":
            key, user = ids.get(f"{node.target}.weight"), str(node.target)
            if key in shared:
                found.setdefault(key, []).append(user)
        for given in node.all_input_nodes:
            if given.op == "get_attr" and (key := ids.get(str(given.target))) in shared:
                found.setdefault(key, []).append("")
    return found
