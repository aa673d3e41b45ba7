"""Teachers as people have them become plain networks that answer alike, and theirs stay as they are."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils.spectral_norm import spectral_norm

from autocompress.errors import ExportError
from autocompress.spaces.graph.interface import ONE_INPUT
from autocompress.spaces.network import look_at_network
from autocompress.studies.bare import bare_network
from autocompress.studies.tracing import captured_teacher, checked_answers


def plain(
    first: Callable[[Any], nn.Module] = lambda x: x, second: Callable[[Any], nn.Module] = lambda x: x
) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        first(nn.Conv2d(1, 8, 3)),
        nn.ReLU(),
        second(nn.Conv2d(8, 8, 3)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        first(nn.Linear(8, 4)),
    ).eval()


def masked(layer: nn.Module) -> nn.Module:
    prune.l1_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]
    return layer


def hooked() -> nn.Module:
    network = plain()
    network[0].register_forward_hook(lambda *_: None)
    return network


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return plain()


def with_a_fixed_filter() -> Any:
    network: Any = plain()
    kernel = network[0].weight.detach()
    del network[0].weight
    network[0].register_buffer("weight", kernel)
    return network


class Reading(nn.Module):
    """A recurrent layer reads the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.lstm(x.squeeze(1))[0][:, -1])


def with_a_recurrent_weight_norm() -> nn.Module:
    network = Reading().eval()
    parametrizations.weight_norm(network.lstm, "weight_hh_l0")
    return network


INPUTS = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))

CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "plain": (plain, ""),
    "weight norm": (lambda: plain(torch.nn.utils.weight_norm, torch.nn.utils.weight_norm), "weight_norm of 3"),
    "spectral norm": (lambda: plain(second=spectral_norm), "spectral_norm of 1"),
    "parametrized": (
        lambda: plain(parametrizations.weight_norm, parametrizations.spectral_norm),
        "parametrizations of 3",
    ),
    "parametrized recurrent": (with_a_recurrent_weight_norm, "parametrizations of 1"),
    "fixed filter": (with_a_fixed_filter, "1 fixed weights"),
    "orthogonal": (lambda: plain(second=parametrizations.orthogonal), "parametrizations of 1"),
    "pruned": (lambda: plain(masked), "pruning masks of 2"),
    "data parallel": (lambda: nn.DataParallel(plain()), "DataParallel"),
    "hooks": (hooked, "1 hooks"),
    "inference mode": (in_inference_mode, ""),
    "frozen": (lambda: plain().requires_grad_(False), "6 frozen weights"),
    "bfloat16": (lambda: plain().bfloat16(), "bfloat16"),
    "float64": (lambda: plain().double(), "float64"),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_a_bare_network_answers_alike_and_the_users_own_is_not_changed(name: str) -> None:
    make, said = CASES[name]
    teacher = make()
    kind = next(p.dtype for p in teacher.parameters())
    with torch.no_grad():
        expected = teacher(INPUTS.to(kind)).clone()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    bare = bare_network(teacher)
    got = checked_answers(bare.network, ONE_INPUT, INPUTS)
    graph = captured_teacher(bare.network, ONE_INPUT, INPUTS, got)
    tolerance = 0.02 if kind == torch.bfloat16 else 1e-5
    assert torch.allclose(got, expected.float(), atol=tolerance)
    with torch.no_grad():
        assert torch.allclose(graph(INPUTS), expected.float(), atol=tolerance)
        assert torch.equal(teacher(INPUTS.to(kind)), expected), "the user's network answers as before"
    assert before.keys() == teacher.state_dict().keys()
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert all(p.dtype == torch.float32 and not p.is_inference() for p in graph.parameters())
    assert not any(parametrize.is_parametrized(m) for m in graph.modules())
    assert (said in " ".join(bare.remarks)) if said else not bare.remarks
    found = look_at_network(graph, INPUTS[:1])
    names = [f"{layer.name}.weight" for layer in found.layers] + [f"{r.name}.weight_hh_l0" for r in found.recurrent]
    assert set(names) <= dict(graph.named_parameters()).keys(), "whatever is searched can be trained"
    assert len(names) == sum(isinstance(m, nn.Conv2d | nn.Linear | nn.LSTM) for m in bare.network.modules())
    copy.deepcopy(graph)
    graph(INPUTS).sum().backward()


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(10, 8), nn.Linear(8, 10, bias=False)
            self.head.weight = self.table.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x).mean(1))

    network: Any = bare_network(Tied()).network
    assert network.head.weight is network.table.weight


def test_what_cannot_be_taken_is_told_in_one_line() -> None:
    scripted = torch.jit.script(nn.Linear(2, 2))
    locked = nn.Linear(2, 2)
    locked.lock = threading.Lock()  # type: ignore[assignment]
    for teacher, message in (
        (scripted, "TorchScript"),
        (locked, "cannot be copied"),
        (nn.LazyLinear(3), "never ran"),
        (nn.Linear(2, 2, device="meta"), "without values"),
    ):
        with pytest.raises(ExportError, match=message) as caught:
            bare_network(teacher)
        assert "\n" not in str(caught.value)


def test_tables_look_rows_up_and_do_no_more() -> None:
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Embedding(9, 4, max_norm=0.5, sparse=True), nn.Flatten(), nn.Linear(12, 2)).eval()
    kept, words = copy.deepcopy(teacher.state_dict()), torch.randint(9, (5, 3))
    bare = bare_network(teacher)
    assert any("largest norm" in line for line in bare.remarks)
    assert all(torch.equal(value, kept[name]) for name, value in teacher.state_dict().items()), "theirs stays"
    network: Any = bare.network
    network(words).sum().backward()
    assert not network[0].weight.grad.is_sparse, "an optimizer of ours can move it"
    torch.testing.assert_close(network(words), teacher(words))
    assert float(network[0].weight.detach().norm(dim=1).max()) <= 0.5 + 1e-6
