"""Core ML: what a package holds, read back with coremltools, and what its program computes. Running one needs a Mac."""

from __future__ import annotations

import itertools
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mil_programs import computed, program, weights
from nets import net, shaken
from numpy.typing import NDArray
from torch import Tensor, nn

from autocompress.errors import MeasurementError, RuntimeUnavailable
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.coreml import CoreMl
from autocompress.evaluators.score import file_bytes
from autocompress.spaces.target import Target
from autocompress.testing import RuntimeConformance

pytestmark = pytest.mark.slow

needs_coremltools = pytest.mark.skipif(not CoreMl().available().builds, reason=CoreMl().available().reason)


class TestCoreMl(RuntimeConformance):
    def make_runtime(self) -> CoreMl:
        return CoreMl()

    def sample_artifact(self, folder: Path) -> Path:
        path = folder / "sample.mlpackage"
        self.make_runtime().build(self.sample_student()[0], path)
        return path


class DepthwiseResidual(nn.Module):
    """A depthwise and a pointwise layer around a shortcut, all with norms, as in mobile networks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.deep, self.norm1 = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False), nn.BatchNorm2d(32)
        self.point, self.norm2 = nn.Conv2d(32, 32, 1, bias=False), nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.norm0(self.stem(x)))
        x = x + self.norm2(self.point(F.relu(self.norm1(self.deep(x)))))
        return self.head(F.relu(x).mean((2, 3)))


class Attention(nn.Module):
    """Its joint projection is no layer of ours, but has weights."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.mix = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head((x + self.mix(x, x, x, need_weights=False)[0]).mean(1))


def request_for(make: Callable[[], nn.Module], layers: tuple[str, ...] = (), **bits: int) -> BuildRequest:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = shaken(make()).eval()
    named = layers or tuple(n for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear))
    inputs = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(1)).numpy()
    return BuildRequest(None, {f"node_{n}": n for n in named}, bits, inputs, module)


def build(request: BuildRequest, path: Path) -> dict[str, int]:
    CoreMl().build(request, path)
    return CoreMl().inspect(path, Target())


def distance(got: NDArray[Any], expected: Tensor) -> float:
    exact = expected.detach().numpy()
    return float(np.abs(got - exact).max() / np.abs(exact).max())


@needs_coremltools
@pytest.mark.parametrize(("bits", "near"), [(32, 1e-5), (16, 0.005), (8, 0.03), (4, 0.5)])
def test_the_program_computes_what_the_student_does(tmp_path: Path, bits: int, near: float) -> None:
    request = request_for(DepthwiseResidual)
    request = replace(request, bits={} if bits == 32 else dict.fromkeys(request.layers.values(), bits))
    build(request, tmp_path / "m.mlpackage")
    inputs = request.calibration[:1]
    assert distance(computed(tmp_path / "m.mlpackage", inputs), request.module(torch.from_numpy(inputs))) < near


@needs_coremltools
@pytest.mark.parametrize("name", ["digits", "concat", "flatten", "grouped"])
def test_networks_of_every_structure_are_written_as_they_compute(tmp_path: Path, name: str) -> None:
    found = net(name)
    layers = {layer.name: layer.name for layer in found.space.context.layers}
    inputs = found.inputs(1)
    for bits, near in (({}, 1e-5), (dict.fromkeys(layers, 16), 0.01)):
        request = BuildRequest(None, layers, bits, inputs.numpy(), found.model)
        operators = build(request, tmp_path / "m.mlpackage")
        assert CoreMl().remark(operators, [bits.get(layer, 32) for layer in layers]) == ""
        assert distance(computed(tmp_path / "m.mlpackage", inputs.numpy()), found.model(inputs)) < near


class OfFlags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 4)

    def forward(self, flags: Tensor) -> Tensor:
        return self.head((~flags).float())


@needs_coremltools
def test_flags_are_taken_as_whole_numbers_and_stay_flags(tmp_path: Path) -> None:
    flags = torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    request = BuildRequest(None, {"head": "head"}, {}, flags.numpy(), OfFlags().eval())
    build(request, tmp_path / "m.mlpackage")
    got = computed(tmp_path / "m.mlpackage", flags[:1].numpy().astype(np.int32))
    assert distance(got, request.module(flags[:1])) < 1e-5


