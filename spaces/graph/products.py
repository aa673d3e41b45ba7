"""Products that sum over some dimensions: of matrices, of activations with weights, and Einstein sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .labels import Factors, classes, join, lead, merged, parts_of, united, varied
from .walk import Walk

WHY = "it meets what cannot be removed"

Operand = tuple[Tensor | Factors, str]
"""Labels, and a letter for each dimension."""


def contract(walk: Walk, operands: Sequence[Operand], out: str, sizes: Mapping[str, int]) -> Tensor | Factors:
    """Join what a product sums over, and what lies side by side in it.

    Args:
        walk: The walk.
        operands: What is multiplied.
        out: The letters of the result; all others are summed over.
        sizes: Letter -> size in the result.

    Returns:
        The labels of the result. What changes along summed dimensions leaves no trace in it.
    """
    often = Counter(letter for _, letters in operands for letter in letters)
    beside = {letter for letter in out if often[letter] > 1}
    factors = [[_narrowed(walk, part, letters, beside) for part in parts_of(labels)] for labels, letters in operands]
    for i, (first, letters) in enumerate(operands):
        for j, (second, others) in enumerate(operands):
            if i != j:
                for part in factors[i]:
                    _meet(walk, part, letters, factors[j], others, (first.shape, second.shape), i < j)
    shape = [sizes[letter] for letter in out]
    parts = []
    for (_, letters), own in zip(operands, factors, strict=True):
        for part in own:
            dims = varied(walk.atoms, part)
            if dims and all(letters[d] in out for d in dims):
                parts.append(_aligned(part, letters, out))
    return united(walk.atoms, parts, shape)


def _narrowed(walk: Walk, part: Tensor, letters: str, beside: set[str]) -> Tensor:
    """Let labels change along one dimension alone, or along such as lie side by side: heads go as wholes."""
    dims = varied(walk.atoms, part)
    heads = [d for d in dims if letters[d] in beside]
    if heads:
        return merged(walk.atoms, part, [d for d in dims if d not in heads], WHY).expand(part.shape)
    if len(dims) < 2:
        return part
    most = max(dims, key=lambda d: classes(walk.atoms, lead(part, d)))
    return merged(walk.atoms, part, [d for d in dims if d != most], WHY).expand(part.shape)


def _meet(
    walk: Walk,
    part: Tensor,
    letters: str,
    others: Sequence[Tensor],
    names: str,
    shapes: tuple[torch.Size, torch.Size],
    joins: bool,
) -> None:
    for dim in varied(walk.atoms, part):
        letter = letters[dim]
        if letter not in names or shapes[1][names.index(letter)] == 1 != shapes[0][dim]:
            continue
        same = [other for other in others if names.index(letter) in varied(walk.atoms, other)]
        if not same:
            walk.pin(part, WHY)
            return
        if joins:
            every = "".join(dict.fromkeys(letters + names))
            for other in same:
                join(walk.atoms, _aligned(part, letters, every), _aligned(other, names, every), WHY)


def _aligned(part: Tensor, letters: str, order: str) -> Tensor:
    """Return labels with the dimensions of other letters, of size 1 where they do not change."""
    small = part
    for dim in range(part.ndim):
        if letters[dim] not in order or part.stride(dim) == 0:
            small = small.narrow(dim, 0, 1)
    kept = [d for d, letter in enumerate(letters) if letter in order]
    moved = small.permute(*sorted(kept, key=lambda d: order.index(letters[d])), *(set(range(small.ndim)) - {*kept}))
    moved = moved.reshape(moved.shape[: len(kept)])
    present = sorted(letters[d] for d in kept)
    view = iter(moved.shape)
    return moved.reshape([next(view) if letter in present else 1 for letter in order])


def einstein(equation: str, shapes: Sequence[torch.Size]) -> tuple[list[str], str] | None:
    """Return the letters of each operand of an Einstein sum, and of its result, without dots; None if unknown.

    Args:
        equation: As `torch.einsum` takes it.
        shapes: Of the operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    names = left.split(",")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" if c not in equation]
    dotted = [(name, shape) for name, shape in zip(names, shapes, strict=True) if "..." in name]
    dots = "".join(free[: max((len(shape) - len(name.replace("...", "")) for name, shape in dotted), default=0)])
    spelled = []
    for name, shape in zip(names, shapes, strict=True):
        own = len(shape) - len(name.replace("...", ""))
        name = name.replace("...", dots[len(dots) - own :] if own else "")
        if len(set(name)) != len(name) or len(name) != len(shape):
            return None
        spelled.append(name)
    if not arrow:
        often = Counter("".join(names).replace(".", ""))
        right = "..." * ("..." in left) + "".join(sorted(c for c, many in often.items() if many == 1))
    return spelled, right.replace("...", dots)
