"""OpenVINO and PyTorch: the seam, and the precision that really runs. Skipped, with the reason, where not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_models import conv_chain

from autocompress.errors import RuntimeUnavailable
from autocompress.evaluators.runtimes.openvino import OpenVino
from autocompress.evaluators.runtimes.pytorch import PyTorch, TorchCompile
from autocompress.spaces.target import Target
from autocompress.testing import RuntimeConformance

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


def test_openvino_is_loaded_without_libraries_that_a_user_would_not_ship(tmp_path: Path) -> None:
    """They would count as its memory and its load time."""
    if not OpenVino().available().ok:
        pytest.skip(OpenVino().available().reason)
    path = conv_chain(tmp_path / "m.onnx")
    code = (
        "import sys; from pathlib import Path; import autocompress.evaluators.timing.child;"
        "from autocompress.evaluators.runtimes.openvino import OpenVino;"
        "from autocompress.spaces.target import Target;"
        f"OpenVino().load(Path({str(path)!r}), Target());"
        "print([name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("runtime", [PyTorch(), TorchCompile()])
def test_pytorch_on_a_gpu_that_is_not_there_is_an_error_and_no_run_on_the_cpu(tmp_path: Path, runtime: PyTorch) -> None:
    if "cuda" in runtime.available().devices:
        pytest.skip("this machine has a CUDA device")
    path = tmp_path / "sample.pt2"
    runtime.build(TestPyTorch().sample_student()[0], path)
    for verb in (runtime.load, runtime.inspect):
        with pytest.raises(RuntimeUnavailable, match="no CUDA device") as caught:
            verb(path, Target(runtime.name, "cuda"))
        assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", [PyTorch(), TorchCompile()], ids=lambda runtime: runtime.name)
@pytest.mark.parametrize("bits", [32, 16])
def test_pytorch_on_a_gpu_answers_as_on_the_cpu(tmp_path: Path, runtime: PyTorch, bits: int) -> None:
    if "cuda" not in runtime.available().devices:
        pytest.skip("this machine has no CUDA device")
    request, inputs, outputs = TestPyTorch().sample_student()
    request = replace(request, bits=dict.fromkeys(request.layers.values(), 16) if bits == 16 else {})
    runtime.build(request, tmp_path / "sample.pt2")
    loaded = runtime.load(tmp_path / "sample.pt2", Target(runtime.name, "cuda"))
    tolerance = 1e-3 if bits == 32 else 5e-2
    for image, output in zip(inputs, outputs, strict=True):  # more of them than there are buffers
        np.testing.assert_allclose(loaded.run(image[None])[0], output, rtol=1e-2, atol=tolerance * abs(output).max())


def test_every_runtime_is_listed_with_what_it_can_use_or_why_not(cli: Callable[..., Said]) -> None:
    code, out, _ = cli("runtimes")
    assert code == 0
    for name in ("onnxruntime", "openvino", "pytorch", "torch_compile"):
        assert name in out