@needs_coremltools
def test_each_layer_has_the_bits_of_the_plan_and_no_other(tmp_path: Path) -> None:
    """Norms are fused and operators renamed on the way: a layer must still be found."""
    path = tmp_path / "m.mlpackage"
    for turn in (0, 2):
        widths = np.roll([32, 16, 8, 4], turn).tolist()
        bits = dict(zip(("stem", "deep", "point", "head"), widths, strict=True))
        request = request_for(DepthwiseResidual, **{k: v for k, v in bits.items() if v < 32})
        operators = build(request, path)
        assert CoreMl().remark(operators, widths) == ""
        assert CoreMl().remark(operators, [8, 8, 8, 8])
        kinds = ["linear" if layer == "head" else "conv" for layer in bits]
        words = {32: "float32", 16: "float16", 8: "float16, int8 weights", 4: "float16, int4 weights"}
        for kind, width in zip(kinds, widths, strict=True):
            assert operators[f"{kind} in {words[width]}"] == 1
        held = {o.name: str(o.weight.val.dtype) for o in program(path).operations if o.op_type in ("conv", "linear")}
        assert list(held.values()) == ["float32" if width == 32 else "float16" for width in widths]


@needs_coremltools
@pytest.mark.parametrize(("bits", "top"), [(8, 127), (4, 7)])
def test_weights_of_few_bits_are_the_student_s_to_half_a_step(tmp_path: Path, bits: int, top: int) -> None:
    def chain() -> nn.Module:
        layers = nn.Conv2d(3, 24, 3), nn.Conv2d(24, 24, 3, groups=24), nn.Flatten(), nn.Linear(24 * 144, 10)
        return nn.Sequential(*layers)

    request = request_for(chain, **{"0": bits, "1": bits, "3": bits})
    with torch.no_grad():
        request.module[0].weight[5] = 0  # a dead channel has no range
    build(request, tmp_path / "m.mlpackage")
    own = [request.module[i].weight.detach().numpy() for i in (0, 1, 3)]
    for held, weight in zip(weights(tmp_path / "m.mlpackage"), own, strict=True):
        step = np.abs(weight).reshape(len(weight), -1).max(1).reshape(-1, *[1] * (weight.ndim - 1)) / top
        assert (np.abs(held - weight) <= 0.5 * step + 2e-3 * np.abs(weight).max()).all()
        assert len(np.unique(held[0])) <= 2 * top + 1


@needs_coremltools
def test_fewer_bits_and_more_zeros_make_smaller_packages(tmp_path: Path) -> None:
    def wide() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 128, 3), nn.Flatten(), nn.Linear(18432, 10))

    sizes = []
    for bits in (32, 16, 8, 4):
        request = request_for(wide, **({} if bits == 32 else {"0": bits, "2": bits, "4": bits}))
        build(request, tmp_path / f"{bits}.mlpackage")
        sizes.append(file_bytes(tmp_path / f"{bits}.mlpackage"))
    assert all(small < 0.6 * large for large, small in itertools.pairwise(sizes))
    request = request_for(wide, **{"0": 16, "2": 16, "4": 8})
    with torch.no_grad():
        for index in (0, 2):
            request.module[index].weight.flatten()[::4] = 0
            request.module[index].weight.flatten()[1::2] = 0
    operators = build(request, tmp_path / "sparse.mlpackage")
    assert operators["conv in float16, sparse float16 weights"] == 2
    assert operators["linear in float16, int8 weights"] == 1
    assert CoreMl().remark(operators, [16, 16, 8]) == ""
    for held, index in zip(weights(tmp_path / "sparse.mlpackage")[:2], (0, 2), strict=True):
        np.testing.assert_array_equal(held, request.module[index].weight.detach().half().float().numpy())
    with torch.no_grad():
        for index in (0, 2):
            request.module[index].weight.add_(0.1)
    build(request, tmp_path / "dense.mlpackage")
    assert file_bytes(tmp_path / "sparse.mlpackage") < file_bytes(tmp_path / "dense.mlpackage") - 64 * 128 * 9


@needs_coremltools
def test_equal_weights_do_not_tie_layers_of_different_bits(tmp_path: Path) -> None:
    """A norm that starts at zero leaves whole layers of zeros, all alike."""

    class Zeros(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.three = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(3))
            for layer in (self.one, self.two, self.three):
                layer.weight.data = torch.full((3, 3, 3, 3), 0.25)

        def forward(self, x: Tensor) -> Tensor:
            return self.three(F.relu(self.two(F.relu(self.one(x))))).mean((2, 3))

    operators = build(request_for(Zeros, one=16, two=8, three=4), tmp_path / "m.mlpackage")
    assert CoreMl().remark(operators, [16, 8, 4]) == ""


