"""Students of the user's own: how they are built, called, and refused where they do not fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import student_task
import tiny_task
import torch
from torch import nn

from autocompress import DataError, UnknownName
from autocompress.spaces.network import look_at_network
from autocompress.studies.own_students import Wanted, captured_students
from autocompress.studies.task import PreparedTask


@pytest.fixture(scope="module")
def prepared() -> PreparedTask:
    return student_task.task().prepared()


@pytest.fixture(scope="module")
def captured(prepared: PreparedTask) -> Callable[..., dict[str, Any]]:
    few = prepared.validation.inputs(slice(0, 8))
    wanted = Wanted.of(prepared.teacher, prepared.interface, few, torch.zeros(8, 10))
    return lambda **makers: captured_students(makers, wanted)


def test_a_function_with_a_width_gives_narrower_students_too(prepared: PreparedTask) -> None:
    assert list(prepared.students) == ["small", "small@0.75", "small@0.5", "plain"]
    widths = [look_at_network(m, prepared.example_input).layers[0].shape[0] for m in prepared.students.values()]
    assert widths == [16, 12, 8, 32]


def scaled(width: Any = None) -> nn.Module:
    """A network of so many channels, of 16 as it is, or of a part of them."""
    channels = 16 if width is None else width if isinstance(width, int) and width > 1 else round(16 * width)
    assert isinstance(channels, int)
    return student_task.small(channels)


def told(width: float) -> nn.Module:
    return scaled(width)


def named(width: str = "narrow") -> nn.Module:
    return scaled({"narrow": 6}[width])


def by_place(width: int = 16, /) -> nn.Module:
    return scaled(width)


@pytest.mark.parametrize(
    ("maker", "widths"),
    [
        (scaled, [16]),
        (told, [16, 12, 8]),
        (named, [6]),
        (by_place, [16]),
        (functools.partial(scaled, width=32), [32, 24, 16]),
        (functools.partial(scaled, width=0.5), [8, 6, 4]),
        (functools.partial(scaled, width=1), [16, 12, 8]),
        (functools.partial(scaled, width=True), [16]),
        (functools.partial(scaled, 24), [24]),
        (functools.partial(told, width=1.0), [16, 12, 8]),
        (lambda width=2.0: scaled(width), [32, 24, 16]),
    ],
)
def test_narrower_forms_are_asked_for_where_a_width_is_a_number(
    captured: Callable[..., dict[str, Any]], maker: Callable[..., nn.Module], widths: list[int]
) -> None:
    found = captured(net=maker)
    assert list(found) == ["net", "net@0.75", "net@0.5"][: len(widths)]
    assert [_first_width(module) for module in found.values()] == widths


def _first_width(module: nn.Module) -> int:
    return next(len(value) for value in module.state_dict().values())


def test_no_two_networks_of_a_task_share_a_name(prepared: PreparedTask) -> None:
    networks = {"": prepared.teacher, **prepared.students}
    names = {name: set(module.state_dict()) for name, module in networks.items()}
    assert sum(map(len, names.values())) == len(set.union(*names.values()))
    found = [look_at_network(module, prepared.example_input) for module in networks.values()]
    assert len({layer.name for each in found for layer in each.layers}) == sum(len(each.layers) for each in found)
    assert not {g.name for g in found[0].groups} & {g.name for g in found[1].groups}


def test_a_student_answers_as_the_network_that_its_function_makes(prepared: PreparedTask) -> None:
    inputs = prepared.validation.inputs(slice(0, 8))
    again = student_task.task().prepared()
    for name, module in prepared.students.items():
        assert torch.equal(module(inputs), again.students[name](inputs)), "the same weights each time"
    network = student_task.plain().eval()
    (only,) = replace(tiny_task.task(), students={"own": network}).prepared().students.values()
    torch.testing.assert_close(only(inputs), network(inputs), rtol=1e-5, atol=1e-5)


def test_networks_of_this_package_and_of_torchvision_go_by_name(captured: Callable[..., dict[str, Any]]) -> None:
    found = captured(net="digits_net")
    assert found["net"](torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    with pytest.raises(UnknownName, match="timm/<name>"):
        captured(net="digits_nett")


def test_networks_of_timm_go_by_name(captured: Callable[..., dict[str, Any]]) -> None:
    pytest.importorskip("timm", reason="the extra 'zoo' is not installed")
    with pytest.raises(UnknownName, match="timm model"):
        captured(net="timm/no_such_network")


def _fails() -> nn.Module:
    raise RuntimeError("no weights here")


@pytest.mark.parametrize(
    ("name", "maker", "said"),
    [
        ("wide", lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), r"outputs \[7\] for an input.*\[10\]"),
        ("other", lambda: nn.Linear(5, 10), "does not fit the task: it cannot take 8 validation inputs"),
        ("broken", _fails, "cannot be built: RuntimeError: no weights here"),
        ("number", lambda: 3, "is a int: let its function return a torch.nn.Module"),
        ("teacher", student_task.plain, "cannot be called 'teacher'"),
        ("forward", student_task.plain, "cannot be called 'forward'"),
        ("a.b", student_task.plain, "cannot be called 'a.b'"),
        ("meta", student_task.plain, "cannot be called 'meta'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    captured: Callable[..., dict[str, Any]], name: str, maker: Any, said: str
) -> None:
    with pytest.raises(DataError, match=said) as refused:
        captured(**{name: maker})
    assert "\n" not in str(refused.value)


def test_a_name_of_the_teachers_own_is_refused() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.small = tiny_task.network()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.small(x)

    task = replace(student_task.task(), teacher=Named().eval())
    with pytest.raises(DataError, match="cannot be called 'small'"):
        task.prepared()
