"""OpenVINO's own profile of a file, its operators mapped to layers."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .onnx_layers import FileLayers, layers_in
from .profiling import WARM_UP, OperatorTime, run_repeatedly

_MICROSECOND = datetime.timedelta(microseconds=1)
_WEIGHTED = re.compile("Convolution|FullyConnected|MatMul")
_HALF = 0.5  # counters are cut off to whole microseconds, and one of zero is told as an operator that did not run


def spent_us(run: Callable[[], object], counters: Callable[[], Any]) -> dict[str, float]:
    """Run a file again and again, and return the mean microseconds of each operator, without those of the warm-up.

    Args:
        run: Runs it once.
        counters: Returns `InferRequest.profiling_info`, whose times are means since the file was loaded.
    """
    first = run_repeatedly(run, WARM_UP)
    before = _means(counters())
    more = run_repeatedly(run)
    after = _means(counters())
    found = {}
    for name in dict.fromkeys((*before, *after)):
        total = after.get(name, _HALF) * (first + more)
        found[name] = max(0.0, (total - before.get(name, _HALF) * first) / more)
    return found


def named_operators(
    times_us: Mapping[str, float], graph: Any, model: Any, known: Mapping[str, str]
) -> tuple[OperatorTime, ...]:
    """Return the operators of a profile with their layers.

    Args:
        times_us: Operator -> microseconds.
        graph: The compiled graph, which says of each operator what it is made of (openvino.Model).
        model: The file's graph (onnx.ModelProto).
        known: Node name -> layer name, of the graph that the file was built from.
    """
    file = layers_in(model, known)
    parts = _parts(graph)
    found = []
    for name, us in times_us.items():
        operator, originals = parts.get(name, ("unknown", ()))
        layers = _layers(operator, (*originals, name), file)
        if us > 0 or layers:  # the smallest ones take less than their counters can tell
            found.append(OperatorTime(name, operator, us / 1000, layers))
    return tuple(found)


def _means(counters: Any) -> dict[str, float]:
    ran = [info for info in counters if info.status == info.Status.EXECUTED]
    return {info.node_name: info.real_time / _MICROSECOND + _HALF for info in ran}


def _parts(graph: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return operator -> its type, and the names that what it is made of had in the file."""
    found = {}
    for operator in graph.get_ops():
        info = operator.get_rt_info()
        kind, joined = (
            str(getattr(x, "value", x)).strip('"') for x in (info["layerType"], info["originalLayersNames"])
        )
        found[operator.get_friendly_name()] = (kind, tuple(name for name in joined.split(",") if name))
    return found


def _layers(operator: str, originals: Iterable[str], file: FileLayers) -> tuple[str, ...]:
    """Return the layers among the parts of an operator, by their nodes; else the one that a part follows on."""
    names = [tuple(_shorter(name)) for name in originals]
    own = dict.fromkeys(layer for name in names if (layer := _first(name, file.nodes) or _first(name, file.outputs)))
    if own or not _WEIGHTED.search(operator):
        return tuple(own)
    return tuple(dict.fromkeys(layer for name in names if (layer := _first(name, file.followed))))[:1]


def _shorter(name: str) -> Iterable[str]:
    # a name, and what it was before OpenVINO's rewriting put more behind it
    while name:
        yield name
        name = name.rpartition("/")[0]


def _first(names: Iterable[str], layers: Mapping[str, str]) -> str | None:
    return next((layers[name] for name in names if name in layers), None)
