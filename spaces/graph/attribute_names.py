"""Names of modules and weights in a graph: users choose them freely, while graphs and Python have some of their own."""

from __future__ import annotations

import functools
import keyword

from torch import fx, nn


def as_attribute(network: nn.Module, path: str) -> str:
    """Return what a module or a weight of a network is called in its graph: the same, wherever it can be.

    At the top, a graph has attributes of its own, such as `meta` and `graph`. Its code cannot name what is called by a
    word of Python's, as the embedding of a column `class` may be in a `ModuleDict`. An underscore behind such a name
    makes it another.

    Args:
        network: The network.
        path: Of something in it.
    """
    names: list[str] = []
    at: object = network
    for part in path.split("."):
        name = part
        while _is_taken(name, top=not names) or (name != part and getattr(at, name, None) is not None):
            name += "_"
        names.append(name)
        at = getattr(at, part, None)
    return ".".join(names)


def _is_taken(name: str, top: bool) -> bool:
    return keyword.iskeyword(name) or (top and name in _own_names())


@functools.cache
def _own_names() -> frozenset[str]:
    """Return the attributes that a graph has beside those of any module."""
    return frozenset(dir(fx.GraphModule(nn.Module(), fx.Graph()))) - frozenset(dir(nn.Module()))
