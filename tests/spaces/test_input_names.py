"""Names of inputs become parameters of code, and names again."""

from __future__ import annotations

import keyword

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.spaces.graph.capture import capture
from autocompress.spaces.graph.input_names import TAKEN, as_given, as_parameter
from autocompress.spaces.graph.interface import Interface

NAMES = st.one_of(
    st.text(min_size=1),
    st.text("_u2d0-.A", min_size=1),
    st.sampled_from([*keyword.kwlist, *sorted(TAKEN), "hours-per-week", "user.id", "0", "größe", "_u2d_", "x_ua0_u_"]),
)


@given(NAMES)
def test_any_name_is_found_again_in_a_parameter_that_python_takes(name: str) -> None:
    parameter = as_parameter(name)
    assert parameter.isascii() and parameter.isidentifier() and not keyword.iskeyword(parameter)
    assert parameter not in TAKEN
    assert as_given(parameter) == name


@pytest.mark.parametrize("name", ["input", "input_ids", "attention_mask", "num_users", "X1", "_inner"])
def test_names_that_python_takes_stay(name: str) -> None:
    assert as_parameter(name) == as_given(name) == name


KEYS = ("hours-per-week", "user.id", "class", "self", "torch", "device", "0 %", 7)


class Sums(nn.Module):
    """Takes a mapping with all of KEYS."""

    def forward(self, columns: dict[str | int, Tensor]) -> Tensor:
        return sum(columns[key] * (at + 1) for at, key in enumerate(KEYS)) + torch.zeros(1, device="cpu")


def test_a_network_is_captured_whatever_its_columns_are_called() -> None:
    columns = tuple(torch.full((1, 2), float(at)) for at in range(len(KEYS)))
    graph = capture(Sums().eval(), columns, Interface(KEYS, "mapping"))
    many = tuple(torch.cat([part, part + 1]) for part in columns)
    assert torch.equal(graph(*many), Sums()(dict(zip(KEYS, many, strict=True))))
