"""ONNX Runtime's own profile of a file, its operators mapped to layers."""

from __future__ import annotations

import bisect
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .onnx_layers import FileLayers, layers_in
from .profiling import OperatorTime

_KERNEL, _RUN = "_kernel_time", "model_run"
_CONTROL = ("If", "Loop", "Scan")  # the operators inside them have events of their own
_WEIGHTED = re.compile("Conv|Gemm|MatMul")
_ADDED = re.compile(r"(_token_\d+|_nchwc)+$")  # what rewriting for memory formats adds to a name


def operators_of(
    events: Sequence[Mapping[str, Any]], skipped: int, model: Any, rewritten: Any, known: Mapping[str, str]
) -> tuple[OperatorTime, ...]:
    """Return the operators of a profile with their layers.

    Args:
        events: What `InferenceSession.end_profiling` wrote.
        skipped: Inferences at the beginning that do not count.
        model: The file's graph (onnx.ModelProto).
        rewritten: The graph as ONNX Runtime rewrote it (onnx.ModelProto), which is what ran.
        known: Node name -> layer name, of the graph that the file was built from.
    """
    starts = sorted(event["ts"] for event in events if event["name"] == _RUN)[skipped:]
    spent_us: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name, operator = event["name"], event.get("args", {}).get("op_name", "")
        run = bisect.bisect_right(starts, event["ts"]) - 1
        if name.endswith(_KERNEL) and run >= 0 and operator not in _CONTROL:
            each = spent_us.setdefault((name.removesuffix(_KERNEL), operator), [0.0] * len(starts))
            each[run] += event["dur"]
    file = layers_in(model, known)
    ran = {node.name: node for node in rewritten.graph.node if node.name}
    found = []
    for (name, operator), each in spent_us.items():
        us = statistics.quantiles(each, n=4)[0]  # other work on the cores makes operators slower, never faster
        layer = _layer(name, operator, ran.get(name), file)
        if us > 0:
            found.append(OperatorTime(name, operator, us / 1000, () if layer is None else (layer,)))
    return tuple(found)


def _layer(name: str, operator: str, node: Any, file: FileLayers) -> str | None:
    # By its own name, by that of its output, or by the weights that it reads; the first weight counts, as equal
    # constants of several layers may have become one.
    plain = _ADDED.sub("", name)
    if plain in file.nodes:
        return file.nodes[plain]
    if _WEIGHTED.search(operator) and plain in file.followed:
        return file.followed[plain]
    return next((file.initializers[i] for i in node.input if i in file.initializers), None) if node else None
