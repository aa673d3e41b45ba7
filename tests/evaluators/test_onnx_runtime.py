"""ONNX Runtime: the seam, what it finds in a file, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_models import conv_chain

from autocompress.errors import DataError, MeasurementError, PluginError, RuntimeUnavailable, UnknownName, UsageError
from autocompress.evaluators.runtimes import registry
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.score import compressed_bytes, file_bytes, predict
from autocompress.spaces import plugins
from autocompress.spaces.target import Target
from autocompress.testing import RuntimeConformance


class TestOnnxRuntime(RuntimeConformance):
    def make_runtime(self) -> OnnxRuntime:
        return OnnxRuntime()

    def sample_artifact(self, folder: Path) -> Path:
        return conv_chain(folder / "sample.onnx")


def test_a_built_int8_file_runs_int8_kernels_and_the_float_file_none(tmp_path: Path) -> None:
    runtime = OnnxRuntime()
    request, _, _ = TestOnnxRuntime().sample_student()
    small = replace(request, bits=dict.fromkeys(request.layers.values(), 8))
    for name, asked, convolutions in (("float", request, 0), ("int8", small, 2)):
        runtime.build(asked, tmp_path / name)
        operators = runtime.inspect(tmp_path / name, Target())
        assert operators.get("QLinearConv", 0) == convolutions
        assert operators.get("Conv", 0) == 2 - convolutions
    assert runtime.remark(operators, [8, 8, 32]) and not runtime.remark(operators, [8, 8, 8])


def test_what_cannot_be_quantized_is_told_in_one_line(tmp_path: Path) -> None:
    request, _, _ = TestOnnxRuntime().sample_student()
    wrong = replace(request, bits={"0": 8}, calibration=np.zeros((4, 5, 8, 8), np.float32))
    with pytest.raises(MeasurementError, match="cannot be quantized") as caught:
        OnnxRuntime().build(wrong, tmp_path / "m.onnx")
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_inspect_counts_blocked_convolutions_as_convolutions(tmp_path: Path) -> None:
    counts = OnnxRuntime().inspect(conv_chain(tmp_path / "m.onnx", channels=32, depth=4), Target())
    assert counts["Conv"] == 4
    assert "Relu" not in counts  # fused: this is the graph that runs, not the file's


def test_a_file_with_two_inputs_takes_both_in_order(tmp_path: Path) -> None:
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in ("a", "b")]
    out = helper.make_tensor_value_info("c", TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph([helper.make_node("Sub", ["a", "b"], ["c"])], "two", sides, [out])
    path = tmp_path / "two.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    loaded = OnnxRuntime().load(path, Target())
    assert [(i.name, i.shape, i.dtype) for i in loaded.inputs] == [(n, (1, 2), np.dtype("float32")) for n in ("a", "b")]
    one, two = np.array([[5, 7]], "float32"), np.array([[1, 2]], "float32")
    assert loaded.run(one, two).tolist() == [[4, 5]]
    rows = (np.repeat(one, 3, 0), np.repeat(two, 3, 0))
    assert predict(path, OnnxRuntime(), Target(), rows).tolist() == [[4, 5]] * 3
    with pytest.raises(DataError, match="takes 2 inputs, given are 1"):
        predict(path, OnnxRuntime(), Target(), one)


@pytest.mark.parametrize(("device", "provider"), [("cuda", "CUDA"), ("tensorrt", "Tensorrt")])
def test_a_gpu_that_is_not_there_is_an_error_and_no_silent_fall_back(
    tmp_path: Path, device: str, provider: str
) -> None:
    if device in OnnxRuntime().available().devices:
        pytest.skip("this machine has onnxruntime-gpu")
    for verb in (OnnxRuntime().load, OnnxRuntime().inspect):
        with pytest.raises(RuntimeUnavailable, match=f"{provider}ExecutionProvider") as caught:
            verb(conv_chain(tmp_path / "m.onnx"), Target(device=device))
        assert "\n" not in str(caught.value)


class _PlacedElsewhere(onnxruntime.InferenceSession):  # type: ignore[misc]
    """A session of an onnxruntime with a GPU provider that loads and then takes no operator."""

    def __init__(self, path: str, options: Any, providers: list[str], **settings: Any) -> None:
        self.asked = providers
        super().__init__(path, options, providers=["CPUExecutionProvider"], **settings)

    def get_providers(self) -> list[str]:
        return self.asked


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_takes_no_operator_is_an_error_too(
    tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU")]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: present)
    monkeypatch.setattr(onnxruntime, "InferenceSession", _PlacedElsewhere)
    with pytest.raises(RuntimeUnavailable, match=r"places no operator of it.*Conv on CPUExecutionProvider"):
        OnnxRuntime().load(conv_chain(tmp_path / "m.onnx"), Target(device=device))


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_left_out_in_silence_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As happens where onnxruntime-gpu is installed and the libraries it needs are not."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(RuntimeUnavailable, match="fell back from CUDAExecutionProvider to CPUExecutionProvider"):
        OnnxRuntime().load(conv_chain(tmp_path / "m.onnx"), Target(device="cuda"))


@pytest.mark.parametrize("batch", [1, 4, "n"])
def test_predict_gives_one_answer_per_image_whatever_the_batch(tmp_path: Path, batch: int | str) -> None:
    images = np.random.default_rng(1).standard_normal((7, 3, 16, 16)).astype(np.float32)
    path = conv_chain(tmp_path / "m.onnx", batch=batch)
    scores = predict(path, OnnxRuntime(), Target(batch=3), images)
    assert scores.shape == (7, 10)
    single = OnnxRuntime().load(conv_chain(tmp_path / "one.onnx", batch=1), Target())
    for image, score in zip(images, scores, strict=True):
        np.testing.assert_allclose(single.run(image[None])[0], score, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(0, 3, 16, 16), (2, 3, 8, 8), (2, 3)])
def test_predict_refuses_images_that_do_not_fit(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError):
        predict(conv_chain(tmp_path / "m.onnx"), OnnxRuntime(), Target(), np.zeros(shape, np.float32))


def test_size_counts_the_weights_stored_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"x" * 1000)
    assert file_bytes(path) == 1000
    assert compressed_bytes(path) < 100
    (tmp_path / "m.onnx.data").write_bytes(b"y" * 500)
    assert file_bytes(path) == 1500
    with pytest.raises(MeasurementError):
        file_bytes(tmp_path / "missing.onnx")


def test_the_registry_knows_onnxruntime_and_answers_an_unknown_name() -> None:
    assert registry.get_runtime("onnxruntime").name == "onnxruntime"
    assert "onnxruntime" in registry.all_runtimes()
    with pytest.raises(UnknownName, match=r"did you mean 'onnxruntime'.*install"):
        registry.get_runtime("onxruntime")


def test_a_well_known_runtime_that_is_not_there_is_answered_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugins, "installed", lambda group: [])
    with pytest.raises(UnknownName, match=r"autocompress\[openvino\]"):
        registry.get_runtime("openvino")


def test_the_registry_refuses_two_packages_with_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    same = [EntryPoint("mine", f"package_{side}:Mine", registry.RUNTIMES.group) for side in "ab"]
    monkeypatch.setattr(plugins, "installed", lambda group: same)
    with pytest.raises(UsageError, match="two packages"):
        registry.get_runtime("mine")


def test_a_runtime_that_cannot_be_loaded_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("no_such_package:Mine", "builtins:object"):
        entry = EntryPoint("mine", value, registry.RUNTIMES.group)
        monkeypatch.setattr(plugins, "installed", lambda group, entry=entry: [entry])
        with pytest.raises(PluginError, match="mine") as caught:
            registry.get_runtime("mine")
        assert "\n" not in str(caught.value)
        assert isinstance(registry.all_runtimes()["mine"], PluginError)


def test_running_a_file_imports_no_torch(tmp_path: Path) -> None:
    path = conv_chain(tmp_path / "m.onnx")
    code = (
        "import sys; from pathlib import Path; import autocompress.evaluators.timing.child;"
        "from autocompress.evaluators.runtimes.registry import get_runtime;"
        "from autocompress.spaces.target import Target;"
        f"get_runtime('onnxruntime').load(Path({str(path)!r}), Target());"
        "print([name for name in ('torch', 'pandas', 'onnx', 'optuna', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
