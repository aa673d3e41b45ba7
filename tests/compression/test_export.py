"""Export: a student's file answers as the student does, whatever the structure and the bits."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import nets
import numpy as np
import onnxruntime
import pytest
import torch
from exported import SLOW, answers, assert_near, student_of
from odd_structures import ODD
from torch import Tensor, nn

from autocompress.compression.export import export_onnx, make_template
from autocompress.errors import ExportError
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.groups import remove_channels
from autocompress.spaces.network import look_at_network


@pytest.mark.slow
@pytest.mark.parametrize("name", [*nets.SMALL, *SLOW])
def test_a_pruned_students_file_answers_as_the_student_and_as_torchs_own_export(name: str) -> None:
    student, net = student_of(name), nets.net(name)
    written = nets.template(name).write(student)
    for batch in (1, 3):
        inputs = net.inputs(batch)
        with torch.no_grad():
            expected = student(inputs).numpy()
        assert_near(answers(written, inputs), expected)
    one = net.inputs(1)
    assert_near(answers(written, one), answers(export_onnx(student, net.example), one))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*nets.SMALL, *SLOW])
def test_one_template_serves_students_of_any_width(name: str) -> None:
    net = nets.net(name)
    for width in (0.25, 0.9):
        student = student_of(name, width)
        with torch.no_grad():
            expected = student(net.inputs(2)).numpy()
        assert_near(answers(nets.template(name).write(student), net.inputs(2)), expected)
    with torch.no_grad():
        expected = net.model(net.inputs(2)).numpy()
    assert_near(answers(nets.template(name).write(net.model), net.inputs(2)), expected)


def test_writing_changes_neither_the_student_nor_the_template() -> None:
    student, template = student_of("flatten"), nets.template("flatten")
    before = {k: v.clone() for k, v in student.state_dict().items()}
    graph = template.model.SerializeToString()
    template.write(student)
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())
    assert template.model.SerializeToString() == graph


def test_norms_and_biases_that_did_nothing_in_the_teacher_count_in_the_student() -> None:
    # an exporter drops what happens to be zero or one; training then gives it another value
    teacher = nets.ConcatNet().eval()
    for module in teacher.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    example = torch.zeros(1, 3, 16, 16)
    template = make_template(teacher, example)
    student = nets.shaken(nets.ConcatNet(), seed=5).eval()
    inputs = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_near(answers(template.write(student), inputs), student(inputs).numpy())


def test_gates_in_another_order_and_biases_in_other_dimensions_are_found_again() -> None:
    class Read(nn.Module):
        def __init__(self, cell: nn.Module) -> None:
            super().__init__()
            self.cell, self.head = cell, nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x)[0][:, -1])

    inputs = torch.randn(3, 5, 4)
    for kind in (nn.GRU, nn.LSTM, nn.RNN):
        teacher, student = Read(kind(4, 8, batch_first=True)).eval(), Read(kind(4, 8, batch_first=True)).eval()
        written = make_template(teacher, torch.zeros(1, 5, 4)).write(student)
        with torch.no_grad():
            assert_near(answers(written, inputs), student(inputs).numpy())


def test_biases_of_gates_are_told_from_those_of_wide_layers() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = nn.LSTM(4, 64, batch_first=True), nn.Linear(64, 60_000)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cell(x)[0][:, -1])

    torch.manual_seed(0)
    teacher, student = Wide().eval(), Wide().eval()
    template = make_template(teacher, torch.zeros(1, 5, 4))  # among so many numbers some are alike
    assert {name.rpartition(".")[0] for rows in template.rows.values() for name, _ in rows} == {"cell"}
    inputs = torch.randn(3, 5, 4)
    with torch.no_grad():
        assert_near(answers(template.write(student), inputs), student(inputs).numpy())


def test_narrower_transposed_convolutions_of_one_channel_each_are_written_into_the_template() -> None:
    class Enlarged(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.first, self.up = nn.Conv2d(3, width, 3, 2, 1), nn.ConvTranspose2d(width, width, 4, 2, 1, groups=width)
            self.blocks, self.last = nn.ConvTranspose2d(width, 8, 3, 1, 1, groups=4), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.blocks(self.up(self.first(x).relu())).relu())

    template = make_template(Enlarged(32).eval(), torch.zeros(1, 3, 8, 8))
    student, inputs = nets.shaken(Enlarged(16), seed=5).eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert_near(answers(template.write(student), inputs), student(inputs).numpy())


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("multiplied", {"patches", "up", "down", "wide", "back", "head"}),
        ("given size", {"first", "second", "head"}),
        ("without weights", {"patches", "up", "down", "head"}),
    ],
)
def test_layers_that_stand_in_the_code_as_operators_are_layers_in_files_too(name: str, layers: set[str]) -> None:
    torch.manual_seed(0)
    module, example, inputs = ODD[name][0]().eval(), torch.zeros(1, 3, 16, 16), torch.randn(4, 3, 16, 16)
    graph = capture(module, example)
    template, student = make_template(graph, example), copy.deepcopy(graph)
    assert set(template.layers.values()) == layers
    network = look_at_network(graph, example)
    remove_channels(student, network.groups, {group.name: group.channels // 2 for group in network.groups})
    for each in (graph, student):
        written = template if each is graph else template.taught(student, make_template(student, example))
        assert_near(answers(written.write(each), inputs), each(inputs).detach().numpy())


def test_numbers_without_dimensions_are_reshaped_in_a_template_too() -> None:
    class Sorted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sort(1)[0]

    inputs = torch.randn(2, 6)
    written = make_template(Sorted().eval(), torch.zeros(1, 6)).write(Sorted())
    np.testing.assert_array_equal(answers(written, inputs), inputs.sort(1)[0].numpy())


@torch.library.custom_op("autocompress_tests::oddity", mutates_args=())
def oddity(x: Tensor) -> Tensor:
    return x.clone()


@oddity.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(oddity(x))


class Branching(nn.Module):
    """Decides by values, which no exporter can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if float(x.sum()) > 0 else self.linear(-x)


