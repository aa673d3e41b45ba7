"""Whole searches on a tiny real task: what is reported is what anybody can compute again from the files."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from conftest import SECTIONS

import autocompress
from autocompress.errors import StorageError
from autocompress.search.evaluate.context import open_workbench
from autocompress.search.executors.base import Workplace
from autocompress.search.pareto import dominates
from autocompress.search.report.front import Front
from autocompress.search.store.study import read_front
from autocompress.studies.task import load_task

pytestmark = pytest.mark.slow


def test_a_search_gives_a_front_of_files_that_are_there(finished: Front) -> None:
    numbers = [t.number for t in finished.trials]
    assert len(set(numbers)) == len(numbers) >= 5 and set(numbers) <= set(range(1, 9)), "the others wait at a rung"
    assert finished.best and finished.teacher is not None
    for entry in finished.best:
        assert finished.path(entry).is_file()
        assert entry.confirmed is not None, "every model of the front was measured again and scored on test"
        assert entry.trial.measurement is not None
        assert entry.trial.measurement.size_bytes == finished.path(entry).stat().st_size
    costs = [[-e.accuracy, e.latency.p50_ms] for e in finished.best]
    assert not any(dominates(a, b) for a in costs for b in costs)


def test_a_study_of_the_version_before_several_targets_opens(
    finished: Front, tmp_path: Path, cli: Callable[..., Any]
) -> None:
    folder = Path(shutil.copytree(finished.folder, tmp_path / "old"))
    confirmed = json.loads((folder / "confirmed.json").read_text())
    plain = {number: entry["files"]["onnxruntime"] for number, entry in confirmed.items()}
    (folder / "confirmed.json").write_text(json.dumps(plain))
    described = json.loads((folder / "space.json").read_text())
    del described["knobs"]
    described |= {"target": described.pop("targets")[0], "probe": described["probe"]["onnxruntime"]}
    (folder / "space.json").write_text(json.dumps(described))
    settings = json.loads((folder / "study.json").read_text())
    for section, keys in (("target", ("any_of", "probe_seconds", "precision")), ("budget", ("on",))):
        for key in keys:
            del settings[section][key]
    (folder / "study.json").write_text(json.dumps(settings))
    code, out, err = cli("front", folder)
    assert (code, err) == (0, "")
    assert "probed on onnxruntime: 2:4 zeros take" in out
    assert [e.confirmed for e in read_front(folder).best] == [e.confirmed for e in finished.best]
    assert cli("space", folder)[0] == 0


def test_a_study_that_was_begun_without_knobs_goes_on_without_them(workplace: Workplace, tmp_path: Path) -> None:
    """Other channel counts in the middle of a study would leave its trials outside its own space."""
    settings = workplace.settings.changed("target", probe_seconds=30.0)
    (tmp_path / "trials" / "0001").mkdir(parents=True)
    (tmp_path / "trials" / "0001" / "plan.json").write_text("{}")
    bench = open_workbench(settings.build_task().prepared(), settings, tmp_path)
    assert bench.space.ground.knobs is None


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
        path = finished.path(entry)
        assert plain_accuracy(path, *validation, batch=32) == pytest.approx(entry.accuracy, abs=1e-7)
        if entry.confirmed is not None:
            assert plain_accuracy(path, *test, batch=32) == pytest.approx(entry.confirmed.test_accuracy, abs=1e-7)
    assert finished.teacher is not None and finished.teacher.accuracy > 0.8, "the task is a real one"


def test_reported_latencies_are_those_of_a_plain_loop(finished: Front) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    inputs = np.zeros((32, 1, 8, 8), np.float32)
    for entry in (finished.best[0], finished.best[-1]):
        session = onnxruntime.InferenceSession(str(finished.path(entry)), options, providers=["CPUExecutionProvider"])
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
    assert again.budget_ms == finished.budget_ms


def test_front_prints_the_table_and_exports_every_trial(
    finished: Front, cli: Callable[..., Any], tmp_path: Path
) -> None:
    code, out, err = cli("front", finished.folder)
    assert (code, err) == (0, "") and "best under the budget" in out
    for entry in finished.best:
        assert f"{entry.latency.p50_ms:.3f}" in out
    assert "probed on onnxruntime: 2:4 zeros take" in out, "what was seen to pay, and what was not"
    code, out, _ = cli("front", finished.folder, "--json")
    rows = json.loads(out)
    assert code == 0 and [r["trial"] for r in rows] == sorted(t.number for t in finished.trials)
    assert {r["trial"] for r in rows if r["on_front"]} == {e.trial.number for e in finished.best}
    code, out, _ = cli("front", finished.folder, "--csv")
    assert code == 0 and len(out.strip().splitlines()) == 1 + len(finished.trials)
    table, picture = tmp_path / "t.parquet", tmp_path / "front.svg"
    assert cli("front", finished.folder, "--parquet", table, "--plot", picture)[0] == 0
    frame = pd.read_parquet(table)
    assert len(frame) == len(finished.trials) and {"p50_ms", "accuracy", "recovery.temperature"} <= set(frame.columns)
    assert "<svg" in picture.read_text()


def test_pick_copies_the_best_model_with_its_card(finished: Front, cli: Callable[..., Any], tmp_path: Path) -> None:
    code, out, err = cli("pick", finished.folder, "--out", tmp_path / "deploy")
    assert (code, err) == (0, "")
    best = max(e.accuracy for e in finished.entries)
    card = json.loads((tmp_path / "deploy" / "card.json").read_text())
    assert card["validation_accuracy"] == best
    model = tmp_path / "deploy" / card["file"]
    assert str(model) in out and model.read_bytes() in [finished.path(e).read_bytes() for e in finished.entries]
    assert card["sha256"] in (tmp_path / "deploy" / "card.md").read_text()
    code, _, err = cli("pick", finished.folder, "--out", tmp_path / "none", "--min-accuracy", "1.5")
    assert code == 2 and len(err.splitlines()) == 1 and "accuracy" in err
    assert not (tmp_path / "none").exists()


def test_space_shows_layers_groups_and_what_was_left_out(finished: Front, cli: Callable[..., Any]) -> None:
    code, out, err = cli("space", finished.folder, "--json")
    described = json.loads(out)
    assert (code, err) == (0, "")
    assert len(described["layers"]) == 4 and described["groups"] and described["numbers"]
    assert all(entry["reason"] for entry in described["left_out"])
    code, out, _ = cli("space", finished.folder)
    assert code == 0 and all(group["name"] in out for group in described["groups"])


def test_bench_compares_files(finished: Front, cli: Callable[..., Any]) -> None:
    files = [finished.path(finished.best[0]), finished.folder / "teacher.onnx"]
    code, out, err = cli("bench", *files, "--batch", 32, "--json")
    assert (code, err) == (0, "")
    first, second = json.loads(out)
    assert first["file"] == str(files[0]) and 0 < first["low_ms"] <= first["p50_ms"] <= first["high_ms"]
    assert second["ratio_low"] <= second["ratio"] <= second["ratio_high"]


def test_trials_learn(finished: Front) -> None:
    trained = [t for t in finished.trials if t.plan.recovery is not None and t.finished]
    assert trained
    for trial in trained:
        assert len(trial.rungs) in (0, 2), "through both rungs, or taught before, in other bits"
        assert trial.measurement is not None
        assert trial.measurement.accuracy > 0.3, "far above chance after two epochs from the teacher's weights"


def test_what_is_over_the_budget_is_not_trained(finished: Front) -> None:
    for trial in finished.trials:
        if trial.outcome == "gated":
            assert trial.reason and not trial.rungs


def test_another_teacher_under_the_same_name_is_refused(finished: Front, tiny_task: Path) -> None:
    """Trials of two teachers would stand on one front without a word."""
    task = load_task(str(tiny_task))
    with torch.no_grad():
        next(task.teacher.parameters()).mul_(1.5)
    with pytest.raises(StorageError, match="another teacher"):
        autocompress.search(task, budget_ms=50.0, trials=1, runs=finished.folder.parent, **SECTIONS)
