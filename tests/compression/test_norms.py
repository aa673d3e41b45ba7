"""Batch norms: their statistics are estimated anew, and nothing else changes."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.norms import estimating, norms_of, reestimate_norms


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


def test_statistics_are_the_plain_mean_over_batches() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5), nn.Dropout(0.9)).eval()
    inputs = 3 + 2 * torch.randn(12, 3, 6, 6)
    reestimate_norms(module, inputs, 4)
    means, variances, seen = [], [], []
    with torch.no_grad():
        for part in inputs.split(4):
            maps = module[0](part)
            means.append(maps.mean((0, 2, 3)))
            variances.append(maps.transpose(0, 1).flatten(1).var(1))
            normal = (maps - means[-1][:, None, None]) / (maps.var((0, 2, 3), correction=0) + 1e-5).sqrt()[
                :, None, None
            ]
            seen.append(normal.relu().mean((0, 2, 3)))
    torch.testing.assert_close(module[1].running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(module[1].running_var, torch.stack(variances).mean(0))
    torch.testing.assert_close(module[3].running_mean, torch.stack(seen).mean(0))


@pytest.mark.parametrize("count", [2, 7, 64])
def test_nothing_but_statistics_changes(count: int) -> None:
    net = nets.net("digits")
    module = net.student().module
    module.layer1.train()
    weights = {key: value.clone() for key, value in module.named_parameters()}
    training = [(m.training, getattr(m, "momentum", None)) for m in module.modules()]
    before = module.bn1.running_mean.clone()
    reestimate_norms(module, 5 + net.inputs(count), 16)
    assert not torch.equal(module.bn1.running_mean, before)
    assert all(torch.equal(value, weights[key]) for key, value in module.named_parameters())
    assert [(m.training, getattr(m, "momentum", None)) for m in module.modules()] == training


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_inputs_change_nothing(count: int) -> None:
    net = nets.net("digits")
    module = net.student().module
    reestimate_norms(module, net.inputs(count), 16)
    assert all(torch.equal(v, net.model.state_dict()[k]) for k, v in module.state_dict().items())


def test_norms_without_statistics_and_networks_without_norms_are_left_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4))
    asked: list[Tensor] = []
    module.register_forward_hook(lambda *_: asked.append(torch.empty(0)))
    reestimate_norms(module, torch.randn(8, 3, 6, 6), 4)
    assert not asked


def test_only_the_named_norms_are_estimated_and_all_get_their_mode_and_momentum_back() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3), nn.BatchNorm2d(3), nn.BatchNorm2d(3, momentum=0.2)).eval()
    model[2].train()
    inputs = 2 + torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert norms_of(model) == tuple(model)
    with pytest.raises(RuntimeError, match="as it was before"), estimating([model[0]]):
        assert model[0].training and not model[1].training
        model[0](inputs)
        raise RuntimeError("whatever happens, the mode is as it was before")
    assert [(m.training, m.momentum) for m in model] == [(False, 0.3), (False, 0.1), (True, 0.2)]
    torch.testing.assert_close(model[0].running_mean, inputs.mean((0, 2, 3)))
    assert not model[1].running_mean.any(), "this one was not asked for"


def test_a_last_part_of_the_inputs_counts_as_much_as_the_others() -> None:
    sizes: list[int] = []
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval()
    module.register_forward_hook(lambda _m, args, _o: sizes.append(len(args[0])))
    reestimate_norms(module, torch.randn(33, 1, 4, 4), 8)
    assert sizes == [9, 8, 8, 8], "no batch of one input, which has no variance"
