"""What a space says of recurrent layers that it does not decide about, in studies as users write them."""

from __future__ import annotations

import functools
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.search.prepare.space import space_without_measuring
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.space import Space
from autocompress.studies.study_file import StudyFile

EXAMPLE = torch.zeros(1, 4, dtype=torch.long)


class Reader(nn.Module):
    """Tokens [N, T], read by an LSTM layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.inner = nn.Embedding(9, 16), nn.Linear(16, 16)
        self.memory, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(self.inner(self.words(x)).relu())[0][:, -1])


@functools.cache
def network() -> Network:
    own = nn.Sequential(OrderedDict(small=Reader())).eval()
    teacher = look_at_network(capture(Reader().eval(), EXAMPLE), EXAMPLE)
    return replace(teacher, students={"small": look_at_network(capture(own, EXAMPLE), EXAMPLE)})


def space(**section: Any) -> Space:
    settings = StudyFile.model_validate({"space": {"axes": ["bits"], **section}})
    return space_without_measuring(network(), settings)


def reasons(found: Space, name: str) -> list[str]:
    return [entry.reason for entry in found.left_out() if entry.name == name]


def test_what_is_decided_for_the_teacher_alone_is_said_where_it_is_decided() -> None:
    (asked,) = reasons(space(recurrent=True), "small.memory")
    assert "for the teacher alone" in asked
    assert not reasons(space(), "small.memory"), "nothing is decided, and asking for it would change nothing here"
    (silent,) = reasons(space(), "memory")
    assert "recurrent = true" in silent


def test_bits_that_the_study_does_not_allow_are_no_variable_with_this_reason() -> None:
    found = space(recurrent=True, embeddings=True, bits=[32])
    assert found.variable("bits:memory") is None and found.variable("bits:words") is None
    for name in ("memory", "bits of embeddings"):
        (reason,) = reasons(found, name)
        assert "the study does not allow" in reason and "8" in reason
    allowed = space(recurrent=True, embeddings=True, bits=[8])
    for name in ("bits:memory", "bits:words"):
        assert allowed.variable(name) is not None
    assert not reasons(allowed, "memory") and not reasons(allowed, "bits of embeddings")
