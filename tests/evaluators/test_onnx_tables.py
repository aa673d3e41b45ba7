"""Files with embeddings in fewer bits: they are smaller by as much, and answer as the student does in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from encoders import EXAMPLE, TOKENS, Encoder, answers, unlike
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.export import Template, make_template
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.runtimes.onnx_tables import store_tables
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import PARITY
from autocompress.evaluators.templates import Templates
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target

ROWS = 3000


class Classifier(nn.Module):
    """Words [N, T] and a mask of them, and what is made of their mean; nearly all of its weights are a table."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words, self.inner, self.head = nn.Embedding(ROWS, width), nn.Linear(width, 16), nn.Linear(16, 5)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        words = self.words(tokens) * seen[..., None]
        return self.head(self.inner(words.sum(1) / seen.sum(1, keepdim=True)).relu())


def made(network: nn.Module) -> tuple[nn.Module, Template]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        captured = capture(network.eval(), EXAMPLE)
    return captured, make_template(captured, tuple(part[:2] for part in TOKENS), symbolic_batch=True)


def request_of(module: nn.Module, template: Template, bits: dict[str, int]) -> BuildRequest:
    inputs = tuple(part.numpy() for part in TOKENS)
    return BuildRequest(
        template.write(module), template.layers, bits, inputs, module, target_batch=4, tables=template.tables
    )


def rounded(module: nn.Module, bits: dict[str, int]) -> np.ndarray[Any, Any]:
    fake = FakeQuantizer(module, bits)
    fake.switch_on()
    try:
        with torch.no_grad():
            found: np.ndarray[Any, Any] = module(*TOKENS).numpy()
    finally:
        fake.switch_off()
    return found


class Own(nn.Module):
    """A classifier under a name, so that nothing in it is called as in a teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.own = Classifier(16)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        found: Tensor = self.own(tokens, seen)
        return found


def test_a_student_of_the_users_own_has_its_own_table_in_fewer_bits(tmp_path: Path) -> None:
    teacher, own = (capture(network.eval(), EXAMPLE) for network in (Classifier(), Own()))
    parent = replace(Parent(teacher), students={"own": Parent(own)})
    builder = ArtifactBuilder(
        OnnxRuntime(), Target("onnxruntime", batch=4), Templates(teacher, EXAMPLE, parent=parent), TOKENS, TOKENS
    )
    builder.teacher_file(tmp_path / "teacher.onnx")
    sizes = {}
    for width in (32, 8, 4):
        bits = {} if width == 32 else {"own.words": width}
        built = builder.build(own, StudentSpec(student="own", bits=bits), tmp_path / f"{width}.onnx")
        sizes[width] = built.path.stat().st_size
        assert builder.difference(built.path, own, student="own") < (0.3 if width < 32 else PARITY)
    assert sizes[32] - sizes[8] > 0.65 * 4 * ROWS * 16 and sizes[4] < sizes[8]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("width", "part"), [(16, 0.5), (8, 0.25), (4, 0.125)])
def test_a_file_is_smaller_by_its_table_and_answers_as_in_training(
    tmp_path: Path, runtime: str, width: int, part: float
) -> None:
    chosen = get_runtime(runtime)
    if not (state := chosen.available()).ok:
        pytest.skip(state.reason)
    module, template = made(Classifier())
    assert set(template.tables.values()) == {"words"}
    chosen.build(request_of(module, template, {}), tmp_path / "plain.onnx")
    chosen.build(request_of(module, template, {"words": width}), tmp_path / "small.onnx")
    plain, small = ((tmp_path / f"{name}.onnx").stat().st_size for name in ("plain", "small"))
    table, scales = ROWS * 32 * 4, ROWS * 4 if width < 16 else 0
    assert plain - small == pytest.approx(table * (1 - part) - scales, abs=4000)
    wanted = rounded(module, {"words": width})
    np.testing.assert_allclose(answers(chosen, tmp_path / "small.onnx"), wanted, atol=2e-3)
    if width < 16:
        assert not np.allclose(wanted, rounded(module, {}), atol=1e-4), "rounding is seen in the answers"


def test_the_table_stays_small_in_the_graph_that_runs(tmp_path: Path) -> None:
    import onnxruntime

    module, template = made(Classifier())
    OnnxRuntime().build(request_of(module, template, {"words": 8}), tmp_path / "small.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "ran.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "small.onnx"), options, providers=["CPUExecutionProvider"])
    held = [i for i in onnx.load(tmp_path / "ran.onnx").graph.initializer if ROWS in i.dims and 32 in i.dims]
    assert [each.data_type for each in held] == [onnx.TensorProto.INT8]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_rows_of_odd_length_have_four_bits_too(tmp_path: Path, runtime: str) -> None:
    chosen = get_runtime(runtime)
    if not (state := chosen.available()).ok:
        pytest.skip(state.reason)
    module, template = made(Classifier(33))
    chosen.build(request_of(module, template, {"words": 4}), tmp_path / "odd.onnx")
    assert (tmp_path / "odd.onnx").stat().st_size == pytest.approx(ROWS * (34 / 2 + 4), abs=8000)
    np.testing.assert_allclose(answers(chosen, tmp_path / "odd.onnx"), rounded(module, {"words": 4}), atol=2e-3)


def test_a_table_that_something_else_reads_stays_as_it_is() -> None:
    module, template = made(Classifier())
    model = template.write(module)
    (table,) = (node.input[0] for node in model.graph.node if node.name in template.tables)
    model.graph.node.append(onnx.helper.make_node("Identity", [table], ["copied"], "other"))
    assert store_tables(model, template.tables, {"words": 8}) is model
    assert store_tables(model, template.tables, {}) is model


def test_eight_bits_of_layers_and_of_embeddings_go_together(tmp_path: Path) -> None:
    module, template = made(unlike(Encoder(first=False)))
    bits = {**dict.fromkeys(template.layers.values(), 8), "words": 8}
    OnnxRuntime().build(request_of(module, template, bits), tmp_path / "int8.onnx")
    operators = OnnxRuntime().inspect(tmp_path / "int8.onnx", Target("onnxruntime"))
    assert OnnxRuntime().remark(operators, [bits[layer] for layer in template.layers.values()]) == ""
    OnnxRuntime().build(request_of(module, template, bits | {"words": 32}), tmp_path / "layers.onnx")
    got, without = (answers(OnnxRuntime(), tmp_path / f"{name}.onnx") for name in ("int8", "layers"))
    assert 0 < np.abs(got - without).max() < 0.1 * np.abs(without).max()
