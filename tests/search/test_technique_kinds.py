"""The registry of techniques: what each makes and needs, and that no trial is taken for one that it is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import net, space_over
from simulation import TARGET, Problem, SimulatedExecutor, make_driver
from synthetic_spaces import chain, surrogates_over

from autocompress.search.propose.ranked import ranked
from autocompress.search.report.space_report import describe_space
from autocompress.search.technique_kinds.context import DesignContext
from autocompress.search.technique_kinds.factors import LOW_RANK, SEPARABLE_CONVOLUTIONS
from autocompress.search.technique_kinds.facts import SpaceFacts
from autocompress.search.technique_kinds.kind import STEP_OF
from autocompress.search.technique_kinds.pruning import GLOBAL, ITERATIVE, PRUNING
from autocompress.search.technique_kinds.quantization import DYNAMIC_INT8, INT8_AFTER, INT8_WHILE, TEACHER, WEIGHT_ONLY
from autocompress.search.technique_kinds.registry import TECHNIQUES
from autocompress.search.technique_kinds.sparsity import REINITIALIZED, REWINDING, TWO_FOUR, UNSTRUCTURED
from autocompress.search.techniques import Coverage, asked_for, technique_of
from autocompress.search.trial import Origin, Trial
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.factors import FactorsAxis
from autocompress.spaces.axes.ranges import RangesAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.layers import Layer
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec
from autocompress.spaces.target import Capabilities

ZEROS = (UNSTRUCTURED, TWO_FOUR, REWINDING, REINITIALIZED)
COVERAGE = Coverage(eight=2)
PRUNED = StudentSpec(channels={"a": 4}, recovery=Recovery(alpha=0.0))
INT8 = StudentSpec(bits={"a": 8, "b": 8})
AWARE = replace(INT8, recovery=Recovery(quantization_aware=True))


@dataclass(frozen=True)
class LaterSpec(StudentSpec):
    """A specification of a version that can do more to a network."""

    later: Mapping[str, int] = field(default_factory=dict)

    __hash__ = StudentSpec.__hash__


@dataclass(frozen=True)
class LaterRecovery(Recovery):
    """A recovery of a version that can teach in more ways."""

    later: float = 0.0


def trial(spec: StudentSpec, technique: str = "") -> Trial:
    return Trial(1, Plan(), spec, Origin.BY_HAND, "", technique=technique)


def later(spec: StudentSpec, **more: object) -> StudentSpec:
    """The same student as a later version has it."""
    parts = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    return LaterSpec(**parts, **more)  # type: ignore[arg-type]


def zero_space(name: str = "digits") -> Space:
    context = replace(net(name).context, patterns=("unstructured", "2:4"))
    return space_over(context, "channels", "pattern", "bits", "recovery")


@pytest.mark.parametrize(
    ("spec", "kind"), [(StudentSpec(), TEACHER), (INT8, INT8_AFTER), (AWARE, INT8_WHILE), (PRUNED, PRUNING)]
)
def test_a_student_with_anything_that_a_technique_does_not_name_is_no_trial_of_it(
    spec: StudentSpec, kind: object
) -> None:
    assert technique_of(trial(spec), COVERAGE) is kind
    assert technique_of(trial(later(spec)), COVERAGE) is kind, "what is not used counts for nothing"
    assert technique_of(trial(later(spec, later={"a": 1})), COVERAGE) is None
    parts = {"replacements": {"act": "Hardswish"}, "dropped": ("block",), "patterns": {"a": Pattern("2:4", 0.5)}}
    for other in ({name: value} for name, value in parts.items()):
        assert technique_of(trial(replace(spec, **other)), COVERAGE) is None  # type: ignore[arg-type]
    assert technique_of(trial(replace(spec, target="here")), COVERAGE) is kind
    if spec.recovery is not None:
        taught = LaterRecovery(**vars(spec.recovery))
        assert technique_of(trial(replace(spec, recovery=taught)), COVERAGE) is kind
        assert technique_of(trial(replace(spec, recovery=replace(taught, later=0.5))), COVERAGE) is None


def test_ways_of_activations_tell_what_a_usual_study_shows_of_a_technique() -> None:
    """A study begins with the trained network in 8 bits in each way; where that is all, it need not be made again."""
    dynamic = replace(INT8, activations={"a": "dynamic", "b": "dynamic"})
    assert technique_of(trial(dynamic), COVERAGE) is DYNAMIC_INT8
    float_inputs = {"bits": {"a": 4, "b": 4}, "activations": {"a": "float", "b": "float"}}
    assert technique_of(trial(StudentSpec(**float_inputs)), COVERAGE) is WEIGHT_ONLY  # type: ignore[arg-type]
    assert technique_of(replace(trial(dynamic), origin=Origin.SEARCH), COVERAGE) is None
    others = [
        replace(dynamic, activations={"a": "dynamic"}),
        replace(dynamic, activations={"a": "dynamic", "b": "float"}),
        replace(dynamic, channels={"a": 4}),
        replace(dynamic, recovery=Recovery()),
    ]
    assert [technique_of(trial(spec), COVERAGE) for spec in others] == [None] * len(others)
    memory = Coverage(eight=3, recurrent=frozenset({"memory"}))
    with_memory = replace(INT8, bits={**INT8.bits, "memory": 8}, activations={"memory": "dynamic"})
    assert technique_of(trial(with_memory), memory) is INT8_AFTER, "a recurrent layer of 8 bits has one way alone"
    linear = replace(with_memory, activations=dict.fromkeys(with_memory.bits, "dynamic"))
    assert technique_of(trial(linear), memory) is DYNAMIC_INT8


def test_a_name_that_a_later_version_wrote_is_no_technique() -> None:
    assert technique_of(trial(PRUNED, "pruning by divination"), COVERAGE) is None
    assert technique_of(trial(PRUNED, f"{STEP_OF}{ITERATIVE.name}"), COVERAGE) is None
    assert technique_of(trial(StudentSpec(), ITERATIVE.name), COVERAGE) is ITERATIVE


def test_each_technique_can_be_asked_for_by_name_and_by_word() -> None:
    assert len({kind.word for kind in TECHNIQUES}) == len(TECHNIQUES)
    for kind in TECHNIQUES[1:]:
        assert "," not in kind.name, "names are listed with commas"
        assert asked_for((kind.name,)) == asked_for((kind.word,)) == (False, (kind,))


@pytest.mark.parametrize("patterns", [None, ("unstructured",)])
@pytest.mark.parametrize("axes", [("channels", "pattern", "bits", "recovery"), ("width", "recovery"), ("bits",)])
def test_a_technique_is_refused_with_a_reason_where_its_students_cannot_be_had(
    patterns: tuple[str, ...] | None, axes: tuple[str, ...]
) -> None:
    space = chain([32, 48, 10], axes=axes, patterns=patterns)
    facts = SpaceFacts.of(space)
    assert SpaceFacts.read(describe_space(space, (), (), {})) == facts, "a study's folder says the same"
    context = DesignContext(space)
    for kind in TECHNIQUES[1:]:
        reason = kind.why_not(facts)
        assert not reason or reason.startswith("not offered here: ")
        specs = [space.spec(steps[-1].plan) for steps in kind.designs(context)]
        if not reason:
            assert specs, kind.name
            # the space has all that the technique does: nothing of its plans was repaired away
            assert all(s.channels for s in specs) or not kind.narrows, kind.name
            assert all(s.patterns for s in specs) == (kind in ZEROS), kind.name
    if patterns is None and "pattern" in axes:
        assert "zeros have no faster kernel" in UNSTRUCTURED.why_not(facts)
    assert bool(GLOBAL.why_not(facts)) == ("channels" not in axes)


def test_iterative_pruning_goes_on_from_round_to_round_down_to_the_budget(tmp_path: Path) -> None:
    space = chain([48, 64] * 3 + [10], multiple=8)
    known = surrogates_over(space, 0)
    problem = Problem(space, known, 0.4 * known.latency[TARGET].predict_ms(StudentSpec()))
    driver = make_driver(problem, SimulatedExecutor(problem), tmp_path, max_trials=6, baselines=("iterative pruning",))
    driver.run(lambda: False, lambda snapshot: None)
    trials = {t.number: t for t in driver.trials}
    last = next(t for t in trials.values() if t.technique == ITERATIVE.name)
    assert problem.ms(last.spec) <= problem.budget_ms
    rounds = [last]
    while rounds[-1].after is not None:
        assert rounds[-1].warm_start is not None and rounds[-1].warm_start.number == rounds[-1].after
        rounds.append(trials[rounds[-1].after])
    assert len(rounds) > 2
    groups = space.context.groups
    widths = [sum(t.spec.channels.get(g.name, g.channels) for g in groups) for t in rounds]
    assert all(t.spec.channels for t in rounds), "each round prunes"
    assert widths == sorted(set(widths)), "each round is narrower than the one before"
    assert {t.technique for t in rounds[1:]} == {f"{STEP_OF}{ITERATIVE.name}"}
    assert all(t.spec.recovery is not None and t.spec.recovery.alpha == 0 for t in rounds)


def test_there_are_no_rounds_where_channels_can_go_but_once() -> None:
    for multiple, reason in ((16, "not offered here: no group of channels can shrink more than once"), (8, "")):
        space = chain([32, 32, 10], multiple=multiple, axes=("channels", "recovery"))
        assert ITERATIVE.why_not(SpaceFacts.of(space)) == reason
        assert all(len(steps) > 1 for steps in ITERATIVE.designs(DesignContext(space)))
        assert any(ITERATIVE.designs(DesignContext(space))) is not bool(reason)


@settings(max_examples=30)
@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0))
def test_one_ranking_keeps_about_the_part_and_never_less_of_a_group_for_more(a: float, b: float) -> None:
    space = zero_space()
    low, high = sorted((a, b))
    groups = {v.subject: v for v in space.of("channels")}
    full = {name: int(v.options[0]) for name, v in groups.items()}

    def kept(part: float) -> dict[str, int]:
        return full | dict(space.spec(ranked(space, part)).channels)

    fewer, more = kept(low), kept(high)
    assert all(fewer[name] <= more[name] for name in full)
    assert all(more[name] in groups[name].options for name in full)
    steps = sum(max(a - b for a, b in zip(v.options, v.options[1:], strict=False)) for v in groups.values())  # type: ignore[operator]
    least = sum(int(v.options[-1]) for v in groups.values())
    assert abs(sum(more.values()) - high * sum(full.values())) <= max(steps, least)
    assert kept(1.0) == full


def test_groups_of_a_few_heavy_channels_lose_more_and_scale_says_nothing() -> None:
    even, heavy = torch.linspace(1.0, 0.9, 32), torch.cat([torch.full((8,), 9.0), torch.full((24,), 0.1)])

    def kept(scale: float, scores: tuple[torch.Tensor, torch.Tensor]) -> dict[str, int]:
        plain = chain([32, 32, 10], multiple=8).context
        groups = tuple(replace(g, importance=s * scale) for g, s in zip(plain.groups, scores, strict=True))
        space = space_over(replace(plain, groups=groups), "channels", "recovery")
        return dict(space.spec(ranked(space, 0.5)).channels)

    assert kept(1.0, (even, heavy)) == {"c0": 24, "c1": 8}
    assert kept(1.0, (even, heavy)) == kept(50.0, (even, heavy))
    assert kept(1.0, (even, even)) == kept(1.0, (heavy, heavy)) == {"c0": 16, "c1": 16}, "alike where all are"


def test_techniques_of_one_mask_differ_in_the_weights_and_the_rate_alone() -> None:
    space = zero_space()
    pruned, rewound, renewed = (
        space.spec(next(kind.designs(DesignContext(space)))[-1].plan)
        for kind in (UNSTRUCTURED, REWINDING, REINITIALIZED)
    )
    students = [net("digits").student(spec) for spec in (pruned, rewound, renewed)]
    for name, mask in students[0].masks.items():
        assert float(mask.mean()) == pytest.approx(0.2, abs=0.01)
        first, second, third = (s.module.get_submodule(name).weight.detach() for s in students)
        assert torch.equal(first, second) and not torch.equal(first, third)
        assert torch.equal(first != 0, mask != 0) and bool(torch.all(third[mask == 0] == 0))
    assert students[0].masks
    assert pruned.recovery and rewound.recovery and renewed.recovery
    assert pruned.recovery.learning_rate < rewound.recovery.learning_rate == renewed.recovery.learning_rate


def test_dynamic_and_weight_only_quantization_are_of_linear_layers_alone() -> None:
    can = Capabilities((32, 8), (4,), 8, ways={8: ("dynamic", "float"), 4: ("float",)})
    plain = replace(net("digits").context, capabilities=can, storage_counts=True)
    space = Space(replace(plain, axes=("bits", "ranges")), [BitsAxis(), RangesAxis()])
    linear = {layer.name for layer in space.context.layers if layer.kind == "linear"}
    for kind, ways in ((DYNAMIC_INT8, {(8, "dynamic")}), (WEIGHT_ONLY, {(4, "float"), (8, "float")})):
        assert kind.why_not(SpaceFacts.of(space)) == ""
        specs = [space.spec(steps[-1].plan) for steps in kind.designs(DesignContext(space))]
        assert all(set(spec.activations) == linear for spec in specs)
        assert {(spec.bits[name], way) for spec in specs for name, way in spec.activations.items()} == ways


def test_they_take_recurrent_layers_along_where_a_study_decides_about_them() -> None:
    can = Capabilities((32, 8), (), 8, ways={8: ("dynamic", "float")}, recurrent={"lstm": {8: ("dynamic", "float")}})
    read = Layer("memory", "lstm", 0.5, 800, 8000, 10, (40, 10))
    plain = replace(net("digits").context, capabilities=can, storage_counts=True, recurrent=(read,))
    space = Space(replace(plain, axes=("bits", "ranges")), [BitsAxis(), RangesAxis()])
    linear = {layer.name for layer in space.context.layers if layer.kind == "linear"}
    for kind, wanted in ((DYNAMIC_INT8, linear | {"memory"}), (WEIGHT_ONLY, linear)):
        (steps,) = kind.designs(DesignContext(space))
        assert set(space.spec(steps[-1].plan).activations) == wanted, "an LSTM layer that can run in int8 does"


def test_layers_in_two_parts_are_made_of_one_kind_and_as_small_as_the_budget_asks_for() -> None:
    space = Space(replace(net("flatten").context, axes=("factors", "recovery")), [FactorsAxis(), RecoveryAxis()])
    facts = SpaceFacts.of(space)
    for kind, of in ((LOW_RANK, "rank"), (SEPARABLE_CONVOLUTIONS, "separable")):
        offered = any(of in variable.families for variable in space)
        assert bool(kind.why_not(facts)) != offered
        specs = [space.spec(steps[-1].plan) for steps in kind.designs(DesignContext(space))] if offered else []
        assert {factor.kind for spec in specs for factor in spec.factors.values()} == ({of} if offered else set())
        assert all(spec.recovery is not None and spec.recovery.alpha == 0 for spec in specs)

    def ranks(fits: Callable[[StudentSpec], bool] | None) -> list[int]:
        found = [space.spec(steps[-1].plan) for steps in LOW_RANK.designs(DesignContext(space, fits))]
        return [next(iter(spec.factors.values())).rank for spec in found]

    least, most = min(ranks(lambda spec: True)), max(ranks(lambda spec: True))
    assert least < most, "the largest parts that keep the budget come first"
    assert ranks(lambda spec: True) == sorted(ranks(lambda spec: True), reverse=True)
    assert ranks(lambda spec: max(f.rank for f in spec.factors.values()) < most)[0] < most
    assert ranks(lambda spec: False) == [least]
    assert "no axis of this study" in LOW_RANK.why_not(SpaceFacts.of(chain([32, 48, 10])))
