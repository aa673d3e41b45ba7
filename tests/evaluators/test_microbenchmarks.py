"""The profile of a target and its memory: what is open is measured, what nothing disturbed is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profile_values import CAN, all_profiles

from autocompress.evaluators.microbenchmarks import kinds_by_work, measure_profile, next_question, study_profile
from autocompress.evaluators.micronets import CHANNELS, KINDS, MicroFiles, arithmetic, micrograph, micronet
from autocompress.evaluators.profile_cache import FORMAT, ProfileCache
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.spaces.layers import find_layers
from autocompress.spaces.plain import to_plain
from autocompress.spaces.target import Target
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Ratio, TargetProfile, steps
from autocompress.studies.models import digits_net

LAYERS = find_layers(digits_net(width=16).eval(), torch.zeros(1, 1, 16, 16))

# -- micro networks and questions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_micro_network_does_most_of_its_work_in_layers_of_its_kind(kind: str) -> None:
    net, one = micronet(kind, CHANNELS)
    with torch.no_grad():
        assert net(torch.cat([one] * 3)).shape == (3, 10)
    found = {layer.kind for layer in find_layers(net, one)}
    assert kind in found
    assert arithmetic(kind, CHANNELS) == 1 and 0 < arithmetic(kind, 32) < arithmetic(kind, 48) < 1


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_of_a_micro_network_answers_as_the_network(kind: str, batch: int) -> None:
    net, one = micronet(kind, 24)
    graph, layers = micrograph(net, tuple(one.shape[1:]), batch)
    onnx.checker.check_model(graph, full_check=True)
    assert set(layers) <= {node.name for node in graph.graph.node}
    assert list(layers.values()) == [layer.name for layer in find_layers(net, one)]
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] == ("batch" if batch == 1 else batch)
    inputs = torch.randn(3 if batch == 1 else batch, *one.shape[1:])
    with torch.no_grad():
        np.testing.assert_allclose(session.run(None, {"input": inputs.numpy()})[0], net(inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_of_a_micro_network_runs_in_the_bits_asked_for(kind: str, tmp_path: Path) -> None:
    runtime, files = get_runtime("onnxruntime"), MicroFiles(get_runtime("onnxruntime"), Target(), tmp_path)
    path = files.get(kind, 8, 32)
    assert files.get(kind, 8, 32) == path and [p.name for p in tmp_path.iterdir()] == [path.name]
    count = len(find_layers(*micronet(kind, 32)))
    assert runtime.remark(runtime.inspect(path, Target()), [8] * count) == ""


@given(known=all_profiles(), kinds=st.lists(st.sampled_from((*KINDS, "unheard")), unique=True))
def test_only_what_is_open_is_asked_and_of_kinds_that_are_there(known: TargetProfile, kinds: Sequence[str]) -> None:
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
    assert kinds_by_work(LAYERS)[0] == "conv"


# -- the cache ---------------------------------------------------------------------------------------------------------


def complete(kinds: Sequence[str], target: Target) -> TargetProfile:
    """Answers to every question about these kinds, with ratios that no machine gives."""
    can = get_runtime(target.runtime).capabilities(target)
    known = TargetProfile()
    while (question := next_question(kinds, can, known)) is not None:
        odd = Ratio(0.123, 0.122, 0.124)
        for bits, count in zip(question.bits[1:], question.channels[1:], strict=True):
            if count == question.channels[0]:
                known = known.merged(TargetProfile((BitsTime(question.kind, bits, odd, target.name),)))
            else:
                step = CHANNELS - count
                time = ChannelTime(question.kind, bits, CHANNELS, step, 0.5, odd, target.name)
                known = known.merged(TargetProfile((), (time,)))
    return known


def test_what_the_cache_knows_is_not_measured_again(tmp_path: Path) -> None:
    layers, target = LAYERS, Target()
    version = get_runtime(target.runtime).available().version
    cache = ProfileCache(tmp_path / "cache")
    known = complete(kinds_by_work(layers), target)
    cache.write(target, version, known)
    assert cache.read(target, version) == known
    said: list[str] = []
    found = study_profile([target], layers, tmp_path / "study", say=said.append, cache=cache)
    assert found == known and not said
    # the study goes on with what it was begun with, and so do its workers, whatever becomes of the cache
    cache.path(target, version).unlink()
    assert study_profile([target], layers, tmp_path / "study", worker=True, cache=cache) == known
    assert study_profile([target], layers, tmp_path / "study", say=said.append, cache=cache) == known and not said


def test_a_worker_or_no_time_measures_nothing(tmp_path: Path) -> None:
    layers, cache = LAYERS, ProfileCache(tmp_path / "cache")
    assert study_profile([Target()], layers, tmp_path / "study", worker=True, cache=cache) is None
    assert study_profile([Target()], layers, tmp_path / "study", seconds=0, cache=cache) is None
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 0}', '{"format": 2}', '{"format": 2, "value": {"bits": 1}}']
)
def test_a_corrupt_or_old_file_is_as_none(tmp_path: Path, content: str) -> None:
    cache, known = ProfileCache(tmp_path), complete(("conv",), Target())
    path = cache.path(Target(), "1.0")
    path.write_text(content)
    assert cache.read(Target(), "1.0") is None
    cache.write(Target(), "1.0", known)
    assert cache.read(Target(), "1.0") == known


@given(known=all_profiles())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_in_a_file_is_as_none(tmp_path: Path, known: TargetProfile) -> None:
    cache = ProfileCache(tmp_path)
    path = cache.path(Target(), "1.0")
    data = {"format": FORMAT, "value": to_plain(known)}
    path.write_text(json.dumps(data).replace('"low": ', '"low": -'))
    read = cache.read(Target(), "1.0")
    assert read is None if known != TargetProfile() else read == known


def test_each_target_version_and_batch_has_its_own_file(tmp_path: Path) -> None:
    cache = ProfileCache(tmp_path)
    targets = [Target(), Target(threads=2), Target(batch=32), Target("openvino"), Target(device="a/b")]
    paths = {cache.path(target, version) for target in targets for version in ("1.0", "1.1")}
    assert len(paths) == 10 and {path.parent for path in paths} == {tmp_path}


def test_an_unwritable_folder_costs_the_memory_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = ProfileCache(tmp_path / "file" / "profiles")
    cache.write(Target(), "1.0", complete(("conv",), Target()))
    assert cache.read(Target(), "1.0") is None


def test_the_cache_lies_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "own"))
    assert ProfileCache().path(Target(), "1.0").parent == tmp_path / "own" / "profiles"


def test_a_file_says_under_which_conditions_it_was_measured(tmp_path: Path) -> None:
    cache = ProfileCache(tmp_path)
    for kind in ("conv", "linear"):
        cache.write(Target(), "1.0", complete((kind,), Target()))
    written = json.loads(cache.path(Target(), "1.0").read_text())
    assert written["conditions"]["threads"] == 1 and written["conditions"]["runtime_version"] == "1.0"
    assert cache.read(Target(), "1.0") == complete(("conv",), Target()).merged(complete(("linear",), Target()))


def write_often(folder: Path, kind: str) -> int:
    cache, known = ProfileCache(folder), complete((kind,), Target())
    for _ in range(30):
        cache.write(Target(), "1.0", known)
        assert cache.read(Target(), "1.0") is not None
    return len(known.bits)


@pytest.mark.slow
def test_two_processes_at_once_do_no_harm(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(write_often, [tmp_path] * 2, ["conv", "linear"])) == [1, 1]
    found = ProfileCache(tmp_path).read(Target(), "1.0")
    assert found is not None and found.bits
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


# -- for real ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.xdist_group("latency")
def test_a_real_measurement_answers_in_bounds_and_a_corrupt_file_is_measured_again(tmp_path: Path) -> None:
    target = Target()
    layers = find_layers(torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1)).eval(), torch.zeros(1, 8, 4, 4))
    runtime, cache = get_runtime("onnxruntime"), ProfileCache(tmp_path / "cache")
    can, version = runtime.capabilities(target), runtime.available().version
    cache.path(target, version).parent.mkdir()
    cache.path(target, version).write_text("{")
    said: list[str] = []
    profile = study_profile([target], layers, tmp_path / "study", 120, say=said.append, cache=cache)
    assert profile is not None and said
    assert {(t.kind, t.bits) for t in profile.bits} == {("pointwise", b) for b in can.latency_bits if b < 32}
    for time in (*profile.bits, *profile.channels):
        assert time.kind == "pointwise" and time.target == target.name
        assert 0 < time.ratio.low <= time.ratio.value <= time.ratio.high
    assert {t.step for t in profile.channels} <= set(steps(can.channel_multiple))
    assert profile.multiple("pointwise", can) in (*steps(can.channel_multiple), can.channel_multiple)
    kept = cache.read(target, version)
    assert kept == profile.undisturbed() if kept is not None else profile.undisturbed() == TargetProfile()
    again = measure_profile(runtime, target, ("pointwise",), profile, say=said.append)
    assert next_question(("pointwise",), can, profile) is not None or again == profile


@pytest.mark.slow
@pytest.mark.xdist_group("latency")
def test_time_that_is_up_leaves_questions_open() -> None:
    said: list[str] = []
    profile = measure_profile(get_runtime("onnxruntime"), Target(), KINDS, seconds=1e-6, say=said.append)
    assert profile == TargetProfile() and any("stopped" in line for line in said)


def test_a_user_who_stops_it_is_obeyed_and_the_study_asks_again(tmp_path: Path) -> None:
    layers, cache = LAYERS, ProfileCache(tmp_path / "cache")
    assert study_profile([Target()], layers, tmp_path / "study", stop=lambda: True, cache=cache) is None
    assert not list((tmp_path / "study").rglob("*.json"))
