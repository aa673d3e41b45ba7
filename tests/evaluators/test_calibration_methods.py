"""Ranges of 8-bit activations: by several methods, streaming, and chosen on calibration inputs alone."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

from autocompress.compression.export import make_template
from autocompress.evaluators.activations import AUTO, Activations, calibrated, judged
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes import onnx_calibrate
from autocompress.evaluators.runtimes.base import BuildRequest, Ranges
from autocompress.evaluators.runtimes.calibrating import METHODS, MINMAX, TRAINED, TRIED, CalibratingRuntime
from autocompress.evaluators.runtimes.clipping import HISTOGRAM_METHODS, LEVELS, Histogram, clipped
from autocompress.evaluators.runtimes.onnx_calibrate import activation_ranges
from autocompress.evaluators.runtimes.onnx_quantize import quantize
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.recovery import Calibration

INPUTS = torch.randn(96, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 5),
        ).eval()


def request(net: nn.Module, inputs: torch.Tensor = INPUTS, **more: Any) -> BuildRequest:
    template = make_template(net, inputs[:2], exact=True)
    bits = dict.fromkeys(template.layers.values(), 8)
    return BuildRequest(template.write(net), template.layers, bits, inputs.numpy(), net, **more)


def squared_error(values: np.ndarray[Any, Any], low: float, high: float) -> float:
    """What 8 bits over a range really cost."""
    step = (high - low) / (LEVELS - 1)
    zero = round(-low / step)
    steps = np.clip(np.rint(values / step) + zero, 0, LEVELS - 1) - zero
    return float(np.square(steps * step - values).mean())


def histogram(values: np.ndarray[Any, Any]) -> Histogram:
    return Histogram.over(float(values.min()), float(values.max())).with_values(values)


@given(st.integers(0, 999), st.sampled_from(sorted(HISTOGRAM_METHODS)), st.booleans())
def test_a_range_holds_zero_and_is_never_wider_than_the_values(seed: int, method: str, positive: bool) -> None:
    values = np.random.default_rng(seed).standard_t(3, 4000).astype(np.float32)
    values = values.clip(0) if positive else values
    low, high = clipped(histogram(values), method)
    assert min(values.min(), 0) - 1e-5 <= low <= 0 <= high <= values.max() + 1e-5 and high > low


@settings(max_examples=10)
@given(st.integers(0, 999), st.floats(2, 30))
def test_the_squared_error_is_about_the_least_there_is(seed: int, outlier: float) -> None:
    values = np.random.default_rng(seed).standard_normal(20000).astype(np.float32).clip(0)
    values[0] = outlier
    least = min(squared_error(values, 0.0, outlier * k / 60) for k in range(1, 61))
    assert squared_error(values, *clipped(histogram(values), "mse")) < 1.15 * least


def test_one_outlier_among_many_is_cut_off_where_that_costs_less() -> None:
    values = np.random.default_rng(0).standard_normal(2_000_000).astype(np.float32)
    values[0] = 50.0
    low, high = clipped(histogram(values), "mse")
    assert low < -2 and high < 25
    assert squared_error(values, low, high) < 0.7 * squared_error(values, float(values.min()), 50.0)


def test_a_percentile_leaves_out_what_it_says() -> None:
    values = np.linspace(-1, 1, 100_001, dtype=np.float32)
    low, high = clipped(histogram(values), "percentile-99.9")
    assert (low, high) == (pytest.approx(-0.998, abs=0.002), pytest.approx(0.998, abs=0.002))


def test_a_tensor_of_one_value_keeps_its_range() -> None:
    for value in (0.0, 3.0, -2.0):
        for method in HISTOGRAM_METHODS:
            low, high = clipped(histogram(np.full(100, value, np.float32)), method)
            assert low <= value <= high


def test_the_study_file_names_what_there_is() -> None:
    assert set(get_args(Calibration)) == {*METHODS, AUTO}
    for name in ("onnxruntime", "openvino"):
        assert isinstance(get_runtime(name), CalibratingRuntime)


def test_own_ranges_from_least_to_largest_make_the_file_that_the_quantizer_makes() -> None:
    asked = request(network())
    ranges = activation_ranges(asked, METHODS[:1])[MINMAX]
    whole = quantize(asked.model, asked.layers, asked.bits, asked.calibration)
    own = quantize(asked.model, asked.layers, asked.bits, asked.calibration, ranges)
    assert own.SerializeToString() == whole.SerializeToString()


def test_memory_does_not_grow_with_the_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_calibrate, "MOST_BYTES", 1e6)
    peaks = []
    for count in (32, 512):
        asked = request(network(), torch.randn(count, 3, 8, 8))
        tracemalloc.start()
        activation_ranges(asked, METHODS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 1e5, "histograms hold no outputs"


def test_one_outlier_does_not_take_the_steps_of_all_others(tmp_path: Path) -> None:
    inputs = INPUTS.clone()
    inputs[0, 0, 0, 0] = 400.0
    asked = request(network(), inputs)
    plain = tmp_path / "plain.onnx"
    OnnxRuntime().build(replace(asked, bits={}), plain)
    losses = judged(Activations(AUTO), asked, OnnxRuntime(), Target(), plain, METHODS[:-1])
    assert losses["percentile-99.9"] < 0.5 * losses[MINMAX]
    chosen = calibrated(Activations(AUTO), asked, OnnxRuntime(), Target(), plain)
    assert chosen.method != MINMAX and chosen.request.ranges
    assert chosen.loss == losses[chosen.method] == min(losses[method] for method in TRIED if method in losses)
    assert not list(tmp_path.glob("*judged*"))


def test_a_named_method_is_what_the_file_gets(tmp_path: Path) -> None:
    net = network()
    templates = Templates(net, INPUTS[:1])
    bits = {"0": 8, "2": 8, "6": 8}
    trained = {"0": (-2.0, 2.0), "2": (0.0, 1.0), "6": (0.0, 0.5)}
    files = set()
    for method in METHODS:
        build = ArtifactBuilder(OnnxRuntime(), Target(), templates, INPUTS, INPUTS[:4], Activations(method))
        build.teacher_file(tmp_path / "teacher.onnx")
        artifact = build.build(net, StudentSpec(bits=bits), tmp_path / "int8.onnx", trained=trained)
        assert artifact.calibration == method
        files.add(artifact.path.read_bytes())
    assert len(files) >= len(METHODS) - 2, "some find that the whole range is best"
    again = build.build(net, StudentSpec(bits=bits), tmp_path / "gate.onnx", 2, trained=trained)
    assert again.calibration == "", "what is only timed is not calibrated"
    assert build.build(net, StudentSpec(), tmp_path / "float.onnx").calibration == ""


class Watched(OnnxRuntime):
    """Remembers which inputs gave ranges, and which its files were run on."""

    def __init__(self) -> None:
        self.gave: list[np.ndarray[Any, Any]] = []
        self.ran: list[np.ndarray[Any, Any]] = []

    def activation_ranges(self, request: BuildRequest, methods: Sequence[str]) -> Mapping[str, Ranges]:
        self.gave.append(request.calibration)
        return super().activation_ranges(request, methods)

    def load(self, path: Path, target: Target) -> Any:
        loaded, own = super().load(path, target), self
        if not path.name.endswith("-judged.onnx"):
            return loaded

        class Loaded:
            inputs = loaded.inputs

            def run(self, *arrays: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
                own.ran.extend(arrays)
                return loaded.run(*arrays)

        return Loaded()


def test_methods_are_judged_on_calibration_inputs_that_gave_no_range(tmp_path: Path) -> None:
    net, runtime = network(), Watched()
    samples = torch.randn(4, 3, 8, 8)  # of validation
    build = ArtifactBuilder(runtime, Target(), Templates(net, INPUTS[:1]), INPUTS, samples, Activations(AUTO))
    build.teacher_file(tmp_path / "teacher.onnx")
    artifact = build.build(net, StudentSpec(bits={"0": 8, "2": 8}), tmp_path / "int8.onnx")
    assert artifact.calibration.partition("+")[0] in TRIED
    assert np.array_equal(runtime.gave[0], INPUTS[:72].numpy())
    judged = np.unique(np.concatenate(runtime.ran), axis=0)
    assert np.array_equal(judged, np.unique(INPUTS[72:].numpy(), axis=0))
    again = build.build(net, StudentSpec(bits={"0": 8, "2": 8}), tmp_path / "again.onnx")
    assert again.calibration == artifact.calibration


@pytest.mark.parametrize("exact", [True, False])
def test_weights_are_edited_where_the_file_is_better_for_it(tmp_path: Path, exact: bool) -> None:
    net = network()
    reach = torch.logspace(-1, 0.5, 16)  # of channels, which all count alike
    net[0].weight.data.mul_(reach.view(-1, 1, 1, 1))
    net[0].bias.data.mul_(reach)
    net[2].weight.data.div_(reach.view(1, -1, 1, 1))
    graph = capture(net, INPUTS[:1])
    before = {name: value.clone() for name, value in graph.state_dict().items()}
    templates = Templates(graph, INPUTS[:1], exact)
    build = ArtifactBuilder(OnnxRuntime(), Target(), templates, INPUTS, INPUTS[:4], Activations(AUTO))
    artifact = build.build(graph, StudentSpec(bits={"0": 8, "2": 8, "6": 8}), tmp_path / "int8.onnx")
    assert "+equalized" in artifact.calibration
    assert all(torch.equal(value, before[name]) for name, value in graph.state_dict().items())
    plain = ArtifactBuilder(OnnxRuntime(), Target(), templates, INPUTS, INPUTS[:4])
    plain.build(graph, StudentSpec(bits={"0": 8, "2": 8, "6": 8}), tmp_path / "minmax.onnx")
    others = torch.randn(200, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = graph(others).numpy()
    off = {
        name: float(np.square(predict(tmp_path / name, OnnxRuntime(), Target(), others.numpy()) - expected).mean())
        for name in ("int8.onnx", "minmax.onnx")
    }
    assert off["int8.onnx"] < off["minmax.onnx"]
    assert {path.name for path in tmp_path.iterdir()} == {"int8.onnx", "minmax.onnx"}


def test_too_few_inputs_judge_nothing(tmp_path: Path) -> None:
    asked = request(network(), INPUTS[:12])
    OnnxRuntime().build(replace(asked, bits={}), tmp_path / "plain.onnx")
    chosen = calibrated(Activations(AUTO), asked, OnnxRuntime(), Target(), tmp_path / "plain.onnx")
    assert (chosen.method, chosen.loss) == (MINMAX, None) and not chosen.request.ranges


def scales(model: Any) -> dict[str, float]:
    """Of the activations that are quantized, by tensor."""
    known = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    return {n.input[0]: float(known[n.input[1]]) for n in model.graph.node if n.op_type == "QuantizeLinear"}


def test_ranges_of_training_are_those_of_the_file(tmp_path: Path) -> None:
    trained = {"0": (-1.5, 1.2), "2": (0.0, 0.7), "6": (0.0, 0.3)}
    asked = request(network(), trained=trained)
    ranges = activation_ranges(asked, [TRAINED])[TRAINED]
    OnnxRuntime().build(replace(asked, ranges=ranges), tmp_path / "int8.onnx")
    model = onnx.load(tmp_path / "int8.onnx")
    readers = {asked.layers[n.name]: n for n in model.graph.node if n.name in asked.layers}
    makers = {name: n for n in model.graph.node for name in n.output}
    found = scales(model)
    for layer, (low, high) in trained.items():
        node = makers[readers[layer].input[0]]
        while node.op_type != "QuantizeLinear" or node.input[0] not in found:
            node = makers[node.input[0]]
        name = node.input[0]
        while makers.get(name) is not None and makers[name].op_type in ("Reshape", "Flatten", "DequantizeLinear"):
            name = makers[name].input[0]
        assert found[node.input[0]] == pytest.approx((high - low) / 255, rel=1e-5), layer
