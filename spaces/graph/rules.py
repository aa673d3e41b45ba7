"""What each operator does to labels: which rule goes for which node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from . import layer_rules, movement_rules, operator_rules
from .labels import fixed
from .walk import Rule, Walk

MODULES: tuple[tuple[type[nn.Module], Rule], ...] = layer_rules.MODULES


def name_of(node: fx.Node) -> str:
    """Return an operator's name without overload, as "view" for aten.view.default."""
    target: Any = node.target
    name = getattr(target, "_opname", None) or getattr(target, "__name__", str(target))
    return str(name)


FUNCTIONS: Mapping[str, Rule] = {**operator_rules.FUNCTIONS, **movement_rules.FUNCTIONS}


def rule_for(walk: Walk, node: fx.Node) -> Rule:
    """Return the rule of a node; one that keeps everything whole where none is known."""
    if node.op == "call_module":
        module = walk.module(node)
        return next((rule for cls, rule in MODULES if isinstance(module, cls)), layer_rules.elementwise)
    name = name_of(node)
    return FUNCTIONS.get(name) or FUNCTIONS.get(name.rstrip("_"), unknown)


def unknown(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Keep everything whole that meets an operator of which nothing is known."""
    for source in node.all_input_nodes:
        walk.pin(walk.labels[source], f"operator {name_of(node)} may mix channels")
    return everything_fixed(value)


def everything_fixed(value: Any) -> Any:
    """Return labels of what always stays, in the form of the value."""
    if isinstance(value, Tensor):
        return fixed(value.shape)
    if isinstance(value, list | tuple):
        return [everything_fixed(part) for part in value]
    return None
