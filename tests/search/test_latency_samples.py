"""Which plans are measured so that latency can be learnt, and what of it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nets import CAPABILITIES, SMALL, net, space_over, with_sizes

from autocompress.evaluators.latency import Calibration, LatencyMeter
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.files import write_json
from autocompress.search.evaluate.gate import Shape, ShapeRecord, shape_path
from autocompress.search.evaluate.target_session import TargetSession
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.feasibility import Limits
from autocompress.search.prepare import latency_samples
from autocompress.search.prepare.latency_samples import held_ratio, learn_latency, sample_plans, samples
from autocompress.search.prepare.space import space_without_measuring
from autocompress.search.propose.by_hand import by_hand
from autocompress.spaces.axes.target import TargetAxis
from autocompress.spaces.plain import to_plain
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.target import Capabilities, Target, joint_capabilities

FLOATS, INTEGERS = Capabilities((32,), (), 8), Capabilities((32, 8), (), 8)
SIZES = (14, 12, 10, 8)


def choosing_space() -> Space:
    """A space whose plans choose a target; the first one has no precision but 32 bits."""
    targets = {"floats": FLOATS, "integers": INTEGERS}
    capabilities = joint_capabilities(list(targets.values()), any_of=True)
    context = replace(net("digits").context, capabilities=capabilities, targets=targets, axes=("channels", "bits"))
    found = space_over(context, "channels", "bits", "recovery")
    return Space(found.context, [*found.axes, TargetAxis()])


@pytest.mark.parametrize("name", [*SMALL, "cifar_resnet20"])
def test_samples_are_distinct_and_legal_and_cover_the_space(name: str) -> None:
    found = build_space(net(name).context, ("width", "channels", "bits"))
    plans = sample_plans(found, 16)
    assert len({found.spec(plan).shape_key() for plan in plans}) == len(plans) == 16
    assert all(found.assemble(found.indices(plan), Plan()) == plan for plan in plans)
    assert plans[:8] == sample_plans(found, 8)
    for i, variable in enumerate(found.network):
        taken = {found.indices(plan)[i] for plan in plans}
        assert {0, len(variable.options) - 1} <= taken


def test_samples_end_where_the_space_does() -> None:
    capabilities = replace(CAPABILITIES, latency_bits=(32,))
    nothing = build_space(replace(net("digits").context, groups=(), capabilities=capabilities), ("bits",))
    assert sample_plans(nothing, 10) == [Plan()]


def test_each_target_is_sampled_in_its_own_precisions() -> None:
    found = choosing_space()
    for target, widths in {"floats": set(), "integers": {8}}.items():
        specs = [found.spec(plan) for plan in sample_plans(found, 16, like=Plan({"target": target}))]
        assert {spec.target for spec in specs} == {target} and len(specs) == 16
        assert {width for spec in specs for width in spec.bits.values()} == widths


def test_what_is_made_by_hand_has_the_precisions_of_each_target() -> None:
    found = choosing_space()
    made = {design.label: found.spec(design.plan) for design in by_hand(found)}
    assert "teacher int8" not in made, "the first target has no such precision"
    assert made["teacher"].target == "floats" and made["teacher, integers"].target == "integers"
    for label in ("teacher int8, integers", "uniform 50% int8, integers", "prune, fine-tune, int8, integers"):
        assert made[label].target == "integers" and set(made[label].bits.values()) == {8}


def session(folder: Path) -> TargetSession:
    calibration = Calibration(2.0, 1.6, 2.5, 2.0, 3, False, "this machine")
    meter = LatencyMeter(Target(), folder / "teacher.onnx", calibration)
    return TargetSession(Target(), get_runtime("onnxruntime"), None, meter, folder)  # type: ignore[arg-type]


def latency() -> Latency:
    numbers = dict.fromkeys(("low_ms", "high_ms", "p95_ms", "p99_ms", "mean_ms"), 1.0)
    ratios = {"ratio": 0.5, "ratio_low": 0.5, "ratio_high": 0.5, "load_ms": 1.0, "peak_memory_mb": None}
    counts = {"samples": 1, "warmup": 1, "processes": 1, "disturbed": False}
    return Latency(p50_ms=1.0, p90_ms=1.5, conditions={}, **numbers, **ratios, **counts)  # type: ignore[arg-type]


def test_only_what_compares_with_the_present_calibration_is_a_sample(tmp_path: Path) -> None:
    here = latency()
    spec, other = StudentSpec({"a": 8}), StudentSpec({"a": 16})
    for name, record in {
        "one": ShapeRecord(spec, "this machine", here, 10),
        "two": ShapeRecord(other, "another machine", here, 10),
        "adapted": ShapeRecord(replace(spec, recovery=Recovery(tune="adapters")), "this machine", here, 10),
    }.items():
        write_json(tmp_path / "latency" / f"{name}.json", to_plain(record))
    assert samples(session(tmp_path)) == [(StudentSpec(), 2.0), (spec, 1.0)]
    tail = Limits(("here",), 3.0, percentile=90)
    part = Limits(("here",), on={"here": 1.0}, relative={"here": 0.5})
    assert held_ratio(session(tmp_path), "here", Limits(("here",), 3.0)) == pytest.approx(1.25)
    assert held_ratio(session(tmp_path), "here", part) == 1.0, "a part of the teacher's time is held against the ratio"
    assert held_ratio(session(tmp_path), "here", tail) == pytest.approx(1.5 * 1.25)
    assert held_ratio(session(tmp_path / "new"), "here", tail) == 1.0
    write_json(tmp_path / "latency" / "three.json", {"calibration": "this machine"})
    assert len(samples(session(tmp_path))) == 2, "what cannot be read is measured again"


def sized_space() -> Space:
    return space_over(with_sizes(net("digits").context, 16, SIZES), "channels", "size", "bits")


def test_all_sizes_of_inputs_are_sampled_the_smallest_of_them_early() -> None:
    found = sized_space()
    specs = [found.spec(plan) for plan in sample_plans(found, 32)]
    assert {spec.size for spec in specs} == {0, *SIZES}
    assert SIZES[-1] in {spec.size for spec in specs[:6]}


def test_exports_of_sizes_take_no_time_from_other_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up clock: an export takes eight seconds, where the time of a search allows fifteen for all samples."""
    opened, now_s, exported = session(tmp_path), [0.0], {StudentSpec()}

    def time_shape(_: Any, spec: StudentSpec) -> Shape:
        now_s[0] += 1.0 if spec.structure() in exported else 9.0
        exported.add(spec.structure())
        record = ShapeRecord(replace(spec, recovery=None), "this machine", latency(), 10)
        write_json(shape_path(opened, spec), to_plain(record))
        return Shape({}, 10)

    monkeypatch.setattr(latency_samples, "time_shape", time_shape)
    monkeypatch.setattr(latency_samples, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    context: Any = SimpleNamespace(
        stop=lambda: False, sessions={"here": opened}, sessions_for=lambda spec: {"here": opened}
    )
    (learner,) = learn_latency(context, sized_space(), 15.0).values()
    assert len(learner) >= 14 and SIZES[-1] in {spec.size for spec, _ in samples(opened)}
    assert now_s[0] <= 2 * 15.0 + 9.0, "they take as much again at most, and an export more"
    before = now_s[0]
    learn_latency(context, sized_space(), 0.0)
    assert now_s[0] == before, "without time nothing is measured"


def test_a_plan_that_no_library_knows_what_to_do_with_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a search, where such a plan costs its trial alone; here it cost the study its first trial."""
    opened = session(tmp_path)

    def time_shape(_: Any, spec: StudentSpec) -> Shape:
        if spec.bits:
            raise KeyError("Conv_7")
        record = ShapeRecord(replace(spec, recovery=None), "this machine", latency(), 10)
        write_json(shape_path(opened, spec), to_plain(record))
        return Shape({}, 10)

    monkeypatch.setattr(latency_samples, "time_shape", time_shape)
    context: Any = SimpleNamespace(
        stop=lambda: False, sessions={"here": opened}, sessions_for=lambda spec: {"here": opened}
    )
    (learner,) = learn_latency(context, sized_space(), 60.0).values()
    assert len(learner) > 4 and not any(spec.bits for spec, _ in samples(opened))
    assert any("KeyError" in record.getMessage() for record in caplog.records)


@pytest.mark.slow
def test_a_study_learns_its_latency_and_does_not_measure_twice(opened_context: ExecutorContext) -> None:
    said: list[str] = []
    context = opened_context.context
    (opened,) = context.sessions.values()
    settings = opened_context.settings.changed("space", axes=["channels", "bits"])
    space = space_without_measuring(context.network, settings)
    known = len(samples(opened))
    asked: list[int] = []

    def six_more() -> bool:
        asked.append(len(samples(opened)))
        return asked[-1] >= known + 6

    models = learn_latency(replace(context, stop=six_more), space, 600.0, said.append)
    (learner,) = models.values()
    assert len(learner) >= known + 6 and len(said) == 1 and f"{len(learner)} plans measured" in said[0]
    before = samples(opened)
    assert len(learn_latency(context, space, 0.0)) == 1 and samples(opened) == before
    assert any(spec.bits for spec, _ in before) and any(spec.channels for spec, _ in before)
