"""How much of well-known networks can be shrunk: groups found, what is left out, and whether files are their students.

    python benchmarks/zoo.py torchvision [names ...]
    python benchmarks/zoo.py timm [names ...]

Every network has random weights. One joint plan is drawn for each, written as an ONNX file, and held against its
student at batches of 1 and of 8.
"""

from __future__ import annotations

import argparse
import random
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from autocompress.compression.student import make_student
from autocompress.errors import AutoCompressError, one_line
from autocompress.evaluators.artifact import ArtifactBuilder, Templates, relative_difference
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.evaluators.timing.machine import conditions
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

TORCHVISION = [
    "alexnet",
    "vgg11_bn",
    "resnet18",
    "resnext50_32x4d",
    "wide_resnet50_2",
    "densenet121",
    "squeezenet1_1",
    "inception_v3",
    "googlenet",
    "shufflenet_v2_x1_0",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "mnasnet1_0",
    "regnet_y_400mf",
    "regnet_x_400mf",
    "efficientnet_b0",
    "efficientnet_v2_s",
    "convnext_tiny",
    "vit_b_16",
    "swin_t",
    "swin_v2_t",
    "maxvit_t",
]
TIMM = [
    "resnetv2_50",
    "ghostnet_100",
    "mixer_s32_224",
    "edgenext_xx_small",
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "mobileone_s0",
    "repvgg_a0",
    "fastvit_t8",
    "poolformer_s12",
    "res2net50_26w_4s",
    "hrnet_w18_small",
    "dpn68",
    "selecsls42b",
    "nfnet_l0",
]


@dataclass(frozen=True)
class Row:
    """What was found in one network.

    Attributes:
        name: Of the network.
        groups: Number of groups.
        covered: Share of the weights of layers that lie in some group.
        seconds: To trace it and to find the groups.
        off: Largest difference of the file from its student, relative to the largest output; None without a file.
        remark: What was left out or went wrong.
    """

    name: str
    groups: int
    covered: float
    seconds: float
    off: float | None
    remark: str


def look(name: str, make: Callable[[], tuple[nn.Module, torch.Tensor]]) -> Row:
    """Try one network."""
    torch.manual_seed(0)
    module, example = make()
    start = time.monotonic()
    try:
        graph = capture(module.eval(), example)
        network = look_at_network(graph, example)
    except Exception as error:  # a network that cannot be traced is a row of the table
        return Row(name, 0, 0.0, time.monotonic() - start, None, f"not traced: {one_line(error)[:80]}")
    seconds = time.monotonic() - start
    inside = {member.layer for group in network.groups for member in group.members}
    weights = sum(layer.weights for layer in network.layers)
    covered = sum(layer.weights for layer in network.layers if layer.name in inside) / weights
    source = random.Random(0)
    counts = {group.name: source.choice(group.choices(8, 0.25)) for group in network.groups}
    spec = StudentSpec(counts)
    remark = "; ".join(dict.fromkeys(left.reason for left in network.left_out[:4]))
    try:
        off = parity(graph, make_student(graph, network.groups, spec).module, example)
    except AutoCompressError as error:
        return Row(name, len(network.groups), covered, seconds, None, f"no file: {one_line(error)[:80]}")
    return Row(name, len(network.groups), covered, seconds, off, remark)


def parity(graph: nn.Module, student: nn.Module, example: torch.Tensor) -> float:
    """Return how far a student's file is from it, at a batch of 1 and at one of 8."""
    worst = 0.0
    with TemporaryDirectory() as folder:
        path, inputs = Path(folder) / "student.onnx", torch.randn(8, *example.shape[1:])
        for target in (Target("onnxruntime", batch=1), Target("onnxruntime", batch=8)):
            builder = ArtifactBuilder(get_runtime("onnxruntime"), target, Templates(graph, example), inputs, inputs[:2])
            builder.teacher_file(Path(folder) / f"teacher{target.batch}.onnx")
            builder.build(student, StudentSpec(), path)
            got = predict(path, get_runtime("onnxruntime"), target, inputs.numpy())
            with torch.no_grad():
                worst = max(worst, relative_difference(got, student(inputs).numpy()))
    return worst


def from_torchvision(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network of torchvision with random weights, and an input."""
    import torchvision

    extra = {"aux_logits": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    size = 299 if name == "inception_v3" else 224
    return torchvision.models.get_model(name, weights=None, **extra), torch.randn(1, 3, size, size)


def from_timm(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network of timm with random weights, and an input."""
    import timm

    model = timm.create_model(name, pretrained=False)
    return model, torch.randn(1, *model.default_cfg["input_size"])


SOURCES = {"torchvision": (from_torchvision, TORCHVISION), "timm": (from_timm, TIMM)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", choices=SOURCES)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    make, names = SOURCES[arguments.source]
    shown = conditions(Target("onnxruntime"), "")
    print(f"{shown['device_name']}, load {shown['load_1min']}, torch {torch.__version__}\n")
    print("| network | groups | weights in groups | seconds | file against student | left out |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in arguments.names or names:
        row = look(name, lambda name=name: make(name))  # type: ignore[misc]
        off = "-" if row.off is None else f"{row.off:.1e}"
        print(
            f"| {row.name} | {row.groups} | {row.covered:.0%} | {row.seconds:.1f} | {off} | {row.remark} |", flush=True
        )


if __name__ == "__main__":
    main()
