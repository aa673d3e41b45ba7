"""One network of the zoo, in a process of its own: what was found, told line by line as it becomes known.

python benchmarks/zoo_row.py timm convnext_atto

Each line is a JSON object; later lines add to earlier ones, so that what a time limit cuts off costs the rest alone.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, fx, nn
from zoo_networks import SOURCES

from autocompress.compression.student import make_student
from autocompress.errors import AutoCompressError, one_line
from autocompress.evaluators.artifact import ArtifactBuilder, Templates, relative_difference
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target


def tell(**what: Any) -> None:
    """Print a line of what is known, with the memory that this process has taken so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({**what, "memory_gb": round(peak, 1)}), flush=True)


def look(source: str, name: str, files: bool) -> None:
    """Look at one network, and tell each thing once it is known."""
    torch.manual_seed(0)
    module, example = SOURCES[source][0](name)
    tell(built=True)
    start = time.monotonic()
    try:
        graph = capture(module.eval(), example)
    except Exception as error:  # torch.export raises errors of many kinds
        tell(remark=f"not traced: {one_line(error)[:160]}")
        return
    tell(trace_s=time.monotonic() - start)
    start = time.monotonic()
    network = look_at_network(graph, example)
    tell(find_s=time.monotonic() - start, groups=len(network.groups), **coverage(graph, network))
    draw = random.Random(0)
    counts = {group.name: draw.choice(group.choices(8, 0.25)) for group in network.groups}
    student = make_student(graph, network.groups, StudentSpec(counts)).module
    inputs = alike(example, 8)
    with torch.no_grad():
        same = student(inputs[:3]).shape == graph(inputs[:3]).shape
    tell(plan_runs=same)
    if files:
        with TemporaryDirectory() as folder:
            build(graph, network, student, inputs, Path(folder))


def coverage(graph: fx.GraphModule, network: Network) -> dict[str, Any]:
    """Return the share of the layers' weights that lie in some group, and why the others do not."""
    inside = {member.layer for group in network.groups for member in group.members}
    sizes = {layer.name: layer.weights for layer in network.layers}
    for node in graph.graph.nodes:  # weights that the network's own code hands to an operator
        if node.op == "get_attr":
            owner, _, _ = str(node.target).rpartition(".")
            value: Any = graph
            for part in str(node.target).split("."):
                value = getattr(value, part)
            if isinstance(value, nn.Parameter) and value.squeeze().ndim > 1:
                sizes.setdefault(owner, 0)
                sizes[owner] += value.numel() if owner not in {layer.name for layer in network.layers} else 0
    covered = sum(size for name, size in sizes.items() if name in inside)
    reasons: Counter[str] = Counter()
    for left in network.left_out:
        reasons[left.reason] += sizes.get(left.name.partition("#")[0], 0) or 1
    return {
        "covered": covered / max(1, sum(sizes.values())),
        "weights": sum(sizes.values()),
        "reasons": reasons.most_common(3),
    }


def alike(example: Tensor, count: int) -> Tensor:
    """Return inputs of the same kind as an example: numbers of tokens, or pixels."""
    shape = (count, *example.shape[1:])
    return torch.randn(shape) if example.is_floating_point() else torch.randint(5, 1000, shape)


def build(graph: nn.Module, network: Network, student: nn.Module, inputs: Tensor, folder: Path) -> None:
    """Write a student's files in 32 and in 8 bits, and hold the first against it at batches of 1 and 8."""
    runtime, start = get_runtime("onnxruntime"), time.monotonic()
    worst = 0.0
    try:
        for batch in (1, 8):
            target = Target("onnxruntime", batch=batch)
            templates = Templates(graph, inputs[:1])
            builder = ArtifactBuilder(runtime, target, templates, inputs, inputs[:2])
            builder.teacher_file(folder / f"teacher{batch}.onnx")
            builder.build(student, StudentSpec(), folder / "student.onnx")
            if batch == 1:
                tell(export_s=time.monotonic() - start)
                int8(builder, network, student, folder / "int8.onnx")
            for size in {batch, 8 if builder.free else batch}:
                got = predict(folder / "student.onnx", runtime, Target("onnxruntime", batch=size), inputs.numpy())
                with torch.no_grad():
                    worst = max(worst, relative_difference(got, student(inputs).numpy()))
            if builder.free:
                break
    except AutoCompressError as error:
        tell(remark=f"no file: {one_line(error)[:160]}", export_s=time.monotonic() - start)
        return
    tell(parity=worst)


def int8(builder: ArtifactBuilder, network: Network, student: nn.Module, path: Path) -> None:
    """Write a student's file in 8 bits."""
    try:
        builder.build(student, StudentSpec(bits={layer.name: 8 for layer in network.layers}), path, 2)
        tell(int8="built")
    except AutoCompressError as error:
        tell(int8=one_line(error)[:120])


def main() -> None:
    """Look at the network that the command line names."""
    warnings.filterwarnings("ignore")
    try:
        look(sys.argv[1], sys.argv[2], files="--groups-only" not in sys.argv)
    except Exception as error:
        traceback.print_exc()
        tell(traceback=f"{type(error).__name__}: {one_line(error)[:160]}")


if __name__ == "__main__":
    main()
