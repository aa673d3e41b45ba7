"""What a walk over a graph finds: which parts of parameters, and which numbers in operators, go with an atom."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Slice:
    """One dimension of one parameter or buffer.

    Attributes:
        parameter: Its name.
        dim: The dimension.
        atoms: [size]; the index i goes with the atom i.
        side: "out", "in" or "both": which side of the layer it is.
        blocks: Number of blocks that the indices of the other dimension form, as in grouped convolutions whose inputs
            are numbered over all blocks; 1 elsewhere.
    """

    parameter: str
    dim: int
    atoms: Tensor
    side: str
    blocks: int = 1


@dataclass(frozen=True)
class Counted:
    """A range along one dimension of a value; a number in an operator says how much of it there is.

    Attributes:
        labels: Of the value.
        dim: The dimension.
        start: The first index.
        stop: The index behind the last one.
    """

    labels: Tensor
    dim: int
    start: int
    stop: int


@dataclass(frozen=True)
class Resize:
    """Numbers in the arguments of one operator that follow from what is left.

    Attributes:
        node: Name of the node.
        argument: Index of the argument.
        counted: For each number of the argument, what it counts; None where it stays as it is.
        scalar: Whether the argument is one number, and no list.
    """

    node: str
    argument: int
    counted: tuple[Counted | None, ...]
    scalar: bool = False


@dataclass(frozen=True)
class Even:
    """Channels that must stay equally many in each block, as in grouped convolutions and group norms.

    Attributes:
        atoms: [channels], block after block.
        blocks: Number of blocks.
    """

    atoms: Tensor
    blocks: int
