"""Files of 8 bits whose batch is fixed, and calibrated on fewer inputs, or on some that fill no whole batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from autocompress.compression.export import make_template
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.calibrating import METHODS, MINMAX, TRAINED
from autocompress.evaluators.runtimes.onnx_calibrate import activation_ranges
from autocompress.evaluators.runtimes.onnx_float import in_batches
from autocompress.evaluators.runtimes.onnx_quantize import quantize
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.runtimes.tensorrt_quantize import typed
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

BATCH = 8


class Net(nn.Module):
    """Convolutions and a classifier, if asked for with a class token, which fixes the batch of its files."""

    def __init__(self, token: bool = False) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3)
        self.head = nn.Linear(16, 5)
        self.token = nn.Parameter(torch.ones(1, 16)) if token else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.inner(self.conv(x).relu()).relu().mean((2, 3))
        if self.token is not None:
            x = torch.stack([self.token.expand(len(x), -1), x], 1).sum(1)
        return self.head(x)


def network(token: bool = False) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(token).eval()


def made(free: bool, inputs: NDArray[np.float32]) -> BuildRequest:
    """The network in 8 bits, in a graph of any batch or of BATCH."""
    module = network()
    template = make_template(module, torch.zeros(BATCH, 3, 8, 8), exact=True, symbolic_batch=free)
    bits = dict.fromkeys(template.layers.values(), 8)
    return BuildRequest(template.write(module), template.layers, bits, inputs, module, template.batch)


def images(count: int) -> NDArray[np.float32]:
    """Images of which the last has the largest numbers."""
    found = np.random.default_rng(0).standard_normal((count, 3, 8, 8), dtype=np.float32)
    found[-1] *= 4
    return found


@pytest.mark.parametrize("count", [1, 5, 20])
def test_every_input_gives_ranges_whatever_the_batch(count: int) -> None:
    fixed, free = (made(free, images(count)) for free in (False, True))
    batches = [given for batch in in_batches(fixed.model, fixed.calibration) for given in batch.values()]
    assert {len(batch) for batch in batches} == {BATCH} and len(batches) == -(-count // BATCH)
    methods = [method for method in METHODS if method != TRAINED]
    ranges = activation_ranges(fixed, methods)
    wanted = activation_ranges(free, [MINMAX])[MINMAX]
    given = fixed.model.graph.input[0].name
    assert ranges[MINMAX][given] == pytest.approx(wanted[free.model.graph.input[0].name])
    for method in methods:
        assert all(np.isfinite(ends).all() for ends in ranges[method].values())
    steps = []
    for request in (fixed, free):
        for model in (
            quantize(request.model, request.layers, request.bits, request.calibration),
            typed(request.model, request.layers, request.bits, request.calibration),
        ):
            held = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
            scales = [held[node.input[1]] for node in model.graph.node if node.op_type == "QuantizeLinear"]
            steps.append(sorted(float(scale) for scale in scales if scale.size == 1))
    for of_fixed, of_free in zip(steps[:2], steps[2:], strict=True):
        assert of_fixed and of_fixed == pytest.approx(of_free, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "pytorch"])
def test_a_batch_larger_than_the_calibration_set_is_no_obstacle(name: str, tmp_path: Path) -> None:
    runtime, target = get_runtime(name), Target(name, batch=BATCH)
    if not runtime.available().ok:
        pytest.skip(runtime.available().reason)
    few = torch.from_numpy(images(5))
    module = network(token=True)
    builder = ArtifactBuilder(runtime, target, Templates(module, few[:1]), few, few)
    builder.teacher_file(tmp_path / f"teacher{runtime.suffix}")
    assert not builder.batching().free
    for bits in ({}, {"conv": 8, "inner": 8} if 8 in runtime.capabilities(target).latency_bits else {"conv": 16}):
        built = builder.build(module, StudentSpec(bits=bits), tmp_path / f"model{runtime.suffix}")
        assert built.difference is not None and built.difference <= PARITY
        assert builder.difference(built.path, module) <= (0.1 if bits else PARITY)
