"""Students to export, and what their files answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nets
import numpy as np
import onnxruntime
import pytest
from torch import Tensor, nn

SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("cifar_resnet20", "mobilenet_v2")]


def answers(model: Any, inputs: Tensor) -> np.ndarray[Any, Any]:
    """What plain onnxruntime makes of a ModelProto."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0]


def assert_near(got: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], relative: float = 1e-5) -> None:
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() <= relative * np.abs(expected).max()


def student_of(name: str, width: float = 0.6) -> nn.Module:
    """A pruned student whose norms moved as in training: the file must have its values, not the teacher's."""
    net = nets.net(name)
    plan = net.space.uniform({"channels": width})
    # every other group shrinks by one more step, so that widths differ
    smaller = {v.name: v.options[v.index(plan.choices.get(v.name)) :][:2][-1] for v in net.space.of("channels")[::2]}
    spec = net.spec(plan.changed(smaller))
    # how much is padded stands in the graph as a number, which a template must learn first: see the tests of artifacts
    padded = {g.name for g in net.context.groups if any(number.node.startswith("pad") for number in g.numbers)}
    spec = replace(spec, channels={name: count for name, count in spec.channels.items() if name not in padded})
    assert spec.channels, "nothing was pruned"
    return nets.shaken(net.student(spec).module, seed=3).eval()
