"""The probe of a target and its memory: it asks what is open, keeps what nothing disturbed, and does no harm."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nets
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from knob_values import CAN, all_knobs

from autocompress.evaluators.microbenchmarks import kinds_by_work, measure_knobs, next_question, study_knobs
from autocompress.evaluators.micronets import CHANNELS, KINDS, arithmetic, micronet
from autocompress.evaluators.profile_cache import KnobCache, user_folder
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.spaces.layers import find_layers
from autocompress.spaces.target import Target
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Knobs, Ratio, steps

# -- micro networks and questions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_micro_network_does_most_of_its_work_in_layers_of_its_kind(kind: str) -> None:
    net, one = micronet(kind, CHANNELS)
    with torch.no_grad():
        assert net(torch.cat([one] * 3)).shape == (3, 10)
    found = {layer.kind for layer in find_layers(net, one)}
    assert kind in found
    assert arithmetic(kind, CHANNELS) == 1 and 0 < arithmetic(kind, 32) < arithmetic(kind, 48) < 1


@given(known=all_knobs(), kinds=st.lists(st.sampled_from((*KINDS, "unheard")), unique=True))
def test_only_what_is_open_is_asked_and_of_kinds_that_are_there(known: Knobs, kinds: Sequence[str]) -> None:
    question = next_question(kinds, CAN, known)
    if question is None:
        assert all(known.bits_time(kind, 8) for kind in kinds if kind in KINDS)
        return
    assert question.kind in kinds
    for bits, count in zip(question.bits[1:], question.channels[1:], strict=True):
        if count == question.channels[0]:
            assert known.bits_time(question.kind, bits) is None
        else:
            assert known.channel_time(question.kind, bits, CHANNELS - count) is None
            assert all(known.bits_time(kind, 8) for kind in kinds if kind in KINDS), "bits come first"


def test_kinds_with_the_most_work_come_first() -> None:
    assert kinds_by_work(nets.net("digits").ground.layers)[0] == "conv"


# -- the cache ---------------------------------------------------------------------------------------------------------


def complete(kinds: Sequence[str], target: Target) -> Knobs:
    """Answers to every question about these kinds, with ratios that no machine gives."""
    can = get_runtime(target.runtime).capabilities(target)
    known = Knobs()
    while (question := next_question(kinds, can, known)) is not None:
        odd = Ratio(0.123, 0.122, 0.124)
        for bits, count in zip(question.bits[1:], question.channels[1:], strict=True):
            if count == question.channels[0]:
                known = known.merged(Knobs((BitsTime(question.kind, bits, odd, target.name),)))
            else:
                step = CHANNELS - count
                time = ChannelTime(question.kind, bits, CHANNELS, step, 0.5, odd, target.name)
                known = known.merged(Knobs((), (time,)))
    return known


def test_what_the_cache_knows_is_not_measured_again(tmp_path: Path) -> None:
    layers, target = nets.net("digits").ground.layers, Target()
    version = get_runtime(target.runtime).available().version
    cache = KnobCache(tmp_path / "cache")
    known = complete(kinds_by_work(layers), target)
    cache.write(target, version, known)
    assert cache.read(target, version) == known
    said: list[str] = []
    found = study_knobs([target], layers, tmp_path / "study", say=said.append, cache=cache)
    assert found == known and not said
    # the study goes on with what it was begun with, and so do its workers, whatever becomes of the cache
    cache.path(target, version).unlink()
    assert study_knobs([target], layers, tmp_path / "study", worker=True, cache=cache) == known
    assert study_knobs([target], layers, tmp_path / "study", say=said.append, cache=cache) == known and not said


def test_a_worker_or_no_time_measures_nothing(tmp_path: Path) -> None:
    layers, cache = nets.net("digits").ground.layers, KnobCache(tmp_path / "cache")
    assert study_knobs([Target()], layers, tmp_path / "study", worker=True, cache=cache) is None
    assert study_knobs([Target()], layers, tmp_path / "study", seconds=0, cache=cache) is None
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 0}', '{"format": 1}', '{"format": 1, "knobs": {}}']
)
def test_a_corrupt_or_old_file_is_as_none(tmp_path: Path, content: str) -> None:
    cache, known = KnobCache(tmp_path), complete(("conv",), Target())
    path = cache.path(Target(), "1.0")
    path.write_text(content)
    assert cache.read(Target(), "1.0") is None
    cache.write(Target(), "1.0", known)
    assert cache.read(Target(), "1.0") == known


@given(known=all_knobs())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_in_a_file_is_as_none(tmp_path: Path, known: Knobs) -> None:
    cache = KnobCache(tmp_path)
    path = cache.path(Target(), "1.0")
    data = {"format": 1, "knobs": known.to_dict()}
    path.write_text(json.dumps(data).replace('"low": ', '"low": -'))
    read = cache.read(Target(), "1.0")
    assert read is None if known != Knobs() else read == known


def test_each_target_version_and_batch_has_its_own_file(tmp_path: Path) -> None:
    cache = KnobCache(tmp_path)
    targets = [Target(), Target(threads=2), Target(batch=32), Target("openvino"), Target(device="a/b")]
    paths = {cache.path(target, version) for target in targets for version in ("1.0", "1.1")}
    assert len(paths) == 10 and {path.parent for path in paths} == {tmp_path}


def test_an_unwritable_folder_costs_the_memory_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = KnobCache(tmp_path / "file" / "knobs")
    cache.write(Target(), "1.0", complete(("conv",), Target()))
    assert cache.read(Target(), "1.0") is None


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AUTOCOMPRESS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_folder() == tmp_path / "xdg" / "autocompress" / "knobs"
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "own"))
    assert user_folder() == tmp_path / "own" / "knobs"


def write_often(folder: Path, kind: str) -> int:
    cache, known = KnobCache(folder), complete((kind,), Target())
    for _ in range(30):
        cache.write(Target(), "1.0", known)
        assert cache.read(Target(), "1.0") is not None
    return len(known.bits)


@pytest.mark.slow
def test_two_processes_at_once_do_no_harm(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(write_often, [tmp_path] * 2, ["conv", "linear"])) == [1, 1]
    found = KnobCache(tmp_path).read(Target(), "1.0")
    assert found is not None and found.bits
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


# -- for real ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_probe_answers_in_bounds_and_a_corrupt_file_is_measured_again(tmp_path: Path) -> None:
    target = Target()
    layers = find_layers(torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1)).eval(), torch.zeros(1, 8, 4, 4))
    runtime, cache = get_runtime("onnxruntime"), KnobCache(tmp_path / "cache")
    can, version = runtime.capabilities(target), runtime.available().version
    cache.path(target, version).parent.mkdir()
    cache.path(target, version).write_text("{")
    said: list[str] = []
    knobs = study_knobs([target], layers, tmp_path / "study", 120, say=said.append, cache=cache)
    assert knobs is not None and said
    assert {(t.kind, t.bits) for t in knobs.bits} == {("pointwise", b) for b in can.latency_bits if b < 32}
    for time in (*knobs.bits, *knobs.channels):
        assert time.kind == "pointwise" and time.target == target.name
        assert 0 < time.ratio.low <= time.ratio.value <= time.ratio.high
    assert {t.step for t in knobs.channels} <= set(steps(can.channel_multiple))
    assert knobs.multiple("pointwise", can) in (*steps(can.channel_multiple), can.channel_multiple)
    kept = cache.read(target, version)
    assert kept == knobs.calm() if kept is not None else knobs.calm() == Knobs()
    again = measure_knobs(runtime, target, ("pointwise",), knobs, say=said.append)
    assert next_question(("pointwise",), can, knobs) is not None or again == knobs


@pytest.mark.slow
def test_time_that_is_up_leaves_questions_open() -> None:
    said: list[str] = []
    knobs = measure_knobs(get_runtime("onnxruntime"), Target(), KINDS, seconds=1e-6, say=said.append)
    assert knobs == Knobs() and any("stopped" in line for line in said)


def test_a_user_who_stops_it_is_obeyed_and_the_study_asks_again(tmp_path: Path) -> None:
    layers, cache = nets.net("digits").ground.layers, KnobCache(tmp_path / "cache")
    assert study_knobs([Target()], layers, tmp_path / "study", stop=lambda: True, cache=cache) is None
    assert not list((tmp_path / "study").rglob("*.json"))
