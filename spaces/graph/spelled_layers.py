"""Operators that are layers: convolutions, linear functions, and products of matrices with a parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import fx

from .operator_rules import name_of

CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
PRODUCTS = {"mm": 2, "matmul": 2, "addmm": 3}
"""Products of matrices -> how many arguments they have."""
TRANSPOSES = ("t", "numpy_T", "mT")


@dataclass(frozen=True)
class SpelledLayer:
    """A layer that stands in the code as an operator.

    Attributes:
        kind: "linear", or which convolution.
        read: What goes in.
        weight: The parameter that it multiplies with.
        bias: The parameter that it adds; None without one.
        turned: Whether its weight lies transposed, as [in, out].
        multiplied: Whether it stands there as a product of matrices.
    """

    kind: str
    read: fx.Node
    weight: fx.Node
    bias: fx.Node | None
    turned: bool
    multiplied: bool


def spelled_layer(node: fx.Node) -> SpelledLayer | None:
    """Return the layer that an operator is, None where its weights are no plain parameters.

    Args:
        node: Any node of a captured network.
    """
    kind = name_of(node) if node.op == "call_function" else ""
    given: Any = node.args
    multiplied = kind in PRODUCTS and not node.kwargs and len(given) == PRODUCTS[kind]
    if multiplied:
        read, weight = given[-2], given[-1]
        bias = given[0] if kind == "addmm" else None
    elif kind == "linear" or kind in CONVOLUTIONS:
        read, weight, bias = (*given[:3], None)[:3]
    else:
        return None
    turned = multiplied
    while kind not in CONVOLUTIONS and isinstance(weight, fx.Node) and _transposes(weight):
        weight, turned = weight.args[0], not turned
    if not isinstance(read, fx.Node) or not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return None
    if bias is not None and (not isinstance(bias, fx.Node) or bias.op != "get_attr"):
        return None
    return SpelledLayer(kind if kind in CONVOLUTIONS else "linear", read, weight, bias, turned, multiplied)


def _transposes(node: fx.Node) -> bool:
    """Tell whether a node is a matrix transposed, for one reader alone."""
    kind = name_of(node) if node.op == "call_function" else ""
    dims: Any = node.args[1] if kind == "permute" else node.args[1:]
    orders = {"permute": ([1, 0],), "transpose": ([0, 1], [1, 0])}.get(kind, ())
    # a matrix has two dimensions, counted from either end
    swapped = bool(orders) and [dim % 2 for dim in dims] in orders
    return len(node.users) == 1 and (kind in TRANSPOSES or swapped)
