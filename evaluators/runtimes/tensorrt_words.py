"""What TensorRT tells of networks and engines, in the words of this project."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

LAYERS = re.compile("conv|gemm|matmul|matrix_?multiply|fully_?connected", re.IGNORECASE)
"""What kinds of layers with weights are called."""
# How types are written by the engine inspector, which differs between versions; bf16 would match f16's pattern.
_TYPES = {
    "int8": "int8",
    "int4": "int4",
    "fp8": "fp8",
    "bf16|bfloat16": "bf16",
    "fp16|half|float16": "f16",
    "fp32|float": "f32",
}


def make_logger(trt: Any) -> Any:
    """Return a logger that keeps what goes wrong in `errors`, and nothing else.

    Args:
        trt: TensorRT's module.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


def network_words(network: Any) -> Iterator[str]:
    """Give "layer type in precision" of each layer of a parsed network.

    Layers with weights have the precision of both sides if these differ.
    """
    makers: dict[str, Any] = {}
    for layer in map(network.get_layer, range(network.num_layers)):
        inputs = [t for t in map(layer.get_input, range(layer.num_inputs)) if t is not None]
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        types = []
        for tensor in inputs[:2] or outputs[:1]:
            maker = makers.get(tensor.name)
            while maker is not None and maker.type.name in ("DEQUANTIZE", "SHUFFLE"):
                tensor = maker.get_input(0)
                maker = makers.get(tensor.name) if maker.type.name == "SHUFFLE" else None
            types.append(_precision(tensor.dtype.name))
        kind = layer.type.name
        yield f"{kind.lower()} in {' x '.join(dict.fromkeys(types if LAYERS.search(kind) else types[:1]))}"
        makers.update((tensor.name, layer) for tensor in outputs)


def layer_words(layer: Any) -> str:
    """Return "layer type in precision" of what an engine's inspector tells of a layer."""
    if isinstance(layer, str):
        return "layer"  # an engine that was built without its details
    weights, inputs = layer.get("Weights"), layer.get("Inputs") or [{}]
    told = weights.get("Type") if isinstance(weights, dict) else None
    return f"{layer.get('LayerType', 'layer')} in {_precision(str(told or inputs[0].get('Format/Datatype', '')))}"


def _precision(told: str) -> str:
    return next(
        (short for pattern, short in _TYPES.items() if re.search(pattern, told, re.IGNORECASE)), told.lower() or "?"
    )


def words(counts: Mapping[str, int]) -> str:
    """Return counts in words: "f16 3, int8 2"."""
    return ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()) if count)
