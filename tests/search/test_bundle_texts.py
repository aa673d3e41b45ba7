"""infer.py of a bundle for texts: what it gives to a model, and what it tells of the answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import run
from torch import nn

from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.bundle.scripts import ScriptFacts, infer_script, usage
from autocompress.spaces.target import Target
from autocompress.studies.preprocessing import Preprocessing

WITHOUT_CORE_ML = """
import runpy, sys
import coremltools, numpy
def predict(self, given):
    (array,) = given.values()
    return {"output": numpy.array([[float(array.dtype == "int32")]])}
coremltools.models.MLModel.predict = predict
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script up to what Core ML itself would do, and says whether that would be given whole numbers of 32 bits."""


def write_script(folder: Path, kind: str, inputs: dict[str, str], runtime: str = "onnxruntime") -> None:
    """Write an infer.py for texts as bytes, with what it reads."""
    file, target = f"model{get_runtime(runtime).suffix}", Target(runtime)
    facts = ScriptFacts(file, "", target, "1", kind, Preprocessing(tokenizer="bytes"), inputs)
    (folder / "infer.py").write_text(infer_script(facts))
    about = [{"name": name, "shape": [8], "dtype": dtype} for name, dtype in inputs.items()]
    (folder / "preprocessing.json").write_text(json.dumps({"inputs": about, "picture": None, "text": None}))
    (folder / "labels.json").write_text("[]")


@pytest.mark.parametrize(
    ("kind", "what", "answer"),
    [
        ("language_model", "ab", "next: 98"),
        ("language_model", "abcdefghijk", "next: 107"),
        ("tokens", "hé", "104 195 169"),
        ("tokens", "abcdefghijk", " ".join(map(str, range(97, 105)))),
    ],
)
def test_infer_tells_nothing_of_what_a_text_was_filled_up_with(
    tmp_path: Path, kind: str, what: str, answer: str
) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    # the answer at each place is its own token, [N, 8, 256]
    values = numpy_helper.from_array(np.array([0, 1], np.float32), "values")
    depth = numpy_helper.from_array(np.array([256], np.int64), "depth")
    node = helper.make_node("OneHot", ["ids", "depth", "values"], ["output"])
    given = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 8])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 8, 256])
    graph = helper.make_graph([node], "echo", [given], [gives], [values, depth])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    write_script(tmp_path, kind, {"ids": "int64"})
    done = run(sys.executable, tmp_path / "infer.py", what)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(answer) and "0" not in done.stdout.strip().removeprefix(answer).split(", ")[0]
    np.save(tmp_path / "ids.npy", np.arange(8))
    whole = run(sys.executable, tmp_path / "infer.py", tmp_path / "ids.npy").stdout
    assert whole.startswith("next: 7" if kind == "language_model" else "0 1 2 3 4 5 6 7")
    nothing = run(sys.executable, tmp_path / "infer.py", "")
    assert (nothing.returncode, nothing.stderr.strip()) == (1, "give at least one token")


def test_infer_gives_each_input_of_a_text_what_its_name_says(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    names = ["input_ids", "token_type_ids", "attention_mask", "position_ids"]
    nodes = [helper.make_node("Concat", names, ["all"], axis=1)]
    nodes.append(helper.make_node("Cast", ["all"], ["output"], to=TensorProto.FLOAT))
    given = [helper.make_tensor_value_info(name, TensorProto.INT64, ["N", 8]) for name in names]
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", 32])
    graph = helper.make_graph(nodes, "sides", given, [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, tmp_path / "model.onnx")
    write_script(tmp_path, "regression", dict.fromkeys(names, "int64"))
    done = run(sys.executable, tmp_path / "infer.py", "ab")
    assert done.returncode == 0, done.stderr
    said = np.array(list(map(int, done.stdout.split()))).reshape(4, 8).tolist()
    assert said == [[97, 98] + [0] * 6, [0] * 8, [1, 1] + [0] * 6, list(range(8))]


def tokens_model(folder: Path, runtime: str) -> torch.nn.Module:
    """Write a file that takes eight tokens in 32 bits, from a network that takes them in 64."""
    found = get_runtime(runtime)
    if not found.available().builds:
        pytest.skip(found.available().reason)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(256, 8), nn.Linear(8, 2)).eval()
    tokens = torch.randint(0, 256, (4, 8)).numpy()
    found.build(BuildRequest(None, {"1": "1"}, {}, tokens, network), folder / f"model{found.suffix}")
    return network


@pytest.mark.slow
def test_infer_of_litert_gives_tokens_as_the_file_takes_them(tmp_path: Path) -> None:
    network = tokens_model(tmp_path, "litert")
    write_script(tmp_path, "regression", {"ids": "int64"}, "litert")
    tokens = np.array([list(b"abcdefgh"), list(b"hgfedcba"), list(b"aabbccdd")])
    np.save(tmp_path / "all.npy", tokens)
    with torch.no_grad():
        expected = network(torch.from_numpy(tokens)).flatten(1).numpy()
    for what, rows in ((tmp_path / "all.npy", expected), ("hgfedcba", expected[1:2])):
        done = run(sys.executable, tmp_path / "infer.py", what)
        assert done.returncode == 0, done.stderr
        told = np.array([list(map(float, line.split())) for line in done.stdout.splitlines()])
        assert np.allclose(told, rows, atol=1e-4)


@pytest.mark.slow
def test_infer_of_core_ml_gives_tokens_as_the_file_takes_them(tmp_path: Path) -> None:
    tokens_model(tmp_path, "coreml")
    write_script(tmp_path, "regression", {"ids": "int64"}, "coreml")
    done = run(sys.executable, "-c", WITHOUT_CORE_ML, tmp_path / "infer.py", "abcdefgh")
    assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr


@pytest.mark.parametrize(("shape", "offered"), [((8,), True), ((), False), ((8, 3), False)])
def test_numbers_are_offered_for_rows_of_them_alone(tmp_path: Path, shape: tuple[int, ...], offered: bool) -> None:
    facts = ScriptFacts(
        "model.onnx", "", Target(), "1", "regression", Preprocessing(), {"ids": "int64"}, shapes={"ids": shape}
    )
    assert ("12 5 7" in usage(facts)[0]) == ("12 5 7" in infer_script(facts)) == offered
