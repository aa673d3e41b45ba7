"""Which techniques there are."""

from __future__ import annotations

from . import distillation, factors, pruning, quantization, sequences, sparsity
from .kind import TechniqueKind

TECHNIQUES: tuple[TechniqueKind, ...] = (
    quantization.TEACHER,
    quantization.SIXTEEN_BITS,
    quantization.INT8_AFTER,
    quantization.INT8_WHILE,
    pruning.PRUNING,
    pruning.GLOBAL,
    pruning.ITERATIVE,
    distillation.DISTILLATION,
    factors.LOW_RANK,
    factors.SEPARABLE_CONVOLUTIONS,
    sparsity.UNSTRUCTURED,
    sparsity.TWO_FOUR,
    sparsity.REWINDING,
    sparsity.REINITIALIZED,
    sequences.PRUNE_QUANTIZE,
    sequences.QUANTIZE_PRUNE,
    sequences.TUTORIALS,
)
"""In the order in which a table shows them and a search tries them."""
BY_NAME = {kind.name: kind for kind in TECHNIQUES}
SEQUENCES = tuple(kind for kind in TECHNIQUES if kind.sequence)
