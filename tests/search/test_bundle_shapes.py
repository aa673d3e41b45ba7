"""A bundle knows what its model takes and gives, also where inputs or answers are too large to be kept."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import HERE, expected_classes, run

import autocompress
from autocompress import Front
from autocompress.search.bundle.verify import verify
from autocompress.search.store import samples
from autocompress.search.store.facts import TensorFacts, read_facts, write_facts

SCALAR = r"dims: \[ 1 \]\s+reshape: \{ shape: \[ \] \}"


@pytest.fixture
def front(finished: Front, tmp_path: Path) -> Front:
    """A finished study of which no samples were kept."""
    study = Path(shutil.copytree(finished.folder, tmp_path / "runs" / finished.folder.name))
    for path in (study / "samples.npz", *study.glob("trials/*/answers.npz")):
        path.unlink()
    return replace(finished, folder=study)


def classes_told(folder: Path, inputs: Any, beside: Path) -> list[int]:
    np.save(beside / "inputs.npy", inputs)
    done = run(sys.executable, folder / "infer.py", beside / "inputs.npy")
    assert done.returncode == 0, done.stderr
    return [int(line.split()[0]) for line in done.stdout.splitlines()]


def config(repository: Path) -> str:
    (path,) = repository.glob("*/config.pbtxt")
    return path.read_text()


def test_a_study_knows_what_its_networks_take_and_give(finished: Front) -> None:
    facts = read_facts(finished.folder)
    assert facts.inputs == (TensorFacts("input", (1, 8, 8), "float32"),)
    assert facts.output == TensorFacts("output", (10,), "float32")


def test_infer_runs_without_samples(front: Front, bundle: Path, tmp_path: Path) -> None:
    folder = front.pick().save(tmp_path / "deploy").parent
    about = json.loads((folder / "preprocessing.json").read_text())["inputs"]
    assert about == [{"name": "input", "shape": [1, 8, 8], "dtype": "float32"}]
    inputs, classes = expected_classes(bundle)
    assert classes_told(folder, inputs, tmp_path) == classes
    wrong = run(sys.executable, folder / "infer.py", "12 5 7")
    assert wrong.returncode == 1 and len(wrong.stderr.splitlines()) == 1 and "[1, 8, 8]" in wrong.stderr


def test_a_server_is_told_shapes_without_samples(front: Front, finished: Front, tmp_path: Path) -> None:
    front.pick().save(tmp_path / "without", "triton")
    finished.pick().save(tmp_path / "with", "triton")
    assert config(tmp_path / "without") == config(tmp_path / "with")


@pytest.mark.parametrize(("takes", "gives"), [((8,), ()), ((), ()), ((), (4,))])
def test_a_server_has_a_reshape_for_what_has_the_batch_alone(
    front: Front, tmp_path: Path, takes: tuple[int, ...], gives: tuple[int, ...]
) -> None:
    inputs, output = (TensorFacts("input", takes, "int64"),), TensorFacts("output", gives, "float32")
    write_facts(front.folder, replace(read_facts(front.folder), inputs=inputs, output=output))
    front.pick().save(tmp_path / "repository", "triton")
    for said, shape in zip(config(tmp_path / "repository").split("output ["), (takes, gives), strict=True):
        assert bool(re.search(SCALAR, said)) == ("reshape" in said) == (not shape)
        assert not shape or f"dims: [ {shape[0]} ]" in said


def test_studies_of_older_versions_give_what_they_gave(
    finished: Front, front: Front, cli: Callable[..., Any], tmp_path: Path
) -> None:
    before = replace(read_facts(front.folder), inputs=(), output=None)
    write_facts(front.folder, before)
    code, _, err = cli("pick", front.folder, "--layout", "triton", "--out", tmp_path / "refused")
    assert code == 2 and len(err.splitlines()) == 1 and "search on" in err
    shutil.copy(finished.folder / "samples.npz", front.folder)
    front.pick().save(tmp_path / "older", "triton")
    finished.pick().save(tmp_path / "newer", "triton")
    assert config(tmp_path / "older") == config(tmp_path / "newer")


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_inputs_are_kept_alone_where_answers_are_too_large(
    tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autocompress.studies.task import load_task

    monkeypatch.setattr(samples, "LIMIT_OF_ONE_BYTES", 8 * 8 * 4 + 10 * 4 - 1)
    asked: dict[str, Any] = {"budget_ms": 50.0, "trials": 1, "runs": tmp_path / "runs", "progress": "none", **sections}
    front = autocompress.compress(load_task(str(tiny_task)), **asked)
    assert not list(front.folder.glob("trials/*/answers.npz"))
    folder = front.pick().save(tmp_path / "deploy").parent
    with np.load(folder / "samples.npz") as kept:
        assert kept.files == ["input:input"]
        inputs = kept["input:input"]
    assert len(classes_told(folder, inputs, tmp_path)) == len(inputs)
    assert "too large to keep" in (folder / "README.md").read_text()
    (found,) = verify(folder, timed=False)
    assert found.target == HERE and found.difference is None and "no answers" in found.reason
    front.pick().save(tmp_path / "repository", "triton")
    assert "dims: [ 10 ]" in config(tmp_path / "repository")

    facts = read_facts(front.folder)
    write_facts(front.folder, replace(facts, inputs=(), output=None))
    autocompress.compress(load_task(str(tiny_task)), **asked)
    again = read_facts(front.folder)
    assert (again.inputs, again.output) == (facts.inputs, facts.output), (
        "to search on in a study of an older version is enough, without a trial"
    )
