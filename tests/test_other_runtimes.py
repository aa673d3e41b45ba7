"""OpenVINO and PyTorch: the seam, and the precision that really runs. Skipped, with the reason, where not installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_models import conv_chain

from autocompress.evaluators.runtimes.conformance import RuntimeConformance
from autocompress.evaluators.runtimes.openvino import OpenVino
from autocompress.evaluators.runtimes.pytorch import PyTorch, TorchCompile
from autocompress.spaces.target import Target

Said = tuple[int, str, str]


class TestOpenVino(RuntimeConformance):
    def make_runtime(self) -> OpenVino:
        return OpenVino()

    def sample_artifact(self, folder: Path) -> Path:
        return conv_chain(folder / "sample.onnx")


class TestPyTorch(RuntimeConformance):
    def make_runtime(self) -> PyTorch:
        return PyTorch()

    def sample_artifact(self, folder: Path) -> Path:
        path = folder / "sample.pt2"
        self.make_runtime().build(self.sample_student()[0], path)
        return path


@pytest.mark.slow
class TestTorchCompile(TestPyTorch):
    def make_runtime(self) -> PyTorch:
        return TorchCompile()


def test_openvino_runs_the_precision_of_the_plan_and_not_its_own_choice(tmp_path: Path) -> None:
    """Left alone it takes bfloat16 wherever the CPU has it, and a float32 baseline would be none."""
    runtime = OpenVino()
    if not runtime.available().ok:
        pytest.skip(runtime.available().reason)
    request, inputs, outputs = TestOpenVino().sample_student()
    found: dict[int, str] = {}
    for bits in runtime.capabilities(Target()).latency_bits:
        path = tmp_path / f"{bits}.onnx"
        asked = {} if bits == 32 else dict.fromkeys(request.layers.values(), bits)
        runtime.build(replace(request, bits=asked), path)
        kinds = runtime.inspect(path, Target())
        found[bits] = next(k for k in kinds if k.startswith("Convolution")).partition(" in ")[2]
    assert found[32].upper() == "F32"
    assert found.get(16, "BF16").upper() == "BF16"
    assert found[8].upper() in ("U8", "I8")
    exact = runtime.load(tmp_path / "32.onnx", Target()).run(inputs[:1])
    np.testing.assert_allclose(exact, outputs[:1], rtol=1e-4, atol=1e-5)


def test_every_runtime_is_listed_with_what_it_can_use_or_why_not(cli: Callable[..., Said]) -> None:
    code, out, _ = cli("runtimes")
    assert code == 0
    for name in ("onnxruntime", "openvino", "pytorch", "torch_compile"):
        assert name in out
