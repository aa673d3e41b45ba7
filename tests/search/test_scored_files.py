"""How sure the metric is of files that are scored without a study."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.utils.data import TensorDataset

from autocompress import Task
from autocompress.evaluators.timing.processes import TimedFile
from autocompress.search.evaluate.scored_files import score_files
from autocompress.spaces.target import Target

KINDS, LENGTH, TEXTS = 8, 50, 40


def tagged(seed: int) -> TensorDataset:
    """Texts of which nine words of ten are of the kind that they say."""
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(0, KINDS, (TEXTS, LENGTH), generator=g)
    odd = torch.rand(TEXTS, LENGTH, generator=g) < 0.1
    return TensorDataset(words, torch.where(odd, (words + 1) % KINDS, words))


def write_echo(path: Path) -> None:
    """Write a file that takes each word for what it says, [N, LENGTH, KINDS]."""
    values = numpy_helper.from_array(torch.tensor([0.0, 1.0]).numpy(), "values")
    depth = numpy_helper.from_array(torch.tensor([KINDS]).numpy(), "depth")
    node = helper.make_node("OneHot", ["input", "depth", "values"], ["output"])
    takes = helper.make_tensor_value_info("input", TensorProto.INT64, ["N", LENGTH])
    gives = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", LENGTH, KINDS])
    graph = helper.make_graph([node], "echo", [takes], [gives], [values, depth])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def test_the_share_of_words_is_as_sure_as_resampling_says(tmp_path: Path) -> None:
    """A share of words that are right is no share of texts, of which there are fewer."""
    network = nn.Sequential(nn.Embedding(KINDS, KINDS), nn.Linear(KINDS, KINDS)).eval()
    write_echo(tmp_path / "echo.onnx")
    task = Task(network, *(tagged(seed) for seed in range(3)), kind="tokens", name="tags")
    scored = score_files(task, [TimedFile(tmp_path / "echo.onnx", Target())], tmp_path)
    assert scored.qualities[0] == pytest.approx(0.9, abs=0.02) and scored.examples == 0
    assert scored.sds[0] == pytest.approx(math.sqrt(0.9 * 0.1 / (TEXTS * LENGTH)), rel=0.5)