def test_an_operator_without_an_onnx_form_is_named_in_one_line() -> None:
    with pytest.raises(ExportError, match=r"autocompress_tests\.oddity") as caught:
        make_template(Odd().eval(), torch.zeros(1, 4))
    assert "\n" not in str(caught.value)


def test_a_network_that_cannot_be_traced_is_told_in_one_line() -> None:
    with pytest.raises(ExportError, match="cannot be exported") as caught:
        make_template(Branching().eval(), torch.zeros(1, 4))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_file_of_ours_tells_nothing_of_the_machine_it_was_made_on() -> None:
    written = nets.template("flatten").write(student_of("flatten")).SerializeToString()
    for part in (str(Path.cwd()), str(Path(torch.__file__).parent), str(Path.home())):
        assert part.encode() not in written
    kinds = Counter(n.op_type for n in nets.template("flatten").model.graph.node)
    assert kinds["Conv"] == 2 and "BatchNormalization" not in kinds, "norms are folded into the layers before them"


class Attention(nn.Module):
    """Its joint projection is stored in three parts by the exporter, which no rewriting could follow."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x, x, x, need_weights=False)[0].mean(1))  # type: ignore[no-any-return]


def test_an_exact_template_writes_networks_whose_weights_cannot_be_traced(tmp_path: Path) -> None:
    net, example = Attention().eval(), torch.randn(2, 5, 16)
    session = onnxruntime.InferenceSession(make_template(net, example, exact=True).write(net).SerializeToString())
    with torch.no_grad():
        expected = net(example).numpy()
    np.testing.assert_allclose(session.run(None, {"input": example.numpy()})[0], expected, rtol=1e-4, atol=1e-5)
