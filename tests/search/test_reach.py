"""What is called out of reach: only what the fastest plans of a space were measured to miss."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import residual_task
from nets import net, space_over, with_sizes
from simulated_study import TARGET, latency

from autocompress.errors import BudgetError, ExportError, MeasurementError, TrialFailed
from autocompress.search.evaluate.context import EvaluationContext, open_context
from autocompress.search.evaluate.gate import Shape, time_shape
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.feasibility import Limits
from autocompress.search.prepare import reach
from autocompress.search.prepare.reach import check_reach, measure_reach
from autocompress.search.prepare.space import space_without_measuring
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.variables import Option

SIZES = (14, 12, 8)


@pytest.fixture(scope="module")
def space() -> Space:
    context = with_sizes(net("cifar_resnet20").context, 16, SIZES)
    return space_over(context, "depth", "channels", "size", "bits")


@dataclass
class Machine:
    """A made-up machine: arithmetic, and a start of every layer. It takes down what it times.

    Attributes:
        space: Whose students it times.
        fails: Raises where a student cannot be built or timed.
        longer: Part of a layer's time that it takes more in int8, where it is not a third.
        stops_after: Plans after which the search is asked to end.
    """

    space: Space
    fails: Callable[[StudentSpec], None] = lambda spec: None
    longer: dict[str, float] = field(default_factory=dict)
    stops_after: int = 10**9
    timed: list[StudentSpec] = field(default_factory=list)

    def ms(self, spec: StudentSpec) -> float:
        shapes = Shapes(self.space.context).of(spec)
        few = np.array([1 + self.longer.get(layer.name, -2 / 3) for layer in self.space.context.layers])
        work = shapes.macs * np.where(shapes.bits < 16, few, 1.0)
        return float((work / 1e6 + 0.01 * shapes.present).sum())

    def time_shape(self, _: Any, spec: StudentSpec) -> Shape:
        self.timed.append(spec)
        self.fails(spec)
        return Shape({TARGET: latency(self.ms(spec), 10.0, random.Random(0))}, 1000)

    def check(
        self,
        monkeypatch: pytest.MonkeyPatch,
        budget_ms: float,
        say: Callable[[str], None] = print,
        max_mb: float | None = None,
    ) -> None:
        monkeypatch.setattr(reach, "time_shape", self.time_shape)
        limits = Limits((TARGET,), budget_ms, max_mb=max_mb)
        context: Any = SimpleNamespace(
            sessions={TARGET: None},
            sessions_for=lambda spec: {TARGET: None},
            stop=lambda: len(self.timed) >= self.stops_after,
        )
        check_reach(measure_reach(context, self.space, limits), limits, False, say)


def narrow(space: Space, bits: int, **more: Option) -> Plan:
    """The narrowest plan; more: axis -> what all of its variables take."""
    return space.uniform({"channels": 0.0, "bits": bits, **more})


def least(space: Space, bits: int) -> Plan:
    return narrow(space, bits, depth="dropped", size=SIZES[-1])


def all_blocks(space: Space) -> int:
    return len(space.of("depth"))


def test_without_blocks_and_with_small_inputs_a_budget_is_met_at_once(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(space)
    fastest = machine.ms(space.spec(least(space, 8)))
    assert 2 * fastest < machine.ms(space.spec(narrow(space, 8)))
    machine.check(monkeypatch, 1.2 * fastest)
    assert len(machine.timed) <= 4, "in two precisions: the narrowest, and the smallest"


def test_a_budget_that_narrow_students_meet_takes_no_other_plans(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(space)
    machine.check(monkeypatch, 100.0)
    assert machine.timed == [space.spec(narrow(space, bits)) for bits in (32, 8)]


def test_a_size_that_no_plan_has_so_far_is_told(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search would else go through one plan after the other, all night, and say at its end that none was small."""
    for most_mb, told in ((0.0009, True), (0.001, False), (None, False)):
        said: list[str] = []
        machine = Machine(space)
        machine.check(monkeypatch, 100.0, said.append, most_mb)
        assert any("0.0009 MB" in line and "0.001 MB" in line for line in said) == told
        assert any(spec.dropped for spec in machine.timed) == told, "students without blocks were tried too"