@needs_coremltools
def test_attention_keeps_the_weights_that_are_no_layer_as_they_are(tmp_path: Path) -> None:
    request = request_for(Attention, layers=("patches", "mix.out_proj", "head"), patches=8, head=8)
    request = replace(request, bits={**request.bits, "mix.out_proj": 8})
    operators = build(request, tmp_path / "m.mlpackage")
    assert sum(count for kind, count in operators.items() if "int8" in kind) == 3
    assert CoreMl().remark(operators, [8, 8, 8]) == ""
    assert not any("float32" in kind for kind in operators if not kind.startswith("cast"))


@needs_coremltools
def test_the_student_is_left_as_it_was_and_nothing_else_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    request = request_for(DepthwiseResidual, stem=16, point=8, head=4)
    with torch.no_grad():
        request.module.stem.weight[:16] = 0
    before = {name: value.clone() for name, value in request.module.state_dict().items()}
    path = tmp_path / "packages" / "m.mlpackage"
    for _ in range(2):  # what lies there is replaced
        CoreMl().build(replace(request, batch=3), path)
    after = request.module.state_dict()
    assert list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)
    assert not list((tmp_path / "temporary").iterdir())
    assert list(path.parent.iterdir()) == [path]
    assert {p.name for p in path.rglob("*") if p.is_file()} == {"Manifest.json", "model.mlmodel", "weight.bin"}
    said = capfd.readouterr()
    assert said.out == said.err == ""
    from coremltools.models.utils import load_spec

    description = load_spec(str(path)).description
    sides = [*description.input, *description.output]
    assert [(s.name, list(s.type.multiArrayType.shape)) for s in sides] == [
        ("input", [3, 3, 16, 16]),
        ("output", [3, 10]),
    ]


@needs_coremltools
def test_what_cannot_be_converted_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "m.mlpackage"
    good = request_for(DepthwiseResidual)
    before = build(good, path)
    wrong = (
        replace(good, module=None),
        replace(good, calibration=np.zeros((4, 5, 8, 8), np.float32)),
        replace(good, bits={"no such layer": 8}),
    )
    for request in wrong:
        with pytest.raises(MeasurementError) as caught:
            CoreMl().build(request, path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert CoreMl().inspect(path, Target()) == before and list(tmp_path.iterdir()) == [path]


@needs_coremltools
def test_a_package_that_is_missing_or_broken_is_told_in_one_line(tmp_path: Path) -> None:
    build(request_for(DepthwiseResidual), tmp_path / "whole.mlpackage")
    (tmp_path / "file.mlpackage").write_bytes(b"no model at all")
    (tmp_path / "empty.mlpackage").mkdir()
    shutil.copytree(tmp_path / "whole.mlpackage", tmp_path / "cut.mlpackage")
    model = next((tmp_path / "cut.mlpackage").rglob("model.mlmodel"))
    model.write_bytes(model.read_bytes()[:500])
    shutil.copytree(tmp_path / "whole.mlpackage", tmp_path / "bare.mlpackage")
    next((tmp_path / "bare.mlpackage").rglob("weight.bin")).unlink()
    for name in ("missing", "file", "empty", "cut", "bare"):
        with pytest.raises(MeasurementError) as caught:
            CoreMl().inspect(tmp_path / f"{name}.mlpackage", Target())
        assert name in str(caught.value) and "\n" not in str(caught.value)
    for device in ("cpu", "gpu", "ane", "all"):
        assert CoreMl().inspect(tmp_path / "whole.mlpackage", Target(device=device))
    with pytest.raises(RuntimeUnavailable, match="allowed: cpu, gpu, ane, all"):
        CoreMl().inspect(tmp_path / "whole.mlpackage", Target(device="cuda"))


@pytest.mark.skipif(platform.system() == "Darwin", reason="on a Mac packages run")
def test_off_a_mac_running_is_refused_in_plain_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="only on macOS"):
        CoreMl().load(tmp_path / "m.mlpackage", Target(runtime="coreml"))
    assert not CoreMl().available().ok
