"""How a student of the user's own is known again: by all that it computes, in whatever process it is made."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import student_task
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autocompress.errors import StorageError
from autocompress.search.forms import form_by_names, form_of
from autocompress.search.identity import FORMS, check_identity, identity_of
from autocompress.spaces.graph.capture import capture


class Calls(nn.Module):
    """A network that calls a function, whose settings are no module's."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(1, 4, 3), function

    def forward(self, x: Tensor) -> Any:
        return self.function(self.conv(x)).mean((2, 3))


def convolved(**settings: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, **{"kernel_size": 3, **settings}))


def pooled(kind: type[nn.Module], *words: Any, **settings: Any) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), kind(*words, **settings))


PAIRS = {
    "stride": (convolved(), convolved(stride=2)),
    "padding": (convolved(), convolved(padding=1)),
    "kind of padding": (convolved(padding=1), convolved(padding=1, padding_mode="reflect")),
    "dilation": (convolved(), convolved(dilation=2)),
    "pool": (pooled(nn.MaxPool2d, 2), pooled(nn.MaxPool2d, 3)),
    "ends of a pool": (pooled(nn.MaxPool2d, 2, padding=1), pooled(nn.MaxPool2d, 2, padding=1, ceil_mode=True)),
    "borders of an average": (
        pooled(nn.AvgPool2d, 3, padding=1),
        pooled(nn.AvgPool2d, 3, padding=1, count_include_pad=False),
    ),
    "size of a map": (pooled(nn.AdaptiveAvgPool2d, 1), pooled(nn.AdaptiveAvgPool2d, 2)),
    "slope": (pooled(nn.LeakyReLU, 0.1), pooled(nn.LeakyReLU, 0.2)),
    "norm": (pooled(nn.BatchNorm2d, 4), pooled(nn.BatchNorm2d, 4, eps=1e-3)),
    "groups of a norm": (pooled(nn.GroupNorm, 2, 4), pooled(nn.GroupNorm, 4, 4)),
    "dropout": (pooled(nn.Dropout, 0.1), pooled(nn.Dropout, 0.2)),
    "a number": (Calls(lambda x: x * 2), Calls(lambda x: x * 3)),
    "an axis": (Calls(lambda x: x.softmax(1)), Calls(lambda x: x.softmax(2))),
    "a pool that is called": (Calls(lambda x: F.avg_pool2d(x, 2)), Calls(lambda x: F.avg_pool2d(x, 3))),
    "a mode": (
        Calls(lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest")),
        Calls(lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact")),
    ),
    "which operand": (Calls(lambda x: x - x.relu()), Calls(lambda x: x.relu() - x)),
}
SAME_NAMES = PAIRS.keys() - {"kind of padding", "a mode", "which operand"}
"""Those that the digest of earlier versions did not tell apart."""


def graph_of(network: nn.Module) -> fx.GraphModule:
    return capture(network.eval(), torch.zeros(1, 1, 12, 12))


@pytest.mark.parametrize("what", PAIRS)
def test_networks_that_compute_something_else_have_other_forms(what: str) -> None:
    one, other = map(graph_of, PAIRS[what])
    assert form_of(one) != form_of(other)
    assert form_of(one) == form_of(pickle.loads(pickle.dumps(one))), "as it reaches another machine"
    assert what not in SAME_NAMES or form_by_names(one) == form_by_names(other)


def test_weights_and_where_things_lie_in_memory_are_no_part_of_a_form() -> None:
    class Held(nn.ReLU):
        def extra_repr(self) -> str:
            return f"{object()}, {_nothing}"

    def _nothing() -> None: ...

    def made() -> fx.GraphModule:
        return graph_of(nn.Sequential(nn.Conv2d(1, 4, 3), Held()))

    kept = made()
    assert form_of(kept) == form_of(made())


def test_another_process_finds_the_same_forms(tmp_path: Path) -> None:
    script = tmp_path / "forms.py"
    script.write_text(
        "import json, student_task\n"
        "from autocompress.search.identity import identity_of\n"
        "print(json.dumps(identity_of(student_task.task().prepared())))\n"
    )
    paths = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    here, there = identity_of(student_task.task().prepared()), json.loads(done.stdout)
    forms = {name: digest for name, digest in here.items() if name.startswith(FORMS)}
    assert len(forms) == 4 and forms == {name: there[name] for name in forms}


def steps() -> nn.Module:
    return student_task.small()


def wider_steps() -> nn.Module:
    """The same, but for a stride that changes no weight and no operator's name."""
    network = student_task.small()
    network[3].stride = (2, 2)  # type: ignore[index, union-attr]
    return network


def test_a_study_of_an_earlier_version_is_compared_by_what_it_knows(tmp_path: Path) -> None:
    begun = replace(student_task.task(), students={"small": steps}).prepared()
    changed = replace(student_task.task(), students={"small": wider_steps}).prepared()
    whole, path = identity_of(begun), tmp_path / "identity.json"
    old = {name: value for name, value in whole.items() if not name.startswith(FORMS)}
    path.write_text(json.dumps({**old, "students": "small 0123456789abcdef"}))
    with pytest.raises(StorageError, match="begun with other students: small is another network now"):
        check_identity(tmp_path, begun)
    path.write_text(json.dumps(old))
    check_identity(tmp_path, begun, worker=True)
    check_identity(tmp_path, begun)
    assert json.loads(path.read_text()) == whole, "from now on it knows them in full"
    with pytest.raises(StorageError, match="begun with another form of student small") as refused:
        check_identity(tmp_path, changed)
    assert "\n" not in str(refused.value)
