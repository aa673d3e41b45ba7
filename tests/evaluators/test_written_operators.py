"""How many operators a file has, and how many its runtime makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_models import conv_chain
from stored_trials import a_latency

from autocompress.evaluators.measurement import Measurement, fusion_in_words
from autocompress.evaluators.runtimes.onnx_runtime import OnnxRuntime
from autocompress.evaluators.written import written_operators
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.target import Target


def test_fusion_is_seen_between_the_file_and_what_runs(tmp_path: Path) -> None:
    path = conv_chain(tmp_path / "m.onnx", channels=32, depth=4)
    written, running = written_operators(path), OnnxRuntime().inspect(path, Target())
    assert written["Conv"] == running["Conv"] == 4
    assert written["Relu"] and "Relu" not in running
    before, after = sum(written.values()), sum(running.values())
    assert after < before and fusion_in_words(written, running) == f"{before} operators, {after} after fusion"


def test_of_other_files_only_what_runs_is_known(tmp_path: Path) -> None:
    assert written_operators(tmp_path / "m.pte") == {}
    assert fusion_in_words({}, {"conv": 3, "add": 1}) == "4 operators"
    assert fusion_in_words({"Conv": 3}, {}) == ""


@pytest.mark.parametrize("written", [{}, {"Conv": 3, "Relu": 3}])
def test_measurements_are_kept_and_those_of_earlier_versions_load(written: dict[str, int]) -> None:
    found = Measurement(0.9, a_latency(), 1000, 900, {"Conv": 3}, written=written)
    plain = to_plain(found)
    if not written:
        del plain["written"]
    assert from_plain(Measurement, plain) == found
    assert found.operators_in_words.startswith("6 operators, 3 after" if written else "3 operators")
