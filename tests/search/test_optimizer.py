"""Which optimizer teaches the students of a study."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import nn

from autocompress.search.prepare.space import space_without_measuring
from autocompress.search.report.html.wording import teaching
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.study_file import StudyFile


def network(*norms: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(32, 32), *norms, nn.ReLU(), nn.Linear(32, 10)).eval()


@pytest.mark.parametrize(
    ("norms", "asked", "optimizer"),
    [
        ((), None, "sgd"),
        ((nn.BatchNorm1d(32),), None, "sgd"),
        ((nn.LayerNorm(32),), None, "adamw"),
        ((nn.RMSNorm(32),), None, "adamw"),
        ((nn.LayerNorm(32), nn.BatchNorm1d(32)), None, "sgd"),
        ((nn.LayerNorm(32),), "sgd", "sgd"),
        ((nn.BatchNorm1d(32),), "adamw", "adamw"),
    ],
)
def test_what_is_normalised_by_layers_is_taught_by_adamw_if_nothing_else_is_asked_for(
    norms: tuple[nn.Module, ...], asked: Literal["sgd", "adamw"] | None, optimizer: str
) -> None:
    settings = StudyFile().changed("recovery", optimizer=asked)
    space = space_without_measuring(look_at_network(network(*norms), torch.zeros(1, 32)), settings)
    recovery = space.spec(space.taught).recovery
    assert recovery is not None and recovery.optimizer == optimizer
    shown = f"learning rate {recovery.peak_rate:.3g}"
    assert shown in teaching(recovery) and ("0.003" in shown) == (optimizer == "adamw"), "what was really taken"


def test_students_of_earlier_versions_keep_their_keys() -> None:
    assert "optimizer" not in StudentSpec(recovery=Recovery()).to_json()
    by_other = StudentSpec(recovery=Recovery(optimizer="adamw"))
    assert by_other.training_key() != StudentSpec(recovery=Recovery()).training_key()
