"""Cards of models whose files make their inputs smaller: nobody may take the smaller size for the one to give."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_study import TARGET, latency

from autocompress.search.bundle.model_card import CardFacts, model_card
from autocompress.search.bundle.record import Figure, FileRecord, Record
from autocompress.search.bundle.scripts import ScriptFacts
from autocompress.search.store.facts import TaskFacts
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.metric import ACCURACY
from autocompress.studies.preprocessing import Preprocessing
from autocompress.studies.study_file import load_study


def card(size: int, inputs: dict[str, NDArray[Any]]) -> str:
    measured = latency(1.0, 2.0, random.Random(0))
    file = FileRecord("model.onnx", "0" * 64, 4000, 3000, Target(), Figure(0.9), measured, {"Conv": 3}, 1e-3)
    record = Record(
        "sizes", 7, "search", "classification", asdict(ACCURACY), Figure(0.9), None, None, 2.0, None,
        {TARGET: file}, None,
    )  # fmt: skip
    kinds = {name: str(part.dtype) for name, part in inputs.items()}
    script = ScriptFacts("model.onnx", "", Target(), "1", "classification", Preprocessing(), kinds)
    plan = Plan({"size": size} if size else {})
    return model_card(
        CardFacts(record, load_study("digits"), TaskFacts(), plan, StudentSpec(size=size), inputs, {TARGET: script})
    )


def part(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("size", "shape", "said"),
    [
        (112, (1, 3, 224, 224), "the file takes 224 x 224 pixels and makes them 112 x 112 itself"),
        (96, (1, 3, 192, 256), "the file takes 192 x 256 pixels and makes them smaller itself, 96 on the shorter side"),
    ],
)
def test_a_card_says_that_the_file_makes_images_smaller_itself(size: int, shape: tuple[int, ...], said: str) -> None:
    text = card(size, {"input": np.zeros(shape, np.float32)})
    assert f"- give inputs of the full size: {said}\n" in part(text, "Inputs and answers")
    assert ", ".join(map(str, shape[1:])) in part(text, "Inputs and answers")
    assert f"- size of inputs: {said}\n" in part(text, "What it is made of")


def test_a_card_says_which_tokens_the_file_does_not_read() -> None:
    text = card(64, {name: np.zeros((1, 128), np.int64) for name in ("tokens", "mask")})
    said = "the file takes 128 tokens and reads the first 64 of them"
    assert f"- give inputs of the full size: {said}\n" in part(text, "Inputs and answers")
    cut = "- The file takes 128 tokens, but those after the first 64 have no effect on its answers.\n"
    assert cut in part(text, "Limits")


def test_a_card_without_sample_inputs_says_it_too() -> None:
    text = card(64, {})
    assert "give inputs of the full size" in text and "64" in part(text, "Inputs and answers")


def test_a_card_of_a_model_that_looks_at_all_says_nothing_of_it() -> None:
    shapes: dict[str, tuple[int, ...]] = {"float32": (1, 3, 224, 224), "int64": (1, 128)}
    for kind, shape in shapes.items():
        text = card(0, {"input": np.zeros(shape, kind)})
        assert "full size" not in text and "size of inputs" not in text and "no effect" not in text
