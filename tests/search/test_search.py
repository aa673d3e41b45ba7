"""Whole searches on a tiny real task: what is reported is what anybody can compute again from the files."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from as_measured import as_measured

import autocompress
from autocompress.errors import StorageError
from autocompress.evaluators.measurement import ms_text
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.pareto import dominates
from autocompress.search.prepare.space import prepare_space
from autocompress.search.report.front import Front
from autocompress.search.report.reading import read_front
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.task import load_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("briefly")]

HERE = "onnxruntime"


def test_a_search_gives_a_front_of_files_that_are_there(finished: Front) -> None:
    numbers = [t.number for t in finished.trials]
    assert len(set(numbers)) == len(numbers) >= 5 and set(numbers) <= set(range(1, 9)), "the others wait at a rung"
    assert finished.best and finished.teacher is not None and finished.teacher.trial.origin is Origin.TEACHER
    for entry in finished.best:
        (path,) = finished.paths(entry).values()
        assert path.is_file()
        assert entry.confirmed is not None, "every model of the front was measured again and scored on test"
        assert entry.size_bytes == path.stat().st_size
    costs = [[-e.accuracy, e.latency.p50_ms] for e in finished.best]
    assert not any(dominates(a, b) for a in costs for b in costs)


def test_every_target_has_a_folder_with_the_teacher_and_its_calibration(finished: Front) -> None:
    folder = finished.folder / "targets" / HERE
    assert {"teacher.onnx", "calibration.json", "latency"} <= {path.name for path in folder.iterdir()}
    assert json.loads((finished.folder / "study.json").read_text())["format"] == 2
    for trial in finished.trials:
        assert set(trial.gate) == {HERE} and trial.gate_bytes > 0
        assert set(trial.measured) == ({HERE} if trial.finished else set())


def test_every_decision_is_that_of_the_plan(finished: Front) -> None:
    described = json.loads((finished.folder / "space.json").read_text())
    assert all(group["name"] and group["channels"] > 1 for group in described["groups"])
    named = {v["name"] for v in described["variables"]}
    for trial in finished.trials:
        assert set(trial.plan.choices) <= named
        assert bool(trial.spec.bits) == bool(trial.plan.of("bits"))
        assert (trial.spec.recovery is None) == ("recovery:method" not in trial.plan.choices)


def test_a_study_that_was_begun_without_a_profile_goes_on_without_it(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    """Other channel counts in the middle of a study would leave its trials outside its own space."""
    settings = opened_context.settings.changed("target", profile_seconds=30.0).changed(
        "space", axes=("channels", "bits")
    )
    (tmp_path / "trials" / "0001").mkdir(parents=True)
    (tmp_path / "trials" / "0001" / "plan.json").write_text("{}")
    prepared = prepare_space(replace(opened_context.context, folder=tmp_path), settings, lambda line: None)
    assert prepared.space.context.profile is None


@pytest.mark.parametrize("begun, optimizer", [(False, "adamw"), (True, "sgd")])
def test_a_study_goes_on_with_the_optimizer_that_taught_its_students(
    opened_context: ExecutorContext, tmp_path: Path, begun: bool, optimizer: str
) -> None:
    """A version that teaches transformers otherwise would put two ways to teach on one front."""
    context = opened_context.context
    context = replace(context, folder=tmp_path, network=replace(context.network, norms_layers=True))
    taught = Trial(1, Plan(), StudentSpec(recovery=Recovery()), Origin.DESIGN, "uniform 50%")
    prepared = prepare_space(context, opened_context.settings, print, trials=[taught] if begun else [])
    assert prepared.space.context.recovery.optimizer == optimizer


def outsider(task_file: Path) -> tuple[Any, Any]:
    """Validation and test images with their labels, by the user's own file alone."""
    spec = importlib.util.spec_from_file_location("of_the_user", task_file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, validation, test = module.splits()
    return [(s.tensors[0].numpy(), s.tensors[1].numpy()) for s in (validation, test)]


def plain_accuracy(path: Path, images: np.ndarray, labels: np.ndarray, batch: int) -> float:
    """What somebody without AutoCompress computes."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    right = 0
    for start in range(0, len(images), batch):
        outputs = session.run(None, {name: images[start : start + batch]})[0]
        right += int((outputs.argmax(1) == labels[start : start + batch]).sum())
    return right / len(images)


def test_reported_accuracies_are_those_that_an_outsider_computes(finished: Front, tiny_task: Path) -> None:
    validation, test = outsider(tiny_task)
    for entry in finished.entries:
        (path,) = finished.paths(entry).values()
        assert plain_accuracy(path, *validation, batch=32) == pytest.approx(entry.accuracy, abs=1e-7)
        if entry.confirmed is not None:
            assert plain_accuracy(path, *test, batch=32) == pytest.approx(entry.confirmed.test_accuracy, abs=1e-7)
    assert finished.teacher is not None and finished.teacher.accuracy > 0.8, "the task is a real one"


@pytest.mark.xdist_group("latency")
def test_reported_latencies_are_those_of_a_plain_loop(finished: Front) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    inputs = np.zeros((32, 1, 8, 8), np.float32)
    for entry in (finished.best[0], finished.best[-1]):
        path = finished.paths(entry)[HERE]
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        times = []
        for _ in range(300):
            begin = time.perf_counter()
            session.run(None, {name: inputs})
            times.append(1000 * (time.perf_counter() - begin))
        plain_ms = float(np.quantile(times, 0.25))  # other work on this machine slows a plain loop
        assert plain_ms / 2 < entry.latency.p50_ms < plain_ms * 2


def test_a_study_reads_back_as_it_was_returned(finished: Front) -> None:
    again = read_front(finished.folder)
    assert [e.trial.number for e in again.best] == [e.trial.number for e in finished.best]
    assert again.trials == finished.trials
    assert again.confirmed == finished.confirmed
    assert again.limits == finished.limits and again.objectives == finished.objectives


def test_front_prints_the_table_and_exports_every_trial(
    finished: Front, cli: Callable[..., Any], tmp_path: Path
) -> None:
    code, out, err = cli("front", finished.folder)
    assert (code, err) == (0, "") and "best under the budget" in out
    for entry in finished.best:
        assert ms_text(entry.reported[entry.target].p50_ms) in out
    assert "measured on onnxruntime: 2:4 zeros take" in out, "what was seen to pay, and what was not"
    code, out, _ = cli("front", finished.folder, "--json")
    rows = json.loads(out)
    assert code == 0 and [r["trial"] for r in rows] == sorted(t.number for t in finished.trials)
    assert {r["trial"] for r in rows if r["on_front"]} == {e.trial.number for e in finished.best}
    code, out, _ = cli("front", finished.folder, "--csv")
    assert code == 0 and len(out.strip().splitlines()) == 1 + len(finished.trials)
    table, picture = tmp_path / "t.parquet", tmp_path / "front.svg"
    assert cli("front", finished.folder, "--parquet", table, "--plot", picture)[0] == 0
    frame = pd.read_parquet(table)
    assert len(frame) == len(finished.trials) and {"p50_ms", "accuracy"} <= set(frame.columns)
    decided = {name for trial in finished.trials for name in trial.plan.choices}
    columns = {name.replace(":", ".", 1) for name in decided}
    assert "recovery:method" in decided and columns <= set(frame.columns), "every decision is a column"
    assert set(frame.outcome) <= set(TrialState) and set(frame.proposed_by) <= set(Origin)
    assert "<svg" in picture.read_text()


def test_pick_copies_the_best_model_with_its_card(finished: Front, cli: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = cli("pick", finished.folder, "--out", tmp_path / "deploy")
    assert (code, err) == (0, "")
    picked = finished.pick().entry
    assert not any(finished.is_better(entry, picked) for entry in finished.entries), "none is better but for noise"
    card = json.loads((tmp_path / "deploy" / "measurement.json").read_text())
    assert (card["trial"], card["validation"]["value"]) == (picked.number, picked.accuracy)
    file = card["files"][HERE]
    model = tmp_path / "deploy" / file["file"]
    assert str(model) in out
    assert model.read_bytes() in [finished.paths(e)[HERE].read_bytes() for e in finished.entries]
    assert file["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert file["sha256"] in (tmp_path / "deploy" / "README.md").read_text()
    code, _, err = cli("pick", finished.folder, "--out", tmp_path / "none", "--min-accuracy", "1.5")
    assert code == 2 and len(err.splitlines()) == 1 and "accuracy" in err
    assert not (tmp_path / "none").exists()


def test_space_shows_layers_decisions_and_what_was_left_out(finished: Front, cli: Callable[..., Any]) -> None:
    code, out, err = cli("space", finished.folder, "--json")
    described = json.loads(out)
    assert (code, err) == (0, "")
    assert len(described["layers"]) == 4 and described["targets"][0]["runtime"] == HERE
    assert {v["axis"] for v in described["variables"]} >= {"channels", "bits", "recovery"}
    assert all(entry["reason"] for entry in described["left_out"])
    code, out, _ = cli("space", finished.folder)
    assert code == 0 and all(variable["name"] in out for variable in described["variables"])


def test_bench_compares_files(finished: Front, cli: Callable[..., Any]) -> None:
    files = [finished.paths(finished.best[0])[HERE], finished.folder / "targets" / HERE / "teacher.onnx"]
    code, out, err = cli("bench", *files, "--batch", 32, "--processes", 1, "--max-seconds", 0.5, "--json")
    assert (code, err) == (0, "")
    first, second = json.loads(out)
    assert first["file"] == str(files[0]) and 0 < first["low_ms"] <= first["p50_ms"] <= first["high_ms"]
    assert second["ratio_low"] <= second["ratio"] <= second["ratio_high"]


def test_trials_learn(finished: Front) -> None:
    trained = [t for t in finished.trials if t.spec.recovery is not None and t.finished]
    assert trained
    for trial in trained:
        assert len(trial.rungs) in (0, 2), "through both rungs, or taught before, in other bits"
        assert trial.measured[HERE].accuracy > 0.3, "far above chance after two epochs from the teacher's weights"


def test_what_is_over_the_budget_is_not_trained(finished: Front) -> None:
    for trial in finished.trials:
        if trial.state is TrialState.GATED:
            assert trial.reason and not trial.rungs


def test_another_teacher_under_the_same_name_is_refused_and_changes_nothing(
    finished: Front, tiny_task: Path, sections: dict[str, Any]
) -> None:
    """Trials of two teachers would stand on one front without a word."""
    before = {path: path.read_bytes() for path in sorted(finished.folder.glob("*")) if path.is_file()}
    assert finished.folder / "teacher.safetensors" in before
    task = load_task(str(tiny_task))
    with torch.no_grad():
        next(task.teacher.parameters()).mul_(1.5)
    with pytest.raises(StorageError, match="another teacher"):
        autocompress.compress(task, budget_ms=50.0, trials=1, runs=finished.folder.parent, **sections)
    whole = {path.name for path in before if not path.name.startswith(("study.db", "lock"))}
    assert {"teacher.safetensors", "study.json", "space.json", "identity.json"} <= whole
    for path, content in before.items():
        if path.name in whole:
            assert path.read_bytes() == content, f"{path.name} is as it was"
    assert read_front(finished.folder).trials == finished.trials


def test_the_same_search_again_goes_on_with_the_study(
    finished: Front, tiny_task: Path, sections: dict[str, Any], tmp_path: Path
) -> None:
    import shutil

    runs = tmp_path / "runs"
    shutil.copytree(finished.folder, runs / finished.folder.name)
    again = autocompress.compress(
        load_task(str(tiny_task)),
        budget_ms=50.0,
        trials=1,
        runs=runs,
        search={"without": ("latency_model",)},
        **sections,
    )
    assert as_measured(again.trials[: len(finished.trials)]) == as_measured(finished.trials)
    assert again.folder == runs / finished.folder.name
