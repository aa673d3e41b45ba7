"""Which optimizer teaches the students of a study."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autocompress.search.prepare.space import space_without_measuring
from autocompress.search.report.html.wording import teaching
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.study_file import StudyFile

PLAIN: set[type[nn.Module]] = {nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm}


class LayerNormOfAnotherPackage(nn.LayerNorm):
    """As timm's."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNormByHand(nn.Module):
    """As those of transformers' language models."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(32))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class BatchNormOfAnotherPackage(nn.BatchNorm1d):
    """As timm's with an activation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False))


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
        ((LayerNormOfAnotherPackage(32),), None, "adamw"),
        ((RMSNormByHand(),), None, "adamw"),
        ((BatchNormOfAnotherPackage(32), nn.LayerNorm(32)), None, "sgd"),
    ],
)
@pytest.mark.parametrize("captured", [False, True])
def test_what_is_normalised_by_layers_is_taught_by_adamw_if_nothing_else_is_asked_for(
    norms: tuple[nn.Module, ...], asked: Literal["sgd", "adamw"] | None, optimizer: str, captured: bool
) -> None:
    """Captured, as a study looks at its teacher, layers of other packages are operators."""
    example = torch.zeros(1, 32)
    found = capture(network(*norms), example) if captured else network(*norms)
    if not captured and not {type(norm) for norm in norms} <= PLAIN:
        pytest.skip("these are told by their operators")
    settings = StudyFile().changed("recovery", optimizer=asked)
    space = space_without_measuring(look_at_network(found, example), settings)
    recovery = space.spec(space.taught).recovery
    assert recovery is not None and recovery.optimizer == optimizer
    shown = f"learning rate {recovery.peak_rate:.3g}"
    assert shown in teaching(recovery) and ("0.003" in shown) == (optimizer == "adamw"), "what was really taken"


def test_students_of_earlier_versions_keep_their_keys() -> None:
    assert "optimizer" not in StudentSpec(recovery=Recovery()).to_json()
    by_other = StudentSpec(recovery=Recovery(optimizer="adamw"))
    assert by_other.training_key() != StudentSpec(recovery=Recovery()).training_key()
