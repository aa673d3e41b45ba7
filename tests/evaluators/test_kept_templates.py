"""Exports that are kept: read back they write the same files, and whatever an export depends on makes another one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nets
import pytest
import torch
from torch import Tensor, fx, nn

from autocompress.compression.export import Template, make_template
from autocompress.evaluators import kept_templates
from autocompress.evaluators.kept_templates import form_of, kept_template
from autocompress.spaces.graph.capture import capture

EXAMPLE = torch.zeros(1, 3, 8, 8)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    return tmp_path / "templates"


def never() -> Template:
    raise AssertionError("it was kept")


def small(change: Callable[[nn.Sequential], object] = lambda net: None) -> fx.GraphModule:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 5))
    net.register_buffer("offset", torch.zeros(2))
    change(net)
    return capture(net.eval(), EXAMPLE)


@pytest.mark.parametrize("name", nets.SMALL)
def test_what_is_kept_writes_the_same_files_for_students_of_any_width(name: str) -> None:
    net = nets.net(name)
    made = kept_template(net.model, net.example, how="", make=lambda: nets.template(name))
    found = kept_template(net.model, net.example, how="", make=never)
    assert found.own == made.own and found.pairs == made.pairs and found.layers == made.layers
    for width in (1.0, 0.5):
        student = net.student(net.spec(channels=width)).module
        assert found.write(student) == made.write(student)


def test_it_holds_no_weights(kept: Path) -> None:
    net = capture(nn.Sequential(nn.Flatten(), nn.Linear(192, 4096)).eval(), EXAMPLE)
    kept_template(net, EXAMPLE, how="", make=lambda: make_template(net, EXAMPLE))
    (file,) = kept.iterdir()
    assert file.stat().st_size < 4096


def _turn(net: nn.Sequential) -> None:
    net[2].ceil_mode = True


def _constant(net: nn.Sequential) -> None:
    class Adds(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 2 * self.offset.sum()

    net.__class__ = Adds
    net.offset = torch.tensor([0.0, 3.0])


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.__setitem__(0, nn.Conv2d(3, 4, 3, padding_mode="circular")),
        lambda net: net.__setitem__(0, nn.Conv2d(3, 4, 3, bias=False)),
        lambda net: net.__setitem__(1, nn.BatchNorm2d(4, eps=0.1)),
        _turn,
        lambda net: net.append(nn.ReLU()),
        _constant,
    ],
)
def test_another_network_is_another_export(change: Callable[[nn.Sequential], object]) -> None:
    assert form_of(small(), EXAMPLE) != form_of(small(change), EXAMPLE) is not None


def test_trained_weights_and_statistics_are_none_and_other_inputs_are() -> None:
    net, form = small(), form_of(small(), EXAMPLE)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1.0)
        net.get_submodule("1").running_mean.add_(1.0)
    assert form_of(net, EXAMPLE) == form
    assert form_of(net, torch.zeros(2, 3, 8, 8)) != form != form_of(net, EXAMPLE, EXAMPLE)


class Own(nn.ReLU):
    """A layer of a user's own, whose code may be any."""


def _hooked() -> fx.GraphModule:
    net = small()
    net.get_submodule("0").register_forward_hook(lambda module, given, answer: answer + 1)
    return net


def _with(layer: nn.Module) -> fx.GraphModule:
    net = small()
    net.set_submodule("2", layer)
    return net


@pytest.mark.parametrize("network", [_hooked, lambda: _with(Own()), lambda: nn.Sequential(nn.Linear(3, 3))])
def test_what_cannot_be_told_is_exported_each_time(network: Callable[[], nn.Module], kept: Path) -> None:
    net, made = network(), nets.template("digits")
    assert form_of(net, EXAMPLE) is None and kept_template(net, EXAMPLE, how="", make=lambda: made) is made
    assert not kept.exists()


@pytest.mark.parametrize("content", ["", "{", '{"format": 1, "value": {"model": "eA=="}}', '{"format": 1, "value": 3}'])
def test_a_damaged_file_is_written_anew(kept: Path, content: str) -> None:
    net = nets.net("digits")
    for _ in range(2):
        kept_template(net.model, net.example, how="", make=lambda: nets.template("digits"))
        (file,) = kept.iterdir()
        file.write_text(content)
    kept_template(net.model, net.example, how="", make=lambda: nets.template("digits"))
    assert file.stat().st_size > len(content)
    kept_template(net.model, net.example, how="", make=never)


def test_the_oldest_are_forgotten(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_templates, "MOST_FILES", 2)
    net = nets.net("digits")
    for how in "abc":
        kept_template(net.model, net.example, how=how, make=lambda: nets.template("digits"))
    assert len(list(kept.iterdir())) == 2
    kept_template(net.model, net.example, how="c", make=never)
