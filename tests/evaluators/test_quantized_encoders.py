"""An encoder with embeddings in few bits, from what its decisions harm to its file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from encoders import EXAMPLE, TOKENS, Encoder, context_of, unlike

from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.kl_meter import KLMeter
from autocompress.compression.losses import categorical_divergence
from autocompress.compression.sensitivity import measure_sensitivity
from autocompress.compression.student import make_student
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.templates import Templates
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.sensitivity import Question
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Capabilities, Target

CAN = Capabilities((32, 8), (16, 4), 8, table_bits=(16, 8, 4))
MANY = tuple(torch.cat([part] * 4) for part in TOKENS)


@pytest.fixture(scope="module")
def parent() -> Parent:
    """A captured encoder with all that was found in it; do not change it."""
    with torch.random.fork_rng(devices=[]):
        network = capture(unlike(Encoder(first=False)), EXAMPLE)
    return Parent.of(network, look_at_network(network, EXAMPLE))


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


def test_what_an_embedding_loses_is_measured_as_for_any_layer(parent: Parent) -> None:
    space = Space(context_of(look_at_network(parent.module, EXAMPLE), CAN), [BitsAxis()])
    found = measure_sensitivity(parent.module, space, MANY)
    nats = {m.option: m.nats for m in found.rows["bits:words"]}
    assert nats[16] < nats[8] < nats[4]
    assert len(found.of(space)["bits:words"]) == 4


@pytest.mark.parametrize("way", ["dynamic", "float"])
def test_ways_are_measured_as_training_computes_them(parent: Parent, way: str) -> None:
    name = "layers.1.up"
    spec = StudentSpec(bits={name: 8}, activations={name: way})
    meter = KLMeter(parent, TOKENS, categorical_divergence, lambda: False)
    question = Question("any", way)
    got = meter.measure({question: spec})[question]
    student = make_student(parent, StudentSpec()).module.eval()
    with torch.no_grad():
        expected = student(*TOKENS).double()
        FakeQuantizer(student, spec.bits, activations=spec.activations).switch_on()
        outputs = student(*TOKENS).double()
    assert got == pytest.approx(float(categorical_divergence(outputs, expected, 1.0).mean()), rel=1e-4)


def test_a_narrower_students_file_has_its_embedding_in_few_bits(parent: Parent, tmp_path: Path) -> None:
    templates = Templates(parent.module, EXAMPLE, parent=parent)
    builder = ArtifactBuilder(OnnxRuntime(), Target("onnxruntime"), templates, MANY, TOKENS)
    builder.teacher_file(tmp_path / "teacher.onnx")
    group = next(g for g in parent.groups if any(m.layer == "words" for m in g.members))
    channels = {group.name: group.channels // 2}
    linear = {name: 8 for name, part in parent.module.named_modules() if isinstance(part, torch.nn.Linear)}
    ways = dict.fromkeys(linear, "dynamic")
    specs = {
        "plain": StudentSpec(channels),
        "table": StudentSpec(channels, {"words": 8}),
        "both": StudentSpec(channels, {**linear, "words": 8}, activations=ways),
    }
    sizes = {}
    for name, spec in specs.items():
        built = builder.build(make_student(parent, spec).module, spec, tmp_path / f"{name}.onnx")
        assert built.difference is not None and built.difference < 1e-4
        assert built.calibration == "", "nothing of it has ranges from calibration"
        operators = OnnxRuntime().inspect(built.path, Target("onnxruntime"))
        assert OnnxRuntime().remark(operators, built.bits) == ""
        sizes[name] = built.path.stat().st_size
    assert sizes["both"] < sizes["table"] < sizes["plain"]
