"""Which techniques there are."""

from __future__ import annotations

from . import distillation, factors, few_weights, own, pruning, quantization, scaling, sequences, sparsity
from .kind import TechniqueKind

TECHNIQUES: tuple[TechniqueKind, ...] = (
    quantization.TEACHER,
    quantization.SIXTEEN_BITS,
    quantization.INT8_AFTER,
    quantization.INT8_WHILE,
    quantization.DYNAMIC_INT8,
    quantization.WEIGHT_ONLY,
    pruning.PRUNING,
    pruning.GLOBAL,
    pruning.ITERATIVE,
    scaling.SHALLOWER,
    scaling.SMALLER_INPUTS,
    scaling.COMPOUND,
    distillation.DISTILLATION,
    own.OWN_STUDENT,
    factors.LOW_RANK,
    factors.SEPARABLE_CONVOLUTIONS,
    sparsity.UNSTRUCTURED,
    sparsity.TWO_FOUR,
    sparsity.LOTTERY,
    sparsity.REWINDING,
    sparsity.REINITIALIZED,
    few_weights.CLASSIFIER,
    few_weights.BITFIT,
    few_weights.LORA,
    few_weights.QLORA,
    few_weights.ADAPTERS,
    sequences.PRUNE_QUANTIZE,
    sequences.QUANTIZE_PRUNE,
    sequences.TUTORIALS,
)
"""In the order in which a table shows them and a search tries them."""
BY_NAME = {kind.name: kind for kind in TECHNIQUES}
SEQUENCES = tuple(kind for kind in TECHNIQUES if kind.sequence)
