"""The comparison with what a user would run instead: what its figures mean, and what each rival is given."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given
from nets import net, space_over

from autocompress.errors import StorageError, UsageError
from autocompress.files import read_json
from autocompress.search.evaluate.context import EvaluationContext
from autocompress.search.evaluate.gate import time_shape
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery
from autocompress.spaces.target import Capabilities
from autocompress.studies.study_file import StudyFile
from benchmarks.search_comparison.__main__ import changed, main
from benchmarks.search_comparison.clock import Clock
from benchmarks.search_comparison.points import Point, Run, Terms, read_runs
from benchmarks.search_comparison.race import Race
from benchmarks.search_comparison.report import difference, interval, report
from benchmarks.search_comparison.rivals import RIVALS, Found, Listed, Proposed, grid, pipeline
from benchmarks.search_comparison.volume import Box, best_accuracy, curve, within

TERMS = Terms("s", {}, 10.0, teacher_accuracy=0.90, teacher_ms=2.0, chance=0.1, opening_s=1.0, budget_ms=1.1)


def point(seconds: float, accuracy: float, latency_ms: float) -> Point:
    return Point(seconds, accuracy, latency_ms, 0.9 * latency_ms, 1.05 * latency_ms, 1.05 * latency_ms, "key")


def space(name: str, axes: tuple[str, ...] = ("channels", "bits", "recovery")) -> Space:
    can = Capabilities(latency_bits=(32, 8), storage_bits=(), channel_multiple=8)
    return space_over(replace(net(name).context, capabilities=can), *axes)


def run(method: str, seed: int, *points: Point) -> Run:
    return Run(method, seed, TERMS, points, {"finished": len(points)}, {}, 600.0, False)


points = st.builds(point, st.floats(0, 600), st.floats(0, 1), st.floats(0.01, 4))


def test_a_model_is_worth_the_rectangle_that_it_beats() -> None:
    box = Box.around(TERMS)
    assert (box.floor, box.ceiling) == (0.75, 0.92)
    assert box.volume([point(1, 0.83, 1.0)]) == pytest.approx(0.5 * 0.08 / 0.17)
    both = [point(1, 0.83, 1.0), point(2, 0.79, 0.5)]
    assert box.volume(both) == pytest.approx((0.5 * 0.08 + 0.25 * 0.04) / 0.17)
    assert box.volume([point(1, 0.70, 0.1), point(1, 0.92, 2.0)]) == 0.0, "on or beyond the reference point"
    assert box.volume([]) == 0.0


@given(st.lists(points, max_size=12))
def test_what_was_found_is_never_lost(found: list[Point]) -> None:
    box = Box.around(TERMS)
    for worth in (box.volume, best_accuracy, lambda p: box.volume(within(p, 1.1))):
        grown = curve(found, worth)
        assert list(grown.values) == sorted(grown.values)
        assert grown.at(600) == pytest.approx(worth(found)), "at the end all models count"
        assert grown.at(-1) == 0.0
    assert box.volume(within(found, 1.1)) <= box.volume(found) + 1e-12


def test_a_curve_tells_when_it_passes_a_value() -> None:
    grown = curve([point(10, 0.80, 1.0), point(30, 0.85, 1.0)], best_accuracy)
    assert (grown.at(9.9), grown.at(10), grown.at(29), grown.at(100)) == (0.0, 0.80, 0.80, 0.85)
    assert (grown.passes(0.79), grown.passes(0.80), grown.passes(0.85)) == (10, 30, None)


def test_the_budget_is_held_against_the_upper_end() -> None:
    assert within([point(1, 0.9, 1.0), point(1, 0.9, 1.06)], 1.1) == [point(1, 0.9, 1.0)]


@pytest.mark.parametrize(("accuracy", "chance", "word"), [(31.7, 0.1, "share"), (0.1, 0.1, "chance")])
def test_a_teacher_that_makes_no_box_is_refused(accuracy: float, chance: float, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Box.around(replace(TERMS, teacher_accuracy=accuracy, chance=chance))


@pytest.mark.parametrize("name", ["digits", "cifar_resnet20"])
def test_the_grid_is_the_same_for_every_seed_but_for_its_order(name: str) -> None:
    here = space(name)
    one, other = list(grid(here, 0)), list(grid(here, 1))
    assert len(one) == 27
    assert set(one) == set(other)
    assert len(set(one[:3])) == 3, "the middle width, in each of three ways"
    assert len({json.dumps(here.spec(plan).channels) for plan in one[:3]}) == 1
    assert {len(set(here.spec(plan).bits.values())) for plan in one} == {0, 1}


def test_the_pipeline_ships_two_files_of_each_student() -> None:
    here = space("cifar_resnet20")
    specs = [here.spec(plan) for plan in pipeline(here, 0)]
    for plain, quantized in zip(specs[::2], specs[1::2], strict=True):
        assert not plain.bits and set(quantized.bits.values()) == {8}
        assert plain.training_key() == quantized.training_key(), "trained once"
    taught = [spec.recovery for spec in specs if spec.recovery is not None]
    assert taught and all((r.temperature, r.alpha, r.quantization_aware) == (4.0, 0.7, False) for r in taught)


def test_a_list_of_plans_has_an_end_and_no_plan_twice() -> None:
    rival = RIVALS["pipeline"](space("digits"), 0)
    seen = []
    while (proposed := rival.ask()) is not None:
        rival.tell(proposed, Found(1.0, 0.5))
        seen.append(proposed.plan)
    assert len(seen) == len(set(seen)) > 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["random", "nsga2", "tpe"])
def test_samplers_draw_legal_plans_and_learn_of_the_budget(name: str) -> None:
    here = space("cifar_resnet20")
    rival = RIVALS[name](here, 0)
    kept = []
    for number in range(120):
        proposed = rival.ask()
        assert proposed is not None
        assert here.repair(proposed.plan) == proposed.plan
        spec = here.spec(proposed.plan)
        assert spec.recovery is not None and 1 <= spec.recovery.temperature <= 10
        share = sum(spec.channels.get(g.name, g.channels) / g.channels for g in here.context.groups)
        share /= len(here.context.groups)
        kept.append(share)
        if number % 10 == 9:
            rival.tell(proposed, Found())
        elif share > 0.6:
            rival.tell(proposed, Found(share, None, share / 0.6 - 1))
        else:
            rival.tell(proposed, Found(share, 0.5 + share / 3, share / 0.6 - 1))
    early, late = kept[:30], kept[-30:]
    if name == "tpe":
        assert sum(s > 0.6 for s in late) < sum(s > 0.6 for s in early), "fewer plans over the budget than at first"


def test_without_a_recovery_axis_students_are_taught_as_by_default() -> None:
    here = space("digits", ("channels",))
    proposed = RIVALS["random"](here, 0).ask()
    assert proposed is not None and here.spec(proposed.plan).recovery == Recovery()


def test_the_report_says_who_was_ahead_when() -> None:
    runs = [
        run("ours", 0, point(30, 0.85, 1.0), point(120, 0.89, 0.8)),
        run("ours", 1, point(30, 0.85, 1.0), point(240, 0.89, 0.8)),
        run("grid", 0, point(60, 0.86, 1.0)),
        run("grid", 1, point(60, 0.87, 1.0)),
        run("tpe", 0, point(500, 0.80, 1.09)),
        run("tpe", 1),
    ]
    said = report(runs)
    assert "1.0 times the teacher's latency (2 ms) and accuracy 0.7500" in said
    assert "(grid, 0.3382) in 2 of 2 runs, after 3 of 10 min (30%; runs: 2, 4)" in said
    assert "ours ends 0.1559 above grid (95 % interval -0.03" in said
    assert "ours minus grid of the same seed: +0.1559 (95 % interval -0.03" in said
    accuracies = said.split("best accuracy under 1.1 ms")[1].splitlines()
    assert accuracies[2].split()[:6] == ["ours", "85.00", "87.00", "89.00", "89.00", "89.00"]
    assert accuracies[4].split()[:6] == ["tpe", "-", "-", "-", "-", "-"], "1.09 ms may be over it, the other has none"


def test_runs_that_never_pass_are_said_to_never_do() -> None:
    runs = [run("ours", 0, point(30, 0.80, 1.0)), run("grid", 0, point(60, 0.86, 1.0))]
    assert "in 0 of 1 runs" in report(runs) and "below grid" in report(runs)


def test_one_seed_gives_no_interval() -> None:
    assert interval([0.4]) is None
    assert difference([0.4], [0.1, 0.2]) is None and difference([0.4, 0.4], [0.1, 0.1]) is None


def test_intervals_are_those_of_student_and_welch() -> None:
    """Figures from scipy.stats: ttest_1samp and ttest_ind with unequal variances."""
    assert interval([0.4, 0.5, 0.6]) == pytest.approx((0.2515862, 0.7484138))
    assert difference([0.5, 0.6, 0.7], [0.3, 0.35, 0.3, 0.4]) == pytest.approx((0.0501608, 0.4748392))


def test_runs_read_back_as_they_were_written(tmp_path: Path) -> None:
    ours = run("ours", 0, point(30, 0.80, 1.0))
    ours.write(tmp_path)
    assert read_runs(tmp_path) == [ours]
    replace(run("grid", 0), terms=replace(TERMS, minutes=5.0)).write(tmp_path)
    with pytest.raises(StorageError, match="other terms"):
        read_runs(tmp_path)


@pytest.mark.parametrize("word", ["recovery", "recovery.epochs", "name.x=1", "nothing.x=1", "recovery.epochs=-1"])
def test_what_cannot_be_set_is_told_in_one_line(word: str) -> None:
    with pytest.raises(UsageError) as error:
        changed(StudyFile(), [word])
    assert len(str(error.value).splitlines()) == 1


def test_values_are_written_as_in_a_study_file() -> None:
    settings = changed(StudyFile(), ["recovery.epochs=0.5", "budget.latency_ms=2", "target.runtime=openvino"])
    assert (settings.recovery.epochs, settings.budget.latency_ms, settings.target.runtime) == (0.5, 2.0, "openvino")


@pytest.mark.slow
def test_a_rival_makes_models_and_is_told_of_them(tiny_study: tuple[EvaluationContext, Space]) -> None:
    """Two files of one student, which is trained once; a third plan is over the budget and is not trained at all."""
    context, here = tiny_study
    plain, quantized = list(pipeline(here, 0))[2:4]
    plans = [plain, quantized, plain.without("channels")]
    told: list[Found] = []

    class Telling(Listed):
        def tell(self, proposed: Proposed, found: Found) -> None:
            told.append(found)

    latencies = {}
    for spec in map(here.spec, plans):
        (latencies[spec],) = time_shape(context, spec).latencies.values()
    budget_ms = 0.98 * max(latencies.values(), key=lambda latency: latency.p50_ms).low_ms
    clock = Clock(1e6)
    clock.start()
    race = Race(context, here, replace(TERMS, budget_ms=budget_ms), clock, lambda line: None)
    race.run(Telling(plans))
    assert race.exhausted and race.counts["failed"] == 0
    gated = [spec for spec, latency in latencies.items() if latency.low_ms > budget_ms]
    assert race.counts["gated"] == len(gated) >= 1
    assert {p.student for p in race.points} == {spec.key() for spec in latencies if spec not in gated}
    assert [f.accuracy is None for f in told] == [spec in gated for spec in latencies]
    assert all((f.over or 0) > 0 for f in told if f.accuracy is None)
    assert [p.seconds for p in race.points] == sorted(p.seconds for p in race.points)


@pytest.mark.slow
def test_every_method_runs_on_a_real_network(
    tiny_task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "tiny.toml"
    study.write_text(
        f"""
        [task]
        from = "{tiny_task}"
        [target]
        batch = 32
        profile_seconds = 0
        learn_seconds = 1
        precision = 0.5
        [budget]
        latency_ms = 50
        [recovery]
        epochs = 1
        rungs = [0.5, 1.0]
        """
    )
    folder = tmp_path / "compared"
    command = [str(study), "--minutes", "0.05", "--folder", str(folder), "--methods", "ours", "pipeline", "tpe"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert all(f"  {name}" in said for name in ("ours", "pipeline", "tpe"))
    assert (folder / "hypervolume.svg").read_text().count("<svg") == 1
    for run_ in read_runs(folder):  # how much is found in such a time is the machine's affair
        assert all(0 <= p.seconds <= 3 and p.low_ms <= p.latency_ms <= p.high_ms for p in run_.points)
        assert run_.counts.get("finished", 0) == len(run_.points)
    terms = read_json(folder / "terms.json")
    assert terms["teacher_accuracy"] > 0.8 and terms["teacher_ms"] > 0

    before = (folder / "tpe-0.json").stat().st_mtime_ns
    assert main(command) == 0, "nothing is left to run"
    assert (folder / "tpe-0.json").stat().st_mtime_ns == before
    assert capsys.readouterr().out == said
    assert main(["--report", str(folder)]) == 0
    assert main([*command, "--set", "recovery.epochs=2"]) == 2
    assert "was begun with recovery" in capsys.readouterr().err


def test_a_folder_without_runs_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--report", str(tmp_path)]) == 2
    assert main(["digits"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_the_teacher_is_what_no_variable_changed() -> None:
    """The flat space and the pipeline speak of the same teacher."""
    here = space("digits")
    assert next(pipeline(here, 0)) == here.assemble([0] * len(here.network), Plan()) == Plan()
