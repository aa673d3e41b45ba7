"""What each operator does to labels: which rule goes for which node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from ...errors import one_line
from . import arithmetic, arrangement_rules, function_rules, layer_rules, movement_rules, operator_rules
from .labels import Factors, parts_of, united, varied
from .operator_rules import name_of
from .tried import tried
from .walk import Rule, Walk

MODULES: tuple[tuple[type[nn.Module], Rule], ...] = layer_rules.MODULES

FUNCTIONS: Mapping[str, Rule] = {
    **operator_rules.FUNCTIONS,
    **movement_rules.FUNCTIONS,
    **arrangement_rules.FUNCTIONS,
    **function_rules.FUNCTIONS,
}

OF_SEVERAL = frozenset([arithmetic.paired, *layer_rules.OF_SEVERAL, *function_rules.FUNCTIONS.values()])
"""Rules that know values that can lose indices of several dimensions."""


def rule_for(walk: Walk, node: fx.Node) -> Rule:
    """Return the rule of a node; where none is known, one that tries what the operator does."""
    if node.op == "call_module":
        module = walk.module(node)
        rule = next((rule for cls, rule in MODULES if isinstance(module, cls)), layer_rules.elementwise)
    else:
        name = name_of(node)
        rule = FUNCTIONS.get(name) or FUNCTIONS.get(name.rstrip("_"), tried)
    return _or_whole(rule if rule in OF_SEVERAL else _one_by_one(rule))


def _or_whole(rule: Rule) -> Rule:
    """Return a rule that keeps everything whole where the given one fails: it costs the operator's neighbours alone."""

    def apply(walk: Walk, node: fx.Node, value: Any) -> Any:
        try:
            return rule(walk, node, value)
        except Exception as error:  # an operator that is called as nobody expected
            for source in node.all_input_nodes:
                walk.pin(walk.labels[source], f"operator {name_of(node)} cannot be followed here ({one_line(error)})")
            return function_rules.everything_fixed(value)

    return apply


def _one_by_one(rule: Rule) -> Rule:
    """Return a rule that takes values with several label tensors, made of one that knows one for each value."""

    def apply(walk: Walk, node: fx.Node, value: Any) -> Any:
        sources = node.all_input_nodes[: 1 if name_of(node).endswith("_as") else None]  # the other gives its shape
        several = {a: walk.labels[a] for a in sources if isinstance(walk.labels[a], Factors)}
        if not several:
            return rule(walk, node, value)
        try:
            moving = [a for a in sources if _moves(walk, walk.labels[a])]
            if len(moving) > 1 or rule is tried or moving != list(several):
                walk.labels.update({a: walk.largest(labels) for a, labels in several.items()})
                return rule(walk, node, value)
            ((source, labels),) = several.items()
            found = []
            for part in labels.parts:
                walk.labels[source] = part
                found.append(rule(walk, node, value))
            return _together(walk, found, value)
        finally:
            walk.labels.update(several)

    return apply


def _moves(walk: Walk, labels: Any) -> bool:
    if isinstance(labels, list | tuple):
        return any(_moves(walk, part) for part in labels)
    return isinstance(labels, Tensor | Factors) and any(varied(walk.atoms, part) for part in parts_of(labels))


def _together(walk: Walk, found: list[Any], value: Any) -> Any:
    if isinstance(value, Tensor):
        return united(walk.atoms, found, value.shape)
    if isinstance(value, list | tuple):
        return [_together(walk, [labels[i] for labels in found], part) for i, part in enumerate(value)]
    return None
