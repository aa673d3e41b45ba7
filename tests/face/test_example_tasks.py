"""The example tasks: each kind has one over real data, and its teacher knows something."""

from __future__ import annotations

from pathlib import Path

import pytest

from autocompress.studies.kinds import KINDS
from autocompress.studies.task import load_task

FILE = Path(__file__).parents[2] / "examples" / "tasks" / "kinds.py"
AT_LEAST = {
    "binary": 0.9,
    "multilabel": 0.8,
    "regression": -75.0,
    "segmentation": 0.5,
    "tokens": 0.9,
    "language_model": -15.0,
}
"""The metric of the teacher, with a minus sign where lower is better."""


def test_each_kind_has_an_example() -> None:
    assert {*AT_LEAST, "classification"} == set(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", AT_LEAST)
def test_an_example_task_can_be_searched(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = load_task(f"{FILE}:{kind}")
    prepared = task.prepared()
    assert task.kind == kind and prepared.metric is KINDS[kind].metric  # type: ignore[index]
    assert prepared.teacher_look is not None and prepared.teacher_look > AT_LEAST[kind]
