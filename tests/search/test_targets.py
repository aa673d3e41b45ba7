"""Several targets in one study: one model for all of them, or a target that each plan chooses."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from legality import changed_plan

import autocompress
from autocompress.errors import StudyFileError, UsageError
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.search.prepare.space import space_without_measuring
from autocompress.search.report.front import Front
from autocompress.search.report.reading import read_front
from autocompress.spaces.network import look_at_network
from autocompress.spaces.target import Capabilities, Target, bits_on, joint_capabilities
from autocompress.studies.study_file import StudyFile, load_study
from autocompress.studies.task import load_task

Said = tuple[int, str, str]
Sections = dict[str, dict[str, Any]]
LAYERS = ("a", "b", "c")

capabilities = st.builds(
    lambda faster, stored, multiple, one: Capabilities(
        (32, *sorted(faster, reverse=True)), tuple(sorted(stored - faster, reverse=True)), multiple, one_float=one
    ),
    st.sets(st.sampled_from((16, 8))),
    st.sets(st.sampled_from((16, 8, 4))),
    st.sampled_from((4, 8, 16)),
    st.booleans(),
)


def runnable(can: Capabilities) -> set[int]:
    return {32, *can.latency_bits, *can.storage_bits}


@given(st.lists(capabilities, min_size=1, max_size=3))
def test_a_model_for_all_targets_has_only_bits_that_each_can_run(found: list[Capabilities]) -> None:
    joint = joint_capabilities(found, any_of=False)
    assert runnable(joint) <= set.intersection(*map(runnable, found))
    assert 32 in joint.latency_bits
    assert all(joint.channel_multiple % can.channel_multiple == 0 for can in found)


@given(capabilities, st.dictionaries(st.sampled_from(LAYERS), st.sampled_from((16, 8, 4))))
def test_bits_become_what_a_target_runs(can: Capabilities, bits: dict[str, int]) -> None:
    found = bits_on(can, bits, LAYERS)
    widths = {found.get(layer, 32) for layer in LAYERS}
    assert widths <= runnable(can) or (can.one_float and widths <= {*runnable(can), 16})
    assert all(found.get(layer, 32) >= bits.get(layer, 32) or can.one_float for layer in LAYERS)
    assert not (can.one_float and {16, 32} <= widths), "all float layers of a file run in one precision"
    assert bits_on(can, found, LAYERS) == found


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"runtime": ("onnxruntime", "onnxruntime")}, "names one target twice"),
        ({"runtime": ("onnxruntime",), "any_of": True}, "any_of chooses between targets"),
        ({"runtime": ()}, "runtime"),
    ],
)
def test_targets_that_make_no_sense_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        StudyFile().changed("target", **values)
    assert "\n" not in str(caught.value)


def test_a_budget_on_a_target_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("[target]\nruntime = ['onnxruntime', 'openvino']\n[budget.on]\npytorch = 1.0")
    with pytest.raises(StudyFileError, match="allowed: the study's targets, onnxruntime, openvino"):
        load_study(path).budgets()


def search(tiny_task: Path, sections: Sections, runs: Path, trials: int, **target: Any) -> Front:
    for name in target["runtime"]:
        if not (found := get_runtime(name).available()).ok:
            pytest.skip(found.reason)
    # the first trials are what one does by hand, in this order
    left_out = {"without": ("initial_design", "latency_model", "sensitivity")}
    target = sections["target"] | target
    return autocompress.compress(
        load_task(str(tiny_task)),
        budget_ms=50.0,
        trials=trials,
        runs=runs,
        target=target,
        recovery=sections["recovery"],
        space={"axes": ("channels", "bits", "recovery"), "bits": (32, 8)},
        search=left_out,
    )


@pytest.fixture(scope="module")
def for_all(briefly: None, tiny_task: Path, sections: Sections, tmp_path_factory: pytest.TempPathFactory) -> Front:
    runs = tmp_path_factory.mktemp("all")
    return search(tiny_task, sections, runs, 5, runtime=("onnxruntime", "openvino"))


@pytest.fixture(scope="module")
def any_of(briefly: None, tiny_task: Path, sections: Sections, tmp_path_factory: pytest.TempPathFactory) -> Front:
    runs = tmp_path_factory.mktemp("any")
    return search(tiny_task, sections, runs, 6, runtime=("onnxruntime", "openvino"), any_of=True)


def outputs(path: Path, name: str, images: torch.Tensor) -> np.ndarray:
    return predict(path, get_runtime(name), Target(name, batch=32), images.numpy())


@pytest.mark.slow
def test_one_model_for_all_targets_has_a_file_and_a_latency_on_each(for_all: Front, tiny_task: Path) -> None:
    images, labels = load_task(str(tiny_task)).validation.tensors  # type: ignore[union-attr]
    assert for_all.objectives == ("accuracy", "latency_ms@onnxruntime", "latency_ms@openvino")
    for entry in for_all.best:
        files = for_all.paths(entry)
        assert tuple(files) == for_all.targets
        assert len(set(files.values())) == 2 and all(path.is_file() for path in files.values())
        for name, latency in entry.latencies.items():
            assert latency.conditions["runtime"] == name
        found = {name: outputs(path, name, images) for name, path in files.items()}
        assert min((o.argmax(1) == labels.numpy()).mean() for o in found.values()) == pytest.approx(entry.accuracy)
        near = np.abs(found["onnxruntime"] - found["openvino"]).max() / np.abs(found["openvino"]).max()
        assert near < 0.2, "two files of one student"


@pytest.mark.slow
def test_a_front_over_several_latencies_is_what_nothing_beats_on_all_of_them(for_all: Front) -> None:
    points = {
        e.trial.number: (-e.accuracy, *(latency.p50_ms for latency in e.latencies.values())) for e in for_all.entries
    }
    best = {e.trial.number for e in for_all.best}
    for number, point in points.items():
        beaten = any(q != point and all(x <= y for x, y in zip(q, point, strict=True)) for q in points.values())
        assert (number in best) == (not beaten)


@pytest.mark.slow
def test_a_model_fits_only_where_every_target_meets_its_budget(for_all: Front) -> None:
    slowest = max(entry.latencies["openvino"].at(50) for entry in for_all.entries)
    loose = replace(for_all.limits, budget_ms=1000.0)
    assert len(for_all.under(loose)) == len(for_all.entries)
    tight = replace(loose, on={"openvino": slowest * 0.999})
    assert 0 < len(for_all.entries) - len(for_all.under(tight)) < len(for_all.entries)


@pytest.mark.slow
def test_budgets_on_single_targets_alone_are_told_and_explained(for_all: Front) -> None:
    from autocompress.search.report.table import legend, verdict

    alone = replace(for_all, limits=replace(for_all.limits, budget_ms=None, on={"openvino": 1e-6}))
    assert not alone.fitting
    assert re.search(r"held back by its p50 latency on openvino; .* p50 latency on openvino [\d.]+ ms", verdict(alone))
    assert "< meets every limit" in legend(alone)
    two = replace(for_all, limits=replace(for_all.limits, budget_ms=None, on={"onnxruntime": 1e-5, "openvino": 1e-6}))
    assert "times the budget of its target" in verdict(two)
    loose = replace(for_all, limits=replace(for_all.limits, budget_ms=None, on={"openvino": 1e6}))
    assert "best under the budget" in verdict(loose)


@pytest.mark.slow
def test_the_model_picked_comes_with_its_files_for_all_targets(
    for_all: Front, tmp_path: Path, cli: Callable[..., Said]
) -> None:
    code, out, _ = cli("pick", for_all.folder, "--out", tmp_path / "deploy")
    assert code == 0
    for name in for_all.targets:
        assert (tmp_path / "deploy" / name / "model.onnx").is_file()
    assert "openvino" in (tmp_path / "deploy" / "README.md").read_text()
    code, out, _ = cli("front", for_all.folder)
    assert code == 0 and "openvino ms" in out
    again = read_front(for_all.folder)
    assert [e.number for e in again.best] == [e.number for e in for_all.best] and again.limits == for_all.limits
    frame = for_all.to_pandas()
    assert (frame[frame.outcome == "finished"]["p50_ms@openvino"] > 0).all()


@pytest.mark.slow
def test_where_plans_choose_their_target_each_file_is_for_the_one_chosen(any_of: Front, tiny_task: Path) -> None:
    images, labels = load_task(str(tiny_task)).validation.tensors  # type: ignore[union-attr]
    assert any_of.objectives == ("accuracy", "latency_ms")
    assert {entry.target for entry in any_of.entries} == {"onnxruntime", "openvino"}
    for entry in any_of.entries:
        name = entry.target
        assert entry.latency.conditions["runtime"] == name
        assert entry.trial.spec.target == name and tuple(entry.trial.gate) == (name,)
        ((found, path),) = any_of.paths(entry).items()
        right = (outputs(path, found, images).argmax(1) == labels.numpy()).mean()
        assert found == name and right == pytest.approx(entry.accuracy)
    assert {"teacher", "teacher, openvino"} <= {e.trial.label for e in any_of.entries}
    assert any_of.teacher is not None and any_of.teacher.target == "onnxruntime"
    assert "target" in any_of.to_pandas().columns


@pytest.mark.slow
def test_trials_that_differ_in_their_target_alone_share_one_training(any_of: Front) -> None:
    trained = [t for t in any_of.trials if t.finished and t.spec.recovery is not None]
    by_training: dict[str, list[float]] = {}
    for trial in trained:
        by_training.setdefault(trial.spec.training_key(), []).append(trial.seconds.get("training", 0.0))
    shared = [seconds for seconds in by_training.values() if len(seconds) > 1]
    assert shared
    for seconds in shared:
        assert sum(s > 0 for s in seconds) <= 1, "the weights are there already"


def test_moves_stay_legal_where_plans_choose_their_target(tiny_task: Path) -> None:
    settings = StudyFile().changed("target", batch=32, runtime=("onnxruntime", "openvino"), any_of=True)
    for name in settings.target.runtime:
        if not (found := get_runtime(name).available()).ok:
            pytest.skip(found.reason)
    task = load_task(str(tiny_task)).prepared()
    space = space_without_measuring(look_at_network(task.teacher, task.example_input), settings)
    source, plan = random.Random(0), space.taught
    seen = set()
    for _ in range(200):
        plan = changed_plan(space, plan, source)
        spec = space.spec(plan)
        seen.add(spec.target)
        assert set(spec.bits.values()) <= runnable(space.context.targets[spec.target])
    assert seen == {"onnxruntime", "openvino"}
