"""Files of every runtime for the inputs that networks take: images, tokens and flags, whole and made smaller inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.student import make_student
from autocompress.errors import MeasurementError
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.base import check_inputs
from autocompress.evaluators.runtimes.registry import RUNTIMES, get_runtime
from autocompress.evaluators.score import as_arrays, predict, relative_difference
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.inputs import rows_of
from autocompress.spaces.network import look_at_network
from autocompress.spaces.sizes import find_sizes
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

NEAR = {32: 1e-3, 8: 0.05}
FREE = ("litert", "onnxruntime", "pytorch")
"""Runtimes whose files take any batch, where the network does; others are faster at the target's own."""


class OfImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, stride=2)
        self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(16, 8)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.second(self.first(images).relu())).relu().mean((2, 3)))


class OfTokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.hidden, self.head = nn.Embedding(100, 32), nn.Linear(32, 64), nn.Linear(64, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.hidden(self.words(tokens)).relu().mean(1))


class OfFlags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(48, 64), nn.Linear(64, 4)

    def forward(self, flags: Tensor) -> Tensor:
        return self.head(self.hidden((~flags).float()).relu())


class OfTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(6, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.left(left).relu() + self.right(right)


INPUTS: dict[type[nn.Module], Callable[[], Tensor]] = {
    OfImages: lambda: torch.randn(8, 3, 30, 40),
    OfTokens: lambda: torch.randint(0, 100, (8, 48)),
    OfFlags: lambda: torch.rand(8, 48) < 0.5,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", [name for name in RUNTIMES.names() if name != "torch_compile"])  # as pytorch
def test_a_file_answers_as_its_student(name: str, kind: type[nn.Module], tmp_path: Path) -> None:
    runtime = get_runtime(name)
    answer = runtime.available()
    if not answer.builds:
        pytest.skip(answer.reason)
    target = Target(name, device="cuda" if name.startswith("tensorrt") else "cpu", batch=4)
    torch.manual_seed(0)
    network = kind().eval()
    inputs = INPUTS[kind]()
    graph = capture(network, inputs[:1])
    found = look_at_network(graph, inputs[:1])
    sizes, _ = find_sizes(network, graph, inputs[:1], None)
    parent = Parent(graph, found.groups, found.blocks, sizes)
    builder = ArtifactBuilder(runtime, target, Templates(graph, inputs[:1], parent=parent), inputs, inputs[:4])
    offered = runtime.capabilities(target)
    for size in (0, *(each.size for each in sizes[-1:])):
        for bits in (32, *({8} & {*offered.latency_bits, *offered.storage_bits})):
            low = {} if bits == 32 else {layer.name: bits for layer in found.layers}
            spec = StudentSpec(size=size, bits=low)
            student = make_student(parent, spec).module.eval()
            path = tmp_path / f"student{runtime.suffix}"
            builder.build(student, spec, path)
            if answer.ok:
                with torch.no_grad():
                    expected = student(inputs).numpy()
                got = predict(path, runtime, target, as_arrays(inputs))
                assert relative_difference(got, expected) < NEAR[bits], (size, bits)
                (takes,) = runtime.load(path, target).inputs
                assert (takes.shape[0] is None) == (name in FREE), (size, bits)


@pytest.mark.parametrize("name", [name for name in RUNTIMES.names() if name != "torch_compile"])
def test_a_runtime_says_whether_it_builds_files_of_several_inputs(name: str, tmp_path: Path) -> None:
    runtime = get_runtime(name)
    answer = runtime.available()
    if not answer.builds:
        pytest.skip(answer.reason)
    target = Target(name, device="cuda" if name.startswith("tensorrt") else "cpu")
    can, network, path = runtime.capabilities(target), OfTwo().eval(), tmp_path / f"model{runtime.suffix}"
    inputs = torch.randn(8, 8), torch.randn(8, 6)
    example = rows_of(inputs, slice(0, 1))
    builder = ArtifactBuilder(runtime, target, Templates(capture(network, example), example), inputs, inputs)
    check_inputs(name, can, 1)
    if can.one_input:
        with pytest.raises(MeasurementError, match="one input"):
            check_inputs(name, can, 2)
        with pytest.raises(MeasurementError, match="one input"):
            builder.teacher_file(path)
    else:
        check_inputs(name, can, 2)
        builder.teacher_file(path)
    assert path.exists() != can.one_input
