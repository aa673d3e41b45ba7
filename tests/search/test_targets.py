"""Several targets in one study: one model for all of them, or a target that each plan chooses."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SECTIONS
from hypothesis import given
from hypothesis import strategies as st

import autocompress
from autocompress.errors import StudyFileError, UsageError
from autocompress.evaluators.accuracy import predict
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.report.front import Front
from autocompress.search.store.study import read_front
from autocompress.spaces.axes.target import joint_capabilities, settle
from autocompress.spaces.plan import Plan, Recovery
from autocompress.spaces.target import Capabilities, Target
from autocompress.studies.study_file import StudyFile, load_study
from autocompress.studies.task import load_task

Said = tuple[int, str, str]
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
plans = st.builds(
    lambda bits, target: Plan(bits=bits, recovery=Recovery(quantization_aware=True), target=target),
    st.dictionaries(st.sampled_from(LAYERS), st.sampled_from((16, 8, 4))),
    st.sampled_from(("x", "y")),
)


def runnable(can: Capabilities) -> set[int]:
    return {32, *can.latency_bits, *can.storage_bits}


@given(st.lists(capabilities, min_size=1, max_size=3))
def test_a_model_for_all_targets_has_only_bits_that_each_can_run(found: list[Capabilities]) -> None:
    joint = joint_capabilities(found, any_of=False)
    assert runnable(joint) <= set.intersection(*map(runnable, found))
    assert 32 in joint.latency_bits
    assert all(joint.channel_multiple % can.channel_multiple == 0 for can in found)


@given(st.lists(capabilities, min_size=2, max_size=2), plans)
def test_a_plan_is_settled_to_what_its_own_target_runs(found: list[Capabilities], plan: Plan) -> None:
    homes = dict(zip("xy", found, strict=True))
    settled = settle(plan, homes, LAYERS)
    can = homes[plan.target]
    widths = {settled.bits.get(layer, 32) for layer in LAYERS}
    assert widths <= runnable(can)
    assert all(settled.bits.get(layer, 32) >= plan.bits.get(layer, 32) or can.one_float for layer in LAYERS)
    assert not (can.one_float and {16, 32} <= widths), "all float layers of a file run in one precision"
    assert settle(settled, homes, LAYERS) == settled
    assert settled.target == plan.target


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


def search(tiny_task: Path, runs: Path, **target: Any) -> Front:
    for name in target["runtime"]:
        if not (found := get_runtime(name).available()).ok:
            pytest.skip(found.reason)
    # eight trials hold what one does by hand, and no more
    sections = {**SECTIONS, "target": SECTIONS["target"] | target, "search": {"without": ("seeds",)}}
    return autocompress.search(load_task(str(tiny_task)), budget_ms=50.0, trials=8, runs=runs, **sections)


@pytest.fixture(scope="module")
def for_all(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Front:
    return search(tiny_task, tmp_path_factory.mktemp("all"), runtime=("onnxruntime", "openvino"))


@pytest.fixture(scope="module")
def any_of(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Front:
    return search(tiny_task, tmp_path_factory.mktemp("any"), runtime=("onnxruntime", "openvino"), any_of=True)


def outputs(path: Path, name: str, images: torch.Tensor) -> np.ndarray:
    return predict(path, get_runtime(name), Target(name, batch=32), images.numpy())


@pytest.mark.slow
def test_one_model_for_all_targets_has_a_file_and_a_latency_on_each(for_all: Front, tiny_task: Path) -> None:
    images, labels = load_task(str(tiny_task)).validation.tensors  # type: ignore[union-attr]
    assert for_all.objectives == ("accuracy", "latency_ms", "latency_ms@openvino")
    for entry in for_all.best:
        files = {name: for_all.path(entry, name) for name in for_all.targets}
        assert len(set(files.values())) == 2 and all(path.is_file() for path in files.values())
        assert entry.elsewhere["openvino"].conditions["runtime"] == "openvino"
        assert entry.latency.conditions["runtime"] == "onnxruntime"
        found = {name: outputs(path, name, images) for name, path in files.items()}
        assert min((o.argmax(1) == labels.numpy()).mean() for o in found.values()) == pytest.approx(entry.accuracy)
        near = np.abs(found["onnxruntime"] - found["openvino"]).max() / np.abs(found["openvino"]).max()
        assert near < 0.2, "two files of one student"


@pytest.mark.slow
def test_a_front_over_several_latencies_is_what_nothing_beats_on_all_of_them(for_all: Front) -> None:
    points = {e.trial.number: (-e.accuracy, e.latency.p50_ms, e.elsewhere["openvino"].p50_ms) for e in for_all.entries}
    best = {e.trial.number for e in for_all.best}
    for number, point in points.items():
        beaten = any(q != point and all(x <= y for x, y in zip(q, point, strict=True)) for q in points.values())
        assert (number in best) == (not beaten)


@pytest.mark.slow
def test_a_model_fits_only_where_every_target_meets_its_budget(for_all: Front) -> None:
    slowest = max(entry.elsewhere["openvino"].at(50) for entry in for_all.entries)
    assert len(for_all.under(budget_ms=1000.0)) == len(for_all.entries)
    from dataclasses import replace

    tight = replace(for_all, budgets={"openvino": slowest * 0.999})
    assert 0 < len(for_all.entries) - len(tight.under(budget_ms=1000.0)) < len(for_all.entries)


@pytest.mark.slow
def test_budgets_on_single_targets_alone_are_told_and_explained(for_all: Front) -> None:
    from dataclasses import replace

    from autocompress.search.report.table import legend, verdict

    alone = replace(for_all, budget_ms=None, budgets={"openvino": 1e-6})
    assert not alone.fitting
    assert "times the budget of its target" in verdict(alone)
    assert "under the budget" in legend(alone)
    loose = replace(for_all, budget_ms=None, budgets={"openvino": 1e6})
    assert "best under the budget" in verdict(loose)


@pytest.mark.slow
def test_the_model_picked_comes_with_its_files_for_all_targets(
    for_all: Front, tmp_path: Path, cli: Callable[..., Said]
) -> None:
    code, out, _ = cli("pick", for_all.folder, "--out", tmp_path / "deploy")
    assert code == 0
    assert (tmp_path / "deploy" / "model.onnx").is_file()
    assert (tmp_path / "deploy" / "openvino" / "model.onnx").is_file()
    assert "openvino" in (tmp_path / "deploy" / "card.md").read_text()
    code, out, _ = cli("front", for_all.folder)
    assert code == 0 and "openvino ms" in out
    again = read_front(for_all.folder)
    assert [e.trial.number for e in again.best] == [e.trial.number for e in for_all.best]
    frame = for_all.to_pandas()
    assert (frame[frame.outcome == "finished"]["p50_ms@openvino"] > 0).all()


@pytest.mark.slow
def test_where_plans_choose_their_target_each_file_is_for_the_one_chosen(any_of: Front, tiny_task: Path) -> None:
    images, labels = load_task(str(tiny_task)).validation.tensors  # type: ignore[union-attr]
    assert any_of.objectives == ("accuracy", "latency_ms")
    homes = {any_of.home(entry) for entry in any_of.entries}
    assert homes == {"onnxruntime", "openvino"}
    for entry in any_of.entries:
        home = any_of.home(entry)
        assert entry.latency.conditions["runtime"] == home
        assert entry.trial.plan.target == home
        right = (outputs(any_of.path(entry), home, images).argmax(1) == labels.numpy()).mean()
        assert right == pytest.approx(entry.accuracy)
    origins = {e.trial.origin for e in any_of.entries}
    assert {"teacher", "teacher, openvino"} <= origins
    assert any_of.teacher is not None and any_of.home(any_of.teacher) == "onnxruntime"


@pytest.mark.slow
def test_trials_that_differ_in_their_target_alone_share_one_training(any_of: Front) -> None:
    trained = [t for t in any_of.trials if t.finished and t.plan.recovery is not None]
    by_training: dict[str, list[float]] = {}
    for trial in trained:
        by_training.setdefault(trial.plan.training_key(), []).append(trial.seconds.get("training", 0.0))
    shared = [seconds for seconds in by_training.values() if len(seconds) > 1]
    assert shared
    for seconds in shared:
        assert sum(s > 0.2 for s in seconds) <= 1, "the weights are there already"


@pytest.mark.slow
def test_moves_stay_legal_where_plans_choose_their_target(any_of: Front, tiny_task: Path) -> None:
    from autocompress.search.evaluate.context import homes, lay_ground
    from autocompress.spaces.neighbours.moves import Mover
    from autocompress.spaces.space import build_space

    target = {"batch": 32, "runtime": ("onnxruntime", "openvino"), "any_of": True}
    settings = StudyFile().changed("target", **target)
    ground, _ = lay_ground(load_task(str(tiny_task)).prepared(), settings)
    space = build_space(ground, homes=homes(settings))
    source, plan = random.Random(0), next(e.trial.plan for e in any_of.entries if e.trial.plan.recovery)
    seen = set()
    for _ in range(200):
        plan = Mover(space).move(plan, source)
        seen.add(plan.target)
        assert set(plan.bits.values()) <= runnable(space.homes[plan.target])
    assert seen == {"onnxruntime", "openvino"}
