"""`autocompress bench` of files that others exported: single numbers, states, texts of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from autocompress.errors import MeasurementError
from autocompress.evaluators.timing.child import measure
from autocompress.evaluators.timing.processes import TimedFile, TimingRequest
from autocompress.spaces.target import Target

pytestmark = pytest.mark.xdist_group("latency")

Said = tuple[int, str, str]
Shape = Sequence[int | str]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def written(path: Path, nodes: list[onnx.NodeProto], inputs: dict[str, tuple[int, Shape]]) -> Path:
    """Write a graph whose inputs are [..., 16] or so, and whose nodes make "y" with the weight "w" [16, 4]."""
    weight = numpy_helper.from_array(np.ones((16, 4), np.float32), "w")
    taken = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    graph = helper.make_graph(nodes, "others", taken, [helper.make_tensor_value_info("y", FLOAT, None)], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def of_sound(path: Path, first: Shape = ("batch", 16)) -> Path:
    """As networks of sound are exported: a frame, the state of a cell, and the rate of samples, a number alone."""
    nodes = [
        helper.make_node("MatMul", ["frame", "w"], ["heard"]),
        helper.make_node("ReduceSum", ["state"], ["kept"], keepdims=0),
        helper.make_node("Cast", ["rate"], ["hertz"], to=FLOAT),
        helper.make_node("Sum", ["heard", "kept", "hertz"], ["y"]),
    ]
    return written(path, nodes, {"rate": (INT64, ()), "frame": (FLOAT, first), "state": (FLOAT, (2, 1, 8))})


def of_texts(path: Path) -> Path:
    """Token ids of any number of texts of any length, of which each picks a row of 16."""
    nodes = [
        helper.make_node("Gather", ["w", "tokens"], ["rows"]),
        helper.make_node("ReduceMean", ["rows"], ["y"], keepdims=0),
    ]
    return written(path, nodes, {"tokens": (INT64, ("batch", "sequence"))})


def run_once(file: TimedFile) -> None:
    measure(TimingRequest((file,), max_rounds=0))


def test_a_number_alone_and_a_state_are_taken_as_they_are(tmp_path: Path) -> None:
    path = of_sound(tmp_path / "sound.onnx")
    for batch in (1, 3):
        run_once(TimedFile(path, Target(batch=batch)))
    fixed = of_sound(tmp_path / "fixed.onnx", (1, 16))
    run_once(TimedFile(fixed, Target()))
    with pytest.raises(MeasurementError, match="made for a batch of 1, asked for 3"):
        run_once(TimedFile(fixed, Target(batch=3)))


def test_open_sizes_are_what_the_user_says(tmp_path: Path) -> None:
    path = written(
        tmp_path / "open.onnx",
        [helper.make_node("MatMul", ["rows", "w"], ["y"])],
        {"rows": (FLOAT, ("batch", "size"))},
    )
    run_once(TimedFile(path, Target(batch=2), length=16))
    with pytest.raises(MeasurementError, match="cannot be run"):
        run_once(TimedFile(path, Target(), length=15))


def test_a_file_of_texts_is_timed_at_a_length(cli: Callable[..., Said], tmp_path: Path) -> None:
    path = of_texts(tmp_path / "texts.onnx")
    code, _, err = cli("bench", path, "--processes", 1, "--max-seconds", 0.3)
    assert code == 2 and len(err.splitlines()) == 1
    assert "tokens is [None, None]" in err and "--length" in err and "image" not in err
    code, out, _ = cli("bench", path, "--length", 32, "--processes", 1, "--max-seconds", 0.3)
    assert code == 0 and "p95" in out