def test_nothing_is_timed_twice_nor_blocks_one_by_one(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(space)
    with pytest.raises(BudgetError, match=r"out of reach.*fewest blocks, smallest inputs"):
        machine.check(monkeypatch, 1e-6)
    assert len({spec.shape_key() for spec in machine.timed}) == len(machine.timed)
    assert {len(spec.dropped) for spec in machine.timed} == {0, all_blocks(space)}


def test_changes_that_help_are_taken_together(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = space.spec(least(space, 8)).dropped
    gone = {layer for block in space.context.blocks if block.name in dropped for layer in block.layers}
    slow = [v for v in space.of("bits") if not gone.issuperset(v.layers)][::2]
    machine = Machine(space, longer={layer: 2.0 for v in slow for layer in v.layers})
    best = least(space, 8).changed({v.name: 32 for v in slow})
    fastest = machine.ms(space.spec(best))
    assert len(slow) > 1 and fastest < 0.8 * machine.ms(space.spec(least(space, 8)))
    machine.check(monkeypatch, 1.01 * fastest)
    assert len(machine.timed) <= 4 + sum(len(v.options) for v in space.network), "each is tried once"


def test_time_that_runs_out_calls_nothing_out_of_reach(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in range(7):
        said: list[str] = []
        Machine(space, stops_after=count).check(monkeypatch, 1e-6, said.append)
        assert len(said) == (count > 0) and all("not known" in line for line in said)


@pytest.mark.parametrize("error", [TrialFailed, ExportError, MeasurementError, KeyError])
def test_plans_that_fail_are_passed_over(space: Space, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def smaller_ones(spec: StudentSpec) -> None:
        if spec.size:
            raise error("it cannot be built")

    def all_blocks_gone(spec: StudentSpec) -> None:
        if len(spec.dropped) == all_blocks(space):
            raise error("it cannot be built")

    def wide(spec: StudentSpec) -> None:
        if not spec.dropped:
            raise error("it cannot be built")

    machine = Machine(space, smaller_ones)
    machine.check(monkeypatch, 1.2 * machine.ms(space.spec(narrow(space, 8, depth="dropped"))))
    machine = Machine(space, all_blocks_gone)
    one_left = narrow(space, 8, depth="dropped", size=8).changed({space.of("depth")[-1].name: "kept"})
    machine.check(monkeypatch, 1.2 * machine.ms(space.spec(one_left)))
    Machine(space, wide).check(monkeypatch, 1.2 * machine.ms(space.spec(least(space, 8))))
    for fails in (smaller_ones, all_blocks_gone, wide):
        with pytest.raises(BudgetError, match="out of reach"):
            Machine(space, fails).check(monkeypatch, 1e-6)


def test_where_no_plan_can_be_built_the_reason_is_told(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of_them(spec: StudentSpec) -> None:
        raise ExportError("an operator is not known")

    with pytest.raises(MeasurementError, match="an operator is not known"):
        Machine(space, all_of_them).check(monkeypatch, 5.0)


@pytest.fixture(scope="module")
def context(
    briefly: None, opened_context: ExecutorContext, tmp_path_factory: pytest.TempPathFactory
) -> EvaluationContext:
    settings = opened_context.settings.changed("space", axes=("depth", "channels", "size"))
    return open_context(residual_task.task().prepared(), settings, tmp_path_factory.mktemp("reach"))


@pytest.mark.slow
def test_files_without_blocks_that_look_at_small_images_are_measured(
    context: EvaluationContext, opened_context: ExecutorContext
) -> None:
    settings = opened_context.settings.changed("space", axes=("depth", "channels", "size"))
    space = space_without_measuring(context.network, settings)
    (name,) = context.sessions
    narrowest = time_shape(context, space.spec(space.uniform({"channels": 0.0}))).latencies[name]
    limits = Limits((name,), narrowest.low_ms / 2)
    found = measure_reach(context, space, limits)
    spec = space.spec(found[name].plan)
    assert spec.dropped and found[name].latency.p50_ms < narrowest.p50_ms
    assert found[name].sure
