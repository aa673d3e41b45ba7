"""One network of the zoo: what was found, told piece by piece as it becomes known."""

from __future__ import annotations

import os
import random
import resource
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, fx, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.errors import AutoCompressError, TrialFailed, one_line
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict, relative_difference
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.layers import find_layers
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.sizes import find_sizes
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target


class Teller:
    """Tells another process what is known of a network, and the memory that was taken so far."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __call__(self, **what: Any) -> None:
        """Tell something."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        self._connection.send({**what, "memory_gb": round(peak, 1)})


def look(make: Callable[[], tuple[nn.Module, Tensor]], files: bool, connection: Connection) -> None:
    """Look at one network, and tell each thing once it is known; what goes wrong is told too.

    Args:
        make: Gives the network, and an input for it.
        files: Whether files are written, and held against the student.
        connection: Takes what is told.
    """
    tell = Teller(connection)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries' warnings
    try:
        _look(make, files, tell)
    except Exception as error:
        tell(traceback=f"{type(error).__name__}: {one_line(error)[:160]}", trace="".join(traceback.format_exc()))


def _look(make: Callable[[], tuple[nn.Module, Tensor]], files: bool, tell: Teller) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, example = make()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim > 1 and not weight.any():  # as some heads begin: their outputs would say nothing
                nn.init.normal_(weight, std=0.02)
    start = time.process_time()
    try:
        graph = capture(module.eval(), example)
    except Exception as error:  # torch.export raises errors of many kinds
        tell(remark=f"not traced: {one_line(error)[:160]}", trace="".join(traceback.format_exc()))
        return
    tell(trace_s=time.process_time() - start)
    start = time.process_time()
    network = look_at_network(graph, example)
    tell(find_s=time.process_time() - start, groups=len(network.groups), **coverage(graph, network))
    start = time.process_time()
    sizes, _ = find_sizes(module, graph, example, None, network.groups)
    network = replace(network, resizings=sizes)
    tell(sizes_s=time.process_time() - start, blocks=len(network.blocks), sizes=len(sizes))
    inputs, parent, draw = alike(example, 8), Parent.of(graph, network), random.Random(0)
    for key, spec in (("parity", narrow(network, draw)), ("whole", whole(network, draw))):
        student = make_student(parent, spec).module
        with torch.no_grad():
            if student(inputs[:1]).shape != module(inputs[:1]).shape:
                raise AssertionError("a joint plan changes the output shape")
        if files:
            with TemporaryDirectory() as folder:
                build(student, inputs, Path(folder), tell, key)


def narrow(network: Network, draw: random.Random) -> StudentSpec:
    """Return a joint plan in which every group of channels has a width of its own, down to a quarter."""
    return StudentSpec({group.name: draw.choice(group.choices(8, 0.25)) for group in network.groups})


def whole(network: Network, draw: random.Random) -> StudentSpec:
    """Return one that lacks a third of the blocks too, and makes inputs smaller where the network allows it."""
    few = [block.name for block in network.blocks[:-1] if draw.random() < 1 / 3]
    size = draw.choice(network.resizings).size if network.resizings else 0
    return replace(narrow(network, draw), dropped=tuple(few), size=size)


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
    why: dict[str, list[str]] = defaultdict(list)
    for left in sorted(network.left_out, key=lambda left: -sizes.get(left.name.partition("#")[0], 0)):
        why[left.reason].append(left.name)
    more = {reason: f" and {len(names) - 1} more" if names[1:] else "" for reason, names in why.items()}
    reasons = [(names[0] + more[reason], reason) for reason, names in why.items()]
    return {"covered": covered / max(1, sum(sizes.values())), "reasons": reasons[:3]}


def alike(example: Tensor, count: int) -> Tensor:
    """Return inputs of the same kind as an example: numbers of tokens, or pixels."""
    shape = (count, *example.shape[1:])
    return torch.randn(shape) if example.is_floating_point() else torch.randint(5, 1000, shape)


def build(student: nn.Module, inputs: Tensor, folder: Path, tell: Teller, key: str) -> None:
    """Write a student's files in 32 and in 8 bits, and hold the first against it at batches of 1 and 8.

    Args:
        student: The network.
        inputs: [8, ...].
        folder: Of the files.
        tell: Takes what is found: the largest difference as `key`, what became of 8 bits as `key` and "_int8".
        key: Names the student.
    """
    runtime, start, worst = get_runtime("onnxruntime"), time.process_time(), 0.0
    templates = Templates(student, inputs[:1], exact=True)  # one export serves all files
    try:
        for batch in (1, 8):
            builder = ArtifactBuilder(runtime, Target("onnxruntime", batch=batch), templates, inputs, inputs[:2])
            builder.build(student, StudentSpec(), folder / "student.onnx")
            if batch == 1:
                tell(**{f"{key}_s": time.process_time() - start})
                tell(**{f"{key}_int8": int8(builder, student, folder / "int8.onnx", inputs[:1])})
            for size in {batch, 8 if builder.batching().free else batch}:
                got = predict(folder / "student.onnx", runtime, Target("onnxruntime", batch=size), inputs.numpy())
                with torch.no_grad():
                    worst = max(worst, relative_difference(got, student(inputs).numpy()))
            if builder.batching().free:
                break
    except (AutoCompressError, TrialFailed) as error:
        tell(**{f"{key}_s": time.process_time() - start, f"{key}_remark": f"no file: {one_line(error)[:160]}"})
        return
    tell(**{key: worst})


def int8(builder: ArtifactBuilder, student: nn.Module, path: Path, example: Tensor) -> str:
    """Write a student's file in 8 bits; return "built", or why it could not be."""
    try:
        layers = find_layers(student, example)
        builder.build(student, StudentSpec(bits={layer.name: 8 for layer in layers}), path, 2)
    except (AutoCompressError, TrialFailed) as error:
        return one_line(error).rpartition(": ")[2][:100]
    return "built"
